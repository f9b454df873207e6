"""Notes that libxl keeps with a domain."""

from __future__ import annotations

import re
from typing import Any

from pyxen.backends.xenlight.libxl.binding import ffi, lib
from pyxen.backends.xenlight.libxl.context import Context
from pyxen.backends.xenlight.libxl.error_map import describe, raise_failure
from pyxen.backends.xenlight.libxl.event_loop import Script
from pyxen.errors import InvalidArgument
from pyxen.operation import Operation

__all__ = ["set_userdata", "userdata"]

_KEY = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,63}")

_OTHERS_KEYS = {
    "libxl-json": "libxl's own",
    "domain-userdata-lock": "libxl's own",
    "xl": "xl's own",
    "libvirt-xml": "libvirt's own",
}


def userdata(context: Context, operation: Operation[bytes | None], domid: int, key: str) -> Script[bytes | None]:
    """Return a note that is kept with a domain; None if there is none under that key."""
    yield from ()
    _check_key(operation, key)
    data, length = ffi.new("uint8_t **"), ffi.new("int *")
    raise_failure(operation, lib.libxl_userdata_retrieve(context.pointer, domid, key.encode(), data, length))
    if data[0] == ffi.NULL:
        return None
    return bytes(ffi.buffer(ffi.gc(data[0], lib.free), length[0]))


def set_userdata(
    context: Context, operation: Operation[None], domid: int, key: str, data: bytes | None
) -> Script[None]:
    """Keep a note with a domain, in place of the one under that key; None removes it."""
    yield from ()
    _check_key(operation, key)
    if key in _OTHERS_KEYS:
        message = f"the note {key!r} is {_OTHERS_KEYS[key]}: choose a key that begins with your program's name"
        raise describe(InvalidArgument, message, operation)
    if data is None:
        raise_failure(operation, lib.libxl_userdata_unlink(context.pointer, domid, key.encode()))
    elif not data:  # which libxl would take for its removal
        raise describe(InvalidArgument, "a note cannot be empty: None removes it", operation)
    else:
        raise_failure(operation, lib.libxl_userdata_store(context.pointer, domid, key.encode(), data, len(data)))


def _check_key(operation: Operation[Any], key: str) -> None:
    """Refuse what cannot be part of a file's name, which is what libxl makes of it."""
    if not _KEY.fullmatch(key):
        message = f"{key!r} is no key of a note: letters, digits, dots, dashes and underscores, up to 64"
        raise describe(InvalidArgument, message, operation)
