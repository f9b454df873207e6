"""The service of a driver domain: it runs the hotplug scripts of the devices that it serves, as ``xl devd``."""

from __future__ import annotations

from pyxen.backends.xenlight.libxl.binding import lib
from pyxen.backends.xenlight.libxl.context import Context
from pyxen.backends.xenlight.libxl.error_map import describe, failure, stopped
from pyxen.backends.xenlight.libxl.event_loop import Script
from pyxen.errors import NotFound, OperationFailed
from pyxen.operation import Operation

__all__ = ["devd"]


def devd(context: Context, operation: Operation[None]) -> Script[None]:
    """Serve the devices of the domain that this process runs in, until stopped.

    libxl's call never returns and cannot be aborted. So it runs in a separate process, and ends with that process.
    """
    if not context.hypervisor.read("domid"):
        message = "xenstore does not say which domain this is: it has no node domid (in dom0, xen-init-dom0 writes it)"
        raise describe(NotFound, message, operation)
    try:
        event = yield from context.workers.serve(lib.PYXEN_DEVD)
    except OSError as error:
        raise describe(
            OperationFailed, f"it needs a process of its own, which cannot be started: {error}", operation
        ) from error
    if operation.stopped is not None:
        raise stopped(operation, event.code, "scripts are not run any more, and devices stay as they are")
    raise failure(operation, event.code)
