"""The notes that are kept with a domain in memory."""

from __future__ import annotations

import re
from typing import Any, Final

from pyxen import libxljson
from pyxen.backends.memory.engine import Script, describe
from pyxen.backends.memory.guests import Guest
from pyxen.errors import InvalidArgument
from pyxen.operation import Operation

__all__ = ["read", "write"]

_KEY: Final = re.compile(r"[A-Za-z0-9._-]+")
_OWN: Final = "libxl-json"
_RESERVED: Final = (_OWN, "xl")


def read(operation: Operation[Any], guest: Guest, key: str) -> Script[bytes | None]:
    """Return the note of a key."""
    yield from ()
    _check(operation, key)
    if key == _OWN:
        return libxljson.dumps(guest.config, on_loss="ignore").encode()
    return guest.notes.get(key)


def write(operation: Operation[Any], guest: Guest, key: str, data: bytes | None) -> Script[None]:
    """Keep a note, or remove it."""
    yield from ()
    _check(operation, key)
    if key in _RESERVED:
        raise describe(InvalidArgument, f"the note {key!r} is libxl's or xl's own: choose another key", operation)
    guest.notes.pop(key, None)
    if data is not None:
        guest.notes[key] = bytes(data)


def _check(operation: Operation[Any], key: str) -> None:
    if not _KEY.fullmatch(key):
        message = f"{key!r} cannot be a key: it takes letters, digits, dots, dashes and underscores"
        raise describe(InvalidArgument, message, operation)
