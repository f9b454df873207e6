"""The door to C: ``ffi`` and ``lib`` of the module that fits the running Xen.

Raises:
    BindingNotBuilt: On import, where no module fits.
    LibraryMissing: On import, where Xen's libraries are missing.
"""

from __future__ import annotations

from typing import Any

from pyxen.xenlight import loader

__all__ = ["CData", "ffi", "lib", "release"]

CData = Any
"""A value of C's; cffi's types say no more."""

_module: Any = loader.load()

ffi: Any = _module.ffi
lib: Any = _module.lib
release: str = _module.__name__.rpartition("xenlight_")[2].replace("_", ".")
"""Xen release that it was compiled for, e.g. ``4.20``."""
