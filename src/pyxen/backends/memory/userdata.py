"""The notes that are kept with a domain in memory."""

from __future__ import annotations

import re
from typing import Any, Final

from pyxen import libxljson
from pyxen.backends.memory.engine import Script, describe
from pyxen.backends.memory.guests import Guest
from pyxen.errors import InvalidArgument
from pyxen.operation import Operation

__all__ = ["set_userdata", "userdata"]

_KEY: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,63}")
_OWN: Final = "libxl-json"
_OTHERS_KEYS: Final = {
    _OWN: "libxl's own",
    "domain-userdata-lock": "libxl's own",
    "xl": "xl's own",
    "libvirt-xml": "libvirt's own",
}


def userdata(operation: Operation[Any], guest: Guest, key: str) -> Script[bytes | None]:
    """Return the note of a key."""
    yield from ()
    _check(operation, key)
    if key == _OWN:
        return libxljson.dumps(guest.config, on_loss="ignore").encode()
    return guest.notes.get(key)


def set_userdata(operation: Operation[Any], guest: Guest, key: str, data: bytes | None) -> Script[None]:
    """Keep a note, or remove it."""
    yield from ()
    _check(operation, key)
    if key in _OTHERS_KEYS:
        message = f"the note {key!r} is {_OTHERS_KEYS[key]}: choose a key that begins with your program's name"
        raise describe(InvalidArgument, message, operation)
    if data is not None and not data:
        raise describe(InvalidArgument, "a note cannot be empty: None removes it", operation)
    guest.notes.pop(key, None)
    if data is not None:
        guest.notes[key] = bytes(data)


def _check(operation: Operation[Any], key: str) -> None:
    if not _KEY.fullmatch(key):
        message = f"{key!r} is no key of a note: letters, digits, dots, dashes and underscores, up to 64"
        raise describe(InvalidArgument, message, operation)
