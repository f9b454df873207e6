"""Xen's own file system, through libxenhypfs.

That library uses libxencall's process-wide lock, as libxl does, so its calls are made under the lock around libxl.
"""

from __future__ import annotations

import contextlib
import errno
import os
import zlib
from collections.abc import Iterator
from typing import Any, Final

from pyxen._common.scripts import at_once
from pyxen.backends.xenlight.libxl.binding import CData, ffi, lib
from pyxen.backends.xenlight.libxl.context import Context
from pyxen.backends.xenlight.libxl.error_map import BACKEND, describe
from pyxen.errors import Error, InvalidArgument, NotFound, OperationFailed, UnsupportedFeature
from pyxen.operation import Operation
from pyxen.records.hypfs import HypfsEntry, HypfsType, HypfsValue

__all__ = ["entry_of", "list_entries", "opened", "read", "write"]

_TYPES: Final = {
    lib.xenhypfs_type_dir: HypfsType.DIR,
    lib.xenhypfs_type_blob: HypfsType.BLOB,
    lib.xenhypfs_type_string: HypfsType.STRING,
    lib.xenhypfs_type_uint: HypfsType.UINT,
    lib.xenhypfs_type_int: HypfsType.INT,
    lib.xenhypfs_type_bool: HypfsType.BOOL,
}

_GZIP: Final = 32 + zlib.MAX_WBITS
_MOST: Final = 1 << 24
"""Bytes that a compressed value may have; the largest, Xen's own configuration, has some ten thousand."""

_DEEPEST: Final = 32
"""How deep directories are followed; Xen's are three deep."""

_NOT_THERE: Final = {errno.ENOSYS, errno.EOPNOTSUPP}
_REFUSED: Final = {0, errno.EACCES, errno.EDOM, errno.ERANGE, errno.EINVAL, errno.E2BIG, errno.ENOSPC, errno.ENODATA}
"""libxenhypfs leaves errno at 0 for text that is not a number."""


@contextlib.contextmanager
def opened(context: Context, operation: Operation[Any]) -> Iterator[CData]:
    """Open hypfs.

    Raises:
        UnsupportedFeature: Xen has none.
    """
    handle = lib.xenhypfs_open(context.logger, 0)
    if handle == ffi.NULL:
        code = ffi.errno
        if code in _NOT_THERE:
            message = f"{operation.verb}: this Xen has no hypfs; one that is built with CONFIG_HYPFS has"
            raise UnsupportedFeature(message, feature="hypfs", backend=BACKEND)
        raise describe(OperationFailed, f"hypfs does not open: {os.strerror(code)}", operation, -code)
    try:
        yield handle
    finally:
        lib.xenhypfs_close(handle)


@at_once
def read(context: Context, operation: Operation[HypfsValue], path: str) -> HypfsValue:
    """Return a value, as ``xenhypfs cat``."""
    with opened(context, operation) as handle:
        found = _raw(handle, path)
        if found is None:
            raise _failure(operation, path)
    entry, content, compressed = found
    if entry.type is HypfsType.DIR:
        raise describe(InvalidArgument, f"{path} is a directory, which has no value: list it", operation)
    if compressed:
        content = _inflated(operation, path, content)
    return _value(entry.type, content)


@at_once
def list_entries(
    context: Context, operation: Operation[tuple[HypfsEntry, ...]], path: str, *, recursive: bool
) -> tuple[HypfsEntry, ...]:
    """Return the entries of a directory, as ``xenhypfs ls``."""
    with opened(context, operation) as handle:
        found = _entries(handle, operation, path, _DEEPEST if recursive else 1)
    return tuple(sorted(found, key=lambda entry: entry.path))


@at_once
def write(context: Context, operation: Operation[None], path: str, text: str) -> None:
    """Write a value, as ``xenhypfs write``."""
    with opened(context, operation) as handle:
        entry = entry_of(handle, path)
        if entry is None:
            raise _failure(operation, path)
        if not entry.writable:
            raise describe(InvalidArgument, f"{path} cannot be written", operation)
        if entry.type is HypfsType.UINT and text.lstrip().startswith("-"):  # libxenhypfs takes -1 for 2^32 - 1
            raise describe(InvalidArgument, f"{path} takes a number that is not negative", operation)
        ffi.errno = 0
        if lib.xenhypfs_write(handle, path.encode(), text.encode()) != 0:
            code = ffi.errno
            if code in _REFUSED:
                raise describe(InvalidArgument, f"{path}, {entry.type}: Xen does not take {text!r}", operation, -code)
            raise _failure(operation, path)


def entry_of(handle: CData, path: str) -> HypfsEntry | None:
    """Return the entry at a path; None if it cannot be read, for which errno says why."""
    found = _raw(handle, path)
    return None if found is None else found[0]


def _raw(handle: CData, path: str) -> tuple[HypfsEntry, bytes, bool] | None:
    """Return an entry, its content, and whether that is compressed."""
    dirent = ffi.new("struct xenhypfs_dirent **")
    content = lib.xenhypfs_read_raw(handle, path.encode(), dirent)
    if content == ffi.NULL:
        return None
    content, found = ffi.gc(content, lib.free), ffi.gc(dirent[0], lib.free)
    data = ffi.buffer(content, found.size)[:] if found.size else b""
    return _entry(path, found), data, found.encoding == lib.xenhypfs_enc_gzip


def _entry(path: str, dirent: CData) -> HypfsEntry:
    kind = _TYPES.get(dirent.type, HypfsType.BLOB)
    return HypfsEntry(path, kind, dirent.size, bool(dirent.flags & lib.XENHYPFS_FLAG_WRITABLE))


def _entries(handle: CData, operation: Operation[Any], path: str, depth: int) -> list[HypfsEntry]:
    count = ffi.new("unsigned int *")
    entries = lib.xenhypfs_readdir(handle, path.encode(), count)
    if entries == ffi.NULL:
        raise _failure(operation, path)
    entries = ffi.gc(entries, lib.free)
    top = path.rstrip("/")
    found = [_entry(f"{top}/{_name(entries[place])}", entries[place]) for place in range(count[0])]
    if depth > 1:
        for entry in list(found):
            if entry.type is HypfsType.DIR:
                found += _entries(handle, operation, entry.path, depth - 1)
    return found


def _name(dirent: CData) -> str:
    name: str = ffi.string(dirent.name).decode(errors="replace")
    return name


def _inflated(operation: Operation[Any], path: str, content: bytes) -> bytes:
    try:
        return zlib.decompressobj(_GZIP).decompress(content, _MOST)
    except zlib.error as error:
        raise describe(OperationFailed, f"{path} is compressed, but damaged: {error}", operation) from error


def _value(kind: HypfsType, content: bytes) -> HypfsValue:
    if kind is HypfsType.STRING:
        return content.split(b"\0", 1)[0].decode("utf-8", "backslashreplace")
    if kind is HypfsType.BLOB:
        return content
    number = int.from_bytes(content, "little", signed=kind is HypfsType.INT)
    return bool(number) if kind is HypfsType.BOOL else number


def _failure(operation: Operation[Any], path: str) -> Error:
    """Return the exception for a call of libxenhypfs that has just failed."""
    code = ffi.errno
    if code == errno.ENOENT:
        return describe(NotFound, f"hypfs has no {path}", operation, -code)
    if code == errno.ENOTDIR:
        return describe(InvalidArgument, f"{path} is not a directory", operation, -code)
    return describe(OperationFailed, f"{path}: {os.strerror(code)}", operation, -code)
