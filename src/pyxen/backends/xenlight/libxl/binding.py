"""The door to C: ``ffi`` and ``lib`` of the module that fits the running Xen.

Raises:
    BindingNotBuilt: On import, where no module fits.
    LibraryMissing: On import, where Xen's libraries are missing.
"""

from __future__ import annotations

import os
import sys
from typing import Any

from pyxen.backends.xenlight.libxl import loader

__all__ = ["CData", "backend_folder", "ffi", "file", "lib", "release"]

CData = Any
"""A value of C's; cffi's types say no more."""

_module: Any = loader.load()

ffi: Any = _module.ffi
lib: Any = _module.lib
release: str = _module.__name__.rpartition("xenlight_")[2].replace("_", ".")
"""Xen release that it was compiled for, e.g. ``4.20``."""
file: str = _module.__file__
"""Where the module is."""
backend_folder: str = os.path.dirname(sys.modules["_cffi_backend"].__file__ or "")
"""Where cffi's runtime half is, which the module needs."""
