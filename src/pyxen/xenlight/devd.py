"""What a driver domain does: run the hotplug scripts of the devices that it serves, as ``xl devd``."""

from __future__ import annotations

from pyxen.errors import NotFound, OperationFailed
from pyxen.operation import Operation
from pyxen.xenlight.binding import lib
from pyxen.xenlight.context import Context
from pyxen.xenlight.failures import describe, failure, stopped
from pyxen.xenlight.pump import Script

__all__ = ["devd"]


def devd(context: Context, operation: Operation[None]) -> Script[None]:
    """Serve the devices of the domain that this runs in, until it is stopped.

    libxl never ends this, and cannot be told to: it has a process of its own, and ends with that.
    """
    if not context.reader.read("domid"):
        message = "xenstore does not say which domain this is: it has no node domid (in dom0, xen-init-dom0 writes it)"
        raise describe(NotFound, message, operation)
    try:
        happening = yield from context.apart(lib.PYXEN_DEVD)
    except OSError as error:
        raise describe(
            OperationFailed, f"it needs a process of its own, and there is none: {error}", operation
        ) from error
    if operation.stopped is not None:
        raise stopped(operation, happening.code, "scripts are not run any more, and devices stay as they are")
    raise failure(operation, happening.code)
