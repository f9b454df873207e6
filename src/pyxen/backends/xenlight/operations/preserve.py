"""Setting a domain aside, so that another can be made in its place with its name and its uuid."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final
from uuid import UUID, uuid4

from pyxen._common.preconditions import name_taken
from pyxen._common.scripts import at_once
from pyxen.backends.xenlight.libxl.binding import CData, ffi, lib
from pyxen.backends.xenlight.libxl.context import Context
from pyxen.backends.xenlight.libxl.error_map import raise_failure
from pyxen.operation import Operation

__all__ = ["preserve"]

_NOTES: Final = (b"libxl-json", b"xl")  # the configuration, and the one that xl config-update leaves for the next start


@at_once
def preserve(context: Context, operation: Operation[Any], domid: int, old: UUID, suffix: str) -> UUID:
    """Give a domain another name and another uuid, and return that uuid; a failure leaves both as they were.

    libxl gives it the new uuid in xenstore only, where the entries under the old one are then the other domain's. To
    Xen both would have the same, and so they would to all who look domains up by uuid. So Xen is told as well, and
    what libxl keeps in files by uuid is moved.
    """
    name = _name(context, operation, domid)
    _check_free(context, operation, name + suffix)
    new = uuid4()
    notes = _notes(context, operation, domid)
    try:
        for key in notes:
            raise_failure(operation, lib.libxl_userdata_unlink(context.pointer, domid, key))
        context.hypervisor.set_uuid(domid, new)
        raise_failure(operation, _rename(context, domid, name, suffix, new))
    except Exception:
        context.hypervisor.set_uuid(domid, old)
        _give(context, operation, domid, notes)
        raise
    _give(context, operation, domid, notes)
    context.hypervisor.forget_uuid(old)
    return new


def _name(context: Context, operation: Operation[Any], domid: int) -> str:
    text = lib.libxl_domid_to_name(context.pointer, domid)
    if text == ffi.NULL:
        raise_failure(operation, lib.ERROR_DOMAIN_NOTFOUND)
    return ffi.string(ffi.gc(text, lib.free)).decode()  # type: ignore[no-any-return]  # cffi has no types


def _check_free(context: Context, operation: Operation[Any], name: str) -> None:
    other = ffi.new("uint32_t *")
    if lib.libxl_name_to_domid(context.pointer, name.encode(), other) == 0:
        raise name_taken(operation, other[0], name)


def _rename(context: Context, domid: int, name: str, suffix: str, new: UUID) -> int:
    text = ffi.new("char[]", name.encode())
    info = ffi.new("libxl_domain_create_info *")  # of which libxl reads the name only
    info.name = text
    uuid = ffi.new("libxl_uuid *")
    ffi.memmove(uuid, new.bytes, 16)
    code: int = lib.libxl_domain_preserve(context.pointer, domid, info, suffix.encode(), uuid[0])
    return code


def _notes(context: Context, operation: Operation[Any], domid: int) -> Mapping[bytes, bytes]:
    """Return what libxl keeps in files of a domain."""
    found = {}
    for key in _NOTES:
        data, length = ffi.new("uint8_t **"), ffi.new("int *")
        raise_failure(operation, lib.libxl_userdata_retrieve(context.pointer, domid, key, data, length))
        if data[0] != ffi.NULL:
            found[key] = _bytes(data[0], length[0])
    return found


def _bytes(data: CData, length: int) -> bytes:
    return bytes(ffi.buffer(ffi.gc(data, lib.free), length))


def _give(context: Context, operation: Operation[Any], domid: int, notes: Mapping[bytes, bytes]) -> None:
    for key, text in notes.items():
        raise_failure(operation, lib.libxl_userdata_store(context.pointer, domid, key, text, len(text)))
