"""A guest's console: the terminal that xenconsoled, or the device model, keeps for it."""

from __future__ import annotations

import os
import tty

from pyxen.config import DomainType
from pyxen.errors import NotFound
from pyxen.info import DomainInfo
from pyxen.xenlight.reader import Reader

__all__ = ["open_console"]


def open_console(reader: Reader, info: DomainInfo) -> int:
    """Open the terminal that ``xl console`` would choose, as raw as that makes it, and return its descriptor."""
    serial = info.type is DomainType.HVM  # of the device model, which no other guest has
    node = "serial/0/tty" if serial else "console/tty"
    path = reader.read(f"/local/domain/{info.domid}/{node}")
    if not path:
        hint = 'an HVM guest has one with serial=["pty"]' if serial else "is xenconsoled running?"
        message = f"{info.name} has no console, or none yet: {hint}"
        raise NotFound(message, operation="console", domain=info.domid, domid=info.domid)
    try:
        fd = os.open(path, os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC)
    except OSError as error:
        message = f"the console, {path}, does not open: {error.strerror}"
        raise NotFound(message, operation="console", domain=info.domid, domid=info.domid) from error
    tty.setraw(fd)
    return fd
