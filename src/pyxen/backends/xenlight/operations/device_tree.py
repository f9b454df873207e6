"""Overlays of Xen's device tree, which libxl has on Arm."""

from __future__ import annotations

from typing import Any, Final

from pyxen._common.scripts import at_once
from pyxen.backends.xenlight.libxl.binding import ffi, lib
from pyxen.backends.xenlight.libxl.context import Context
from pyxen.backends.xenlight.libxl.error_map import describe, raise_failure
from pyxen.errors import InvalidArgument
from pyxen.operation import Operation

__all__ = ["CAN", "CAN_ATTACH", "add", "attach", "remove"]

CAN: Final = hasattr(lib, "libxl_dt_overlay")
"""Whether this libxl has overlays at all."""

CAN_ATTACH: Final = hasattr(lib, "libxl_dt_overlay_domain")
"""Whether it gives a domain the devices of an overlay."""

_ADD: Final = 1  # LIBXL_DT_OVERLAY_ADD and the others; they are macros of Arm's headers only
_REMOVE: Final = 2
_ATTACH: Final = 1
_MAGIC: Final = bytes.fromhex("d00dfeed")
_HEADER: Final = 40


@at_once
def add(context: Context, operation: Operation[None], overlay: bytes) -> None:
    """Add an overlay, as ``xl dt-overlay add``."""
    _check(operation, overlay)
    raise_failure(operation, lib.libxl_dt_overlay(context.pointer, ffi.from_buffer(overlay), len(overlay), _ADD))


@at_once
def remove(context: Context, operation: Operation[None], overlay: bytes) -> None:
    """Remove an overlay, as ``xl dt-overlay remove``."""
    _check(operation, overlay)
    raise_failure(operation, lib.libxl_dt_overlay(context.pointer, ffi.from_buffer(overlay), len(overlay), _REMOVE))


@at_once
def attach(context: Context, operation: Operation[None], domid: int, overlay: bytes) -> None:
    """Give a domain the devices of an overlay, as ``xl dt-overlay attach``."""
    _check(operation, overlay)
    data = ffi.from_buffer(overlay)
    raise_failure(operation, lib.libxl_dt_overlay_domain(context.pointer, domid, data, len(overlay), _ATTACH))


def _check(operation: Operation[Any], overlay: bytes) -> None:
    """Check that an overlay begins as a compiled device tree, and is as long as it says: libxl reads it as one."""
    if len(overlay) < _HEADER or overlay[:4] != _MAGIC or int.from_bytes(overlay[4:8], "big") != len(overlay):
        raise describe(InvalidArgument, "it is not a compiled device tree: dtc -@ makes one", operation)
