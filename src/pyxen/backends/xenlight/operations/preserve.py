"""Preservation of a domain that has ended, so that another one can be created with its name and uuid."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Any, Final
from uuid import UUID, uuid4

from pyxen._common.scripts import at_once
from pyxen._printable import printable
from pyxen.backends.xenlight.libxl.binding import CData, c_text, ffi, lib
from pyxen.backends.xenlight.libxl.context import Context
from pyxen.backends.xenlight.libxl.error_map import describe, raise_failure
from pyxen.backends.xenlight.operations.effects import check_written
from pyxen.backends.xenlight.operations.names import free_name
from pyxen.errors import InvalidState, OperationFailed
from pyxen.operation import Operation

__all__ = ["preserve"]

_FOLDER: Final = b"/var/lib/xen"
"""Where libxl keeps the notes of domains: its own, xl's, libvirt's and those of users."""


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
        notes = _notes(context, operation, domid, old)
        try:
            for key in notes:
                raise_failure(operation, lib.libxl_userdata_unlink(context.pointer, domid, key))
            context.hypervisor.set_uuid(domid, new)
            _give(context, operation, domid, notes)
            raise_failure(operation, _rename(context, domid, name, suffix, new))
            check_written(context, operation, _nodes(domid, name + suffix, new))
        except Exception:
            for key in notes:
                lib.libxl_userdata_unlink(context.pointer, domid, key)  # what is not there cannot be removed
            context.hypervisor.set_uuid(domid, old)
            _give(context, operation, domid, notes)
            _put_back(context, _nodes(domid, name + suffix, new), _nodes(domid, name, old))
            raise
    context.hypervisor.forget_uuid(old)
    return new


def _nodes(domid: int, name: str, uuid: UUID) -> dict[str, str]:
    """Return what xenstore has of a domain's name and uuid: libxl does not look whether xenstored has taken it."""
    folder = f"/local/domain/{domid}"
    return {f"{folder}/name": name, f"{folder}/vm": f"/vm/{uuid}", f"/vm/{uuid}/uuid": str(uuid)}


def _put_back(context: Context, given: Mapping[str, str], before: Mapping[str, str]) -> None:
    """Write what libxl has changed as it was, and remove what it has made."""
    for path in given.keys() & before.keys():
        context.hypervisor.replace(path, given[path], before[path])
    context.hypervisor.remove(*(str(PurePosixPath(path).parent) for path in given.keys() - before.keys()))


def _name(context: Context, operation: Operation[Any], domid: int) -> str:
    text = lib.libxl_domid_to_name(context.pointer, domid)
    if text == ffi.NULL:
        raise_failure(operation, lib.ERROR_DOMAIN_NOTFOUND)
    name: bytes = ffi.string(ffi.gc(text, lib.free))
    try:
        return name.decode()
    except UnicodeDecodeError:
        message = (
            f"its name has bytes that are not UTF-8, {printable(name.decode(errors='replace'))!r}: rename it first"
        )
        raise describe(InvalidState, message, operation) from None


def _rename(context: Context, domid: int, name: str, suffix: str, new: UUID) -> int:
    text = ffi.new("char[]", c_text(name))
    info = ffi.new("libxl_domain_create_info *")  # libxl reads only the name
    info.name = text
    uuid = ffi.new("libxl_uuid *")
    ffi.memmove(uuid, new.bytes, 16)
    code: int = lib.libxl_domain_preserve(context.pointer, domid, info, c_text(suffix), uuid[0])
    return code


def _keys(operation: Operation[Any], domid: int, uuid: UUID) -> list[bytes]:
    """Return the keys of a domain's notes, which are in the names of files: libxl does not tell them."""
    prefix = f"userdata-d.{domid}.{uuid}.".encode()
    try:
        with os.scandir(_FOLDER) as entries:
            found = [entry.name for entry in entries if entry.name.startswith(prefix) and _has_text(entry)]
    except OSError as problem:
        message = f"cannot list the notes in {_FOLDER.decode()}: {problem.strerror}"
        raise describe(OperationFailed, message, operation) from problem
    return sorted(name.removeprefix(prefix) for name in found)


def _has_text(entry: os.DirEntry[bytes]) -> bool:
    """Tell whether a file holds a note: libxl does not read an empty one."""
    return entry.is_file(follow_symlinks=False) and entry.stat(follow_symlinks=False).st_size > 0


def _notes(context: Context, operation: Operation[Any], domid: int, uuid: UUID) -> Mapping[bytes, bytes]:
    """Return the contents of the files that libxl keeps for a domain."""
    found = {}
    for key in _keys(operation, domid, uuid):
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
