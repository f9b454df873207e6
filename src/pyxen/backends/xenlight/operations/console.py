"""A guest's console: the terminal that xenconsoled or the device model provides."""

from __future__ import annotations

import os
import termios
import tty
from typing import Final

from pyxen._printable import printable
from pyxen.backends.xenlight.hypervisor import Hypervisor
from pyxen.backends.xenlight.libxl.binding import lib
from pyxen.backends.xenlight.libxl.context import Context
from pyxen.backends.xenlight.libxl.error_map import describe, raise_failure
from pyxen.backends.xenlight.libxl.event_loop import Script
from pyxen.backends.xenlight.operations.endpoints import TERMINAL
from pyxen.config import DomainType
from pyxen.errors import DeviceExists, DomainNotFound, InvalidArgument, NotFound
from pyxen.info import DomainInfo
from pyxen.operation import Operation

__all__ = ["CAN_ADD", "add_console", "open_console"]

CAN_ADD: Final = hasattr(lib, "libxl_console_add_xenstore")
"""Whether libxl can add a console; true since Xen 4.18."""

_MOST_PORT: Final = (1 << 32) - 1
_MOST_GFN: Final = (1 << 52) - 1


def open_console(hypervisor: Hypervisor, info: DomainInfo) -> int:
    """Open the terminal that ``xl console`` would choose, set it to raw mode, and return its descriptor."""
    serial = info.type is DomainType.HVM  # emulated by the device model; only HVM guests have it
    node = "serial/0/tty" if serial else "console/tty"
    path = hypervisor.read(f"/local/domain/{info.domid}/{node}")
    if not path:
        hint = 'an HVM guest has one with serial=["pty"]' if serial else "is xenconsoled running?"
        message = f"{info.name} has no console, or none yet: {hint}"
        raise NotFound(message, operation="console", domain=info.domid, domid=info.domid)
    # The guest cannot write to this node. Still, check it: we open the path as root and change its terminal mode.
    if not TERMINAL.fullmatch(path):
        message = f"xenstore says that the console is {printable(path)!r}, which is not a terminal under /dev/pts"
        raise NotFound(message, operation="console", domain=info.domid, domid=info.domid)
    try:
        fd = os.open(path, os.O_RDWR | os.O_NOCTTY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            tty.setraw(fd)
        except BaseException:
            os.close(fd)
            raise
    except (OSError, termios.error) as error:
        reason = error.strerror if isinstance(error, OSError) else error.args[-1]
        message = f"the console, {path}, does not open: {reason}"
        raise NotFound(message, operation="console", domain=info.domid, domid=info.domid) from error
    return fd


def add_console(
    context: Context, operation: Operation[None], domid: int, port: int | None, gfn: int | None, backend_domid: int
) -> Script[None]:
    """Write what xenconsoled needs to know about a guest's console to xenstore."""
    # libxl would remove the existing console, and xenconsoled would not publish the terminal a second time.
    if context.hypervisor.read(f"/local/domain/{domid}/console/ring-ref") is not None:
        raise describe(DeviceExists, "it has a console already", operation)
    if context.hypervisor.domain(backend_domid) is None:
        message = f"there is no domain {backend_domid} that could serve the console: name one by backend_domid"
        raise describe(DomainNotFound, message, operation)
    if port is None or gfn is None:
        known = context.hypervisor.console_ring(domid)
        if known is None:
            message = "Xen does not know where its console is, as of no PV guest: say port and gfn"
            raise describe(InvalidArgument, message, operation)
        port, gfn = known[0] if port is None else port, known[1] if gfn is None else gfn
    for name, value, most in (("port", port, _MOST_PORT), ("gfn", gfn, _MOST_GFN)):
        if not 1 <= value <= most:
            raise describe(InvalidArgument, f"{name}={value}: it is a number from 1 to {most}", operation)
    code = yield from context.complete(
        lambda how: lib.libxl_console_add_xenstore(context.pointer, domid, backend_domid, port, gfn, how)
    )
    raise_failure(operation, code)
