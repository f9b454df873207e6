"""Preservation of a domain that has ended, so that another one can be created with its name and uuid."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final
from uuid import UUID, uuid4

from pyxen._common.scripts import at_once
from pyxen.backends.xenlight.libxl.binding import CData, ffi, lib
from pyxen.backends.xenlight.libxl.context import Context
from pyxen.backends.xenlight.libxl.error_map import raise_failure
from pyxen.backends.xenlight.operations.names import free_name
from pyxen.operation import Operation

__all__ = ["preserve"]

_NOTES: Final = (b"libxl-json", b"xl")  # the current configuration, and that of xl config-update


@at_once
def preserve(context: Context, operation: Operation[Any], domid: int, old: UUID, suffix: str) -> UUID:
    """Give a domain another name and another uuid, and return the new uuid. A failure leaves both unchanged.

    libxl changes the uuid in xenstore only; the entries under the old uuid then belong to the domain that takes its
    place. In Xen, and for everyone who looks up domains by uuid, both domains would have the same uuid. So this also
    changes the uuid in Xen, and moves the files that libxl keeps by uuid.
    """
    name = _name(context, operation, domid)
    new = uuid4()
    with free_name(context, operation, name + suffix):
        notes = _notes(context, operation, domid)
        try:
            for key in notes:
                raise_failure(operation, lib.libxl_userdata_unlink(context.pointer, domid, key))
            context.hypervisor.set_uuid(domid, new)
            _give(context, operation, domid, notes)
            raise_failure(operation, _rename(context, domid, name, suffix, new))
        except Exception:
            for key in notes:
                lib.libxl_userdata_unlink(context.pointer, domid, key)  # what is not there cannot be removed
            context.hypervisor.set_uuid(domid, old)
            _give(context, operation, domid, notes)
            raise
    context.hypervisor.forget_uuid(old)
    return new


def _name(context: Context, operation: Operation[Any], domid: int) -> str:
    text = lib.libxl_domid_to_name(context.pointer, domid)
    if text == ffi.NULL:
        raise_failure(operation, lib.ERROR_DOMAIN_NOTFOUND)
    return ffi.string(ffi.gc(text, lib.free)).decode()  # type: ignore[no-any-return]  # cffi has no types


def _rename(context: Context, domid: int, name: str, suffix: str, new: UUID) -> int:
    text = ffi.new("char[]", name.encode())
    info = ffi.new("libxl_domain_create_info *")  # libxl reads only the name
    info.name = text
    uuid = ffi.new("libxl_uuid *")
    ffi.memmove(uuid, new.bytes, 16)
    code: int = lib.libxl_domain_preserve(context.pointer, domid, info, suffix.encode(), uuid[0])
    return code


def _notes(context: Context, operation: Operation[Any], domid: int) -> Mapping[bytes, bytes]:
    """Return the contents of the files that libxl keeps for a domain."""
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
