"""A guest's console: the terminal that xenconsoled or the device model provides."""

from __future__ import annotations

import errno
import os
import select
import termios
import time
import tty
from pathlib import Path
from typing import Final
from uuid import UUID

from pyxen._printable import printable
from pyxen.backends.refs import DomainRef
from pyxen.backends.xenlight.hypervisor import Hypervisor
from pyxen.backends.xenlight.libxl.binding import lib
from pyxen.backends.xenlight.libxl.context import Context
from pyxen.backends.xenlight.libxl.error_map import describe, raise_failure, stopped
from pyxen.backends.xenlight.libxl.event_loop import Script
from pyxen.backends.xenlight.operations.endpoints import TERMINAL
from pyxen.backends.xenlight.operations.threaded_operations import ThreadedOperation
from pyxen.config import DomainType
from pyxen.errors import DeviceExists, DomainNotFound, InvalidArgument, NotFound, OperationFailed
from pyxen.operation import Operation
from pyxen.records.endpoints import ConsoleType
from pyxen.records.info import DomainInfo, DomainState
from pyxen.records.xenstore import MOST_DOMID

__all__ = ["CAN_ADD", "add_console", "await_console", "console_log", "open_console"]

CAN_ADD: Final = hasattr(lib, "libxl_console_add_xenstore")
"""Whether libxl can add a console; true since Xen 4.18."""

_STUB_SERIAL: Final = 3
"""Number of the console of a stub domain that carries the serial port of its guest, as libxl has it."""

_LOGS: Final = (Path("/var/log/xen/console"), Path("/var/log/xen"))
"""Where xenconsoled keeps logs: its default, and where some hosts have them."""

_CONSOLE_COMES: Final = 10.0  # seconds for a daemon to publish the terminal of a domain that has been created
_LOOK_AGAIN: Final = 0.05  # seconds between checks; a bootloader waits for its user much longer than that

_MOST_PORT: Final = (1 << 32) - 1
_MOST_GFN: Final = (1 << 52) - 1

_TTY_NR: Final = 4
"""Which field of ``/proc/PID/stat`` after the name is the number of the controlling terminal."""

_ENDED: Final = frozenset({errno.ENOENT, errno.ESRCH})
"""How a look at a process fails that has ended."""


def open_console(hypervisor: Hypervisor, info: DomainInfo, kind: ConsoleType | None = None, number: int = 0) -> int:
    """Open the terminal that ``xl console`` would choose, set it to raw mode, and return its descriptor.

    The node stays when the program that served the terminal was killed. The kernel then gives the terminal's number to
    the next program that asks for one, such as sshd for a login.

    Raises:
        NotFound: There is none, or it is another program's by now.
    """
    node = _node(hypervisor, info, kind, number)
    (path,) = hypervisor.read_dom0s([node])
    if not path:
        raise NotFound(_why_not_there(info, kind, number), operation="console", domain=info.domid, domid=info.domid)
    # The guest cannot write to this node. Still, check it: we open the path as root and change its terminal mode.
    if not TERMINAL.fullmatch(path):
        message = f"xenstore says that the console is {printable(path)!r}, which is not a terminal under /dev/pts"
        raise NotFound(message, operation="console", domain=info.domid, domid=info.domid)
    try:
        fd = os.open(path, os.O_RDWR | os.O_NOCTTY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            _check_unused(hypervisor, info, node, path, fd)  # while it is open, the kernel gives its number to nobody
            tty.setraw(fd, termios.TCSANOW)  # by default, it would discard what the guest has already printed
        except BaseException:
            os.close(fd)
            raise
    except NotFound:
        raise
    except (OSError, termios.error) as error:
        reason = error.strerror if isinstance(error, OSError) else error.args[-1]
        message = f"the console, {path}, does not open: {reason}"
        raise NotFound(message, operation="console", domain=info.domid, domid=info.domid) from error
    return fd


def _check_unused(hypervisor: Hypervisor, info: DomainInfo, node: str, path: str, fd: int) -> None:
    """Check that a terminal that was opened is still the console, and that no session has it."""
    (now,) = hypervisor.read_dom0s([node])
    pid = _user_of(fd) if now == path else None
    if now == path and pid is None:
        return
    message = f"the console has moved from {path} while it was opened: try again"
    if pid is not None:
        whose = f"it is the terminal of process {pid}'s session"
        message = (
            f"{path} is no console, or none any more: {whose}; if the console's provider has ended, start it again"
        )
    raise NotFound(message, operation="console", domain=info.domid, domid=info.domid)


def _user_of(fd: int) -> int | None:
    """Return a process whose controlling terminal a terminal is; None if it is no session's.

    A program that provides a console gives its terminal to no session. TIOCGSID tells a terminal's session only to the
    session itself and to the program at the other end, so look at the processes: that takes 20 us for each.
    """
    terminal = os.fstat(fd)
    for name in filter(str.isdecimal, os.listdir("/proc")):
        try:
            stat = Path(f"/proc/{name}/stat").read_bytes()
            if int(stat.rpartition(b")")[2].split()[_TTY_NR]) != terminal.st_rdev:
                continue
            # The terminals of a container have numbers of their own: its processes see another /dev/pts.
            if os.stat(f"/proc/{name}/root/dev/pts").st_dev == terminal.st_dev:
                return int(name)
        except OSError as error:
            if error.errno not in _ENDED:
                raise
    return None


def _node(hypervisor: Hypervisor, info: DomainInfo, kind: ConsoleType | None, number: int) -> str:
    """Return the node with the terminal of a console, as libxl finds it."""
    top = f"/local/domain/{info.domid}"
    if kind is None:
        stub = hypervisor.read(f"{top}/image/device-model-domid") or ""
        if stub.isdecimal() and stub.isascii() and number == 0:  # its QEMU has the serial port on a console of its own
            return f"/local/domain/{stub}/device/console/{_STUB_SERIAL}/tty"
        kind = ConsoleType.SERIAL if info.type is DomainType.HVM else ConsoleType.PV
    if kind is ConsoleType.SERIAL:  # emulated by the device model; only HVM guests have it
        return f"{top}/serial/{number}/tty"
    return f"{top}/device/console/{number}/tty" if number else f"{top}/console/tty"


def _why_not_there(info: DomainInfo, kind: ConsoleType | None, number: int) -> str:
    serial = info.type is DomainType.HVM if kind is None else kind is ConsoleType.SERIAL
    if serial and info.type is not DomainType.HVM:
        return f"{info.name} has no serial port: only HVM guests have some"
    hint = 'an HVM guest has one with serial=["pty"]' if serial else "is xenconsoled running?"
    if number:
        hint = "a PV console above 0 is a channel" if not serial else "serial ports are numbered from 0"
    which = "" if kind is None and not number else f" {'serial' if serial else 'pv'} {number}"
    return f"{info.name} has no console{which}, or none yet: {hint}"


def console_log(name: str | None) -> str | None:
    """Return the path of the log that xenconsoled writes for a domain of this name; None if there is none."""
    if not name or "/" in name:
        return None
    for path in (folder / f"guest-{name}.log" for folder in _LOGS):
        try:
            if path.is_file():
                return str(path)
        except OSError as error:
            message = f"{path} cannot be looked at: {error.strerror}"
            raise OperationFailed(message, operation="console_log", code=-(error.errno or 0)) from error
    return None


def await_console(
    hypervisor: Hypervisor, threaded: ThreadedOperation, uuid: UUID, creating: Operation[DomainRef]
) -> DomainRef | None:
    """Wait until the domain that is being created has a console, and return it; None if it gets none.

    libxl tells the program that calls it; here, a worker calls it. So look in xenstore, where libxl first writes the
    terminal of a bootloader, and then xenconsoled, or libxl for QEMU, that of the guest.
    """
    late: float | None = None
    poller = select.poll()
    poller.register(threaded.wake, select.POLLIN)
    while threaded.operation.stopped is None:
        over = creating.done()
        if over and creating.exception() is not None:
            return None
        found = next((info for info in hypervisor.glance() if info.uuid == uuid), None)
        if found is not None and found.state is not DomainState.DYING:
            (path,) = hypervisor.read_dom0s([_node(hypervisor, found, None, 0)])
            if path and TERMINAL.fullmatch(path):
                return DomainRef(found.domid, uuid)
        if over:
            late = late or time.monotonic() + _CONSOLE_COMES
            if found is None or time.monotonic() > late:
                return None
        poller.poll(_LOOK_AGAIN * 1000)
    raise stopped(threaded.operation)


def add_console(
    context: Context, operation: Operation[None], domid: int, port: int | None, gfn: int | None, backend_domid: int
) -> Script[None]:
    """Write what xenconsoled needs to know about a guest's console to xenstore."""
    # libxl would remove the existing console, and xenconsoled would not publish the terminal a second time.
    if context.hypervisor.read(f"/local/domain/{domid}/console/ring-ref") is not None:
        raise describe(DeviceExists, "it has a console already", operation)
    if not 0 <= backend_domid <= MOST_DOMID or context.hypervisor.domain(backend_domid) is None:
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
