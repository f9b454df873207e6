"""What ends a call of libxl's that waits for a QEMU that hangs.

libxl waits for QEMU's answer to some commands without a bound, and cannot be told to stop. Its connection to QEMU's
monitor is shut down then, and the call fails.
"""

from __future__ import annotations

import contextlib
import socket
from typing import Final

from pyxen.backends.xenlight.libxl.sockets import connections

__all__ = ["cut_off"]

_MONITOR: Final = "/qmp-libxl-{}"  # in libxl's folder below /run: what it has QEMU listen at for itself


def cut_off(domid: int) -> None:
    """Shut down libxl's connections to the monitor of a domain's QEMU."""
    monitor = _MONITOR.format(domid)
    for connection in connections(lambda address: str(address).endswith(monitor)):
        with connection, contextlib.suppress(OSError):  # QEMU is gone
            connection.shutdown(socket.SHUT_RDWR)
