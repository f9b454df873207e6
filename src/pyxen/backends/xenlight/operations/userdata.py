"""Notes that libxl keeps with a domain."""

from __future__ import annotations

from typing import Any

from pyxen._common.preconditions import check_note, check_note_key
from pyxen._common.scripts import at_once
from pyxen._next_config import NEXT_CONFIG
from pyxen.backends.xenlight.libxl.binding import ffi, lib
from pyxen.backends.xenlight.libxl.context import Context
from pyxen.backends.xenlight.libxl.error_map import raise_failure
from pyxen.operation import Operation

__all__ = ["set_userdata", "update_config", "userdata"]


@at_once
def userdata(context: Context, operation: Operation[bytes | None], domid: int, key: str) -> bytes | None:
    """Return the note stored with a domain under a key; None if there is no such note."""
    check_note_key("userdata", domid, key)
    return _note(context, operation, domid, key)


def _note(context: Context, operation: Operation[Any], domid: int, key: str) -> bytes | None:
    data, length = ffi.new("uint8_t **"), ffi.new("int *")
    raise_failure(operation, lib.libxl_userdata_retrieve(context.pointer, domid, key.encode(), data, length))
    if data[0] == ffi.NULL:
        return None
    return bytes(ffi.buffer(ffi.gc(data[0], lib.free), length[0]))


@at_once
def set_userdata(context: Context, operation: Operation[None], domid: int, key: str, data: bytes | None) -> None:
    """Store a note with a domain under a key, replacing an older one; None removes it."""
    check_note(domid, key, data)
    if data is None:
        _forget(context, operation, domid, key)
    else:
        raise_failure(operation, lib.libxl_userdata_store(context.pointer, domid, key.encode(), data, len(data)))


def _forget(context: Context, operation: Operation[None], domid: int, key: str) -> None:
    if _note(context, operation, domid, key) is not None:  # libxl fails if there is none
        raise_failure(operation, lib.libxl_userdata_unlink(context.pointer, domid, key.encode()))


@at_once
def update_config(context: Context, operation: Operation[None], domid: int, text: bytes | None) -> None:
    """Store the text from which xl starts the domain again, as ``xl config-update``; None forgets it."""
    if text is None:
        _forget(context, operation, domid, NEXT_CONFIG)
    else:
        key = NEXT_CONFIG.encode()
        raise_failure(operation, lib.libxl_userdata_store(context.pointer, domid, key, text, len(text)))
