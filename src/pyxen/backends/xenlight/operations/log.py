"""Xen's log and what it is told directly: debug keys, and parameters of its command line."""

from __future__ import annotations

import os
from typing import Final

from pyxen._common.hypervisor_arguments import parameter_path
from pyxen._common.scripts import at_once
from pyxen.backends.base import LogChunk
from pyxen.backends.xenlight.hypervisor import Hypervisor
from pyxen.backends.xenlight.libxl.binding import ffi, lib
from pyxen.backends.xenlight.libxl.context import Context
from pyxen.backends.xenlight.libxl.error_map import describe, failure, raise_failure
from pyxen.backends.xenlight.operations import hypfs
from pyxen.errors import Error, InvalidArgument, NotFound, OperationFailed
from pyxen.operation import Operation

__all__ = ["debug_keys", "read_log", "set_parameters"]

_ROOM: Final = 1 << 16
"""Bytes that are read at once; Debian's Xen keeps 32 KiB."""

_MOST: Final = 1 << 26
"""Bytes after which a read ends, if Xen writes as fast as it is read; no log is so large."""

_COUNTER: Final = 1 << 32


def read_log(hypervisor: Hypervisor, position: int | None, *, clear: bool) -> LogChunk:
    """Return Xen's log from a position on, as ``xl dmesg``.

    Xen continues at the position if it still has what comes there, and at its oldest byte if not; it tells where it
    ended.
    """
    buffer = ffi.new("char[]", _ROOM)
    count, index = ffi.new("unsigned int *"), ffi.new("uint32_t *", position or 0)
    parts: list[bytes] = []
    begin = position
    lost = 0
    incremental = position is not None
    while sum(map(len, parts)) < _MOST:
        count[0] = _ROOM
        with hypervisor.handle() as xc:
            if lib.xc_readconsolering(xc, buffer, count, clear, incremental, index) != 0:
                message = f"Xen does not show its log: {os.strerror(ffi.errno)}"
                raise OperationFailed(message, operation="log", code=-ffi.errno)
        if begin is not None:
            lost += (index[0] - count[0] - begin) % _COUNTER
        begin, incremental = index[0], True
        parts.append(ffi.buffer(buffer, count[0])[:])
        if count[0] < _ROOM:
            break
    return LogChunk(b"".join(parts), index[0], lost)


@at_once
def debug_keys(context: Context, operation: Operation[None], keys: str) -> None:
    """Send Xen debug keys, as ``xl debug-keys``."""
    raise_failure(operation, lib.libxl_send_debug_keys(context.pointer, keys.encode()))


@at_once
def set_parameters(context: Context, operation: Operation[None], parameters: list[str]) -> None:
    """Change parameters of Xen's command line one by one, as ``xl set-parameters``, so that an error names its own."""
    for parameter in parameters:
        code = lib.libxl_set_parameters(context.pointer, parameter.encode())
        if code != 0:
            raise _refused(context, operation, parameter, code)


def _refused(context: Context, operation: Operation[None], parameter: str, code: int) -> Error:
    """Return the reason for which Xen does not take a parameter; libxl says no more than that it failed."""
    path = parameter_path(parameter)
    with hypfs.opened(context, operation) as handle:
        entry = hypfs.entry_of(handle, path)
    if entry is None or not entry.writable:
        known = "host.hypfs.list('/params') shows those that it has"
        return describe(NotFound, f"Xen has no parameter that can be changed for {parameter}; {known}", operation, code)
    if code == lib.ERROR_FAIL:
        return describe(InvalidArgument, f"Xen does not take {parameter}", operation, code)
    return failure(operation, code)
