"""``ffi`` and ``lib`` of the compiled module that fits the running Xen.

Raises:
    BindingNotBuilt: On import, if no module fits.
    LibraryMissing: On import, if Xen's libraries are missing.
"""

from __future__ import annotations

from typing import Any

from pyxen.backends.xenlight.libxl import loader

__all__ = ["CData", "c_text", "ffi", "file", "lib", "release", "worker"]

CData = Any
"""A C value; cffi has no more precise types."""

_module: Any = loader.load()

ffi: Any = _module.ffi
lib: Any = _module.lib
release: str = _module.__name__.rpartition("xenlight_")[2].replace("_", ".")
"""The Xen release that the module was compiled for, e.g. ``4.20``."""
file: str = _module.__file__
"""Path of the module."""
worker: str = loader.worker_program(_module)
"""Path of the program that workers run, which was compiled with the module."""


def c_text(text: str) -> bytes:
    """Return a name as libxl has it: in UTF-8, whatever the locale. Surrogates stand for other bytes."""
    return text.encode(errors="surrogateescape")
