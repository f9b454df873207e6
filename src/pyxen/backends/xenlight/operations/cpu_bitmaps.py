"""Sets of CPUs as libxl's and Xen's bitmaps."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from pyxen.backends.xenlight.libxl.binding import CData, ffi, lib
from pyxen.backends.xenlight.libxl.context import Context
from pyxen.backends.xenlight.libxl.error_map import raise_failure
from pyxen.config import CpuSet
from pyxen.operation import Operation

__all__ = ["bitmap", "cpus_of"]


def cpus_of(bitmap: CData, size: int, limit: int) -> CpuSet:
    """Return the CPUs below a limit in a bitmap of Xen's of so many bytes.

    For "all CPUs", Xen also sets the bits of CPUs that the host does not have.
    """
    bits = int.from_bytes(ffi.buffer(bitmap, size)[:], "little")
    return CpuSet([cpu for cpu in range(min(limit, size * 8)) if bits >> cpu & 1])


def bitmap(context: Context, operation: Operation[Any], members: Iterable[int]) -> CData:
    """Return a ``libxl_bitmap *``, which is freed automatically."""
    numbers = list(members)
    bitmap = ffi.new("libxl_bitmap *")
    lib.libxl_bitmap_init(bitmap)
    bitmap = ffi.gc(bitmap, lib.libxl_bitmap_dispose)
    raise_failure(operation, lib.libxl_cpu_bitmap_alloc(context.pointer, bitmap, max(numbers, default=0) + 1))
    for number in numbers:
        lib.libxl_bitmap_set(bitmap, number)
    return bitmap
