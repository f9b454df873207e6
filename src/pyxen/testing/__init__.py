"""Test support for programs that use pyxen: a scriptable host in memory, and Hypothesis strategies.

The pytest fixtures ``xen_host`` and ``aio_xen_host`` are a `FakeHost` and its asyncio face. Names are loaded when first
used; the strategies need ``pip install 'pyxen[testing]'``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pyxen.testing.strategies as strategies
    from pyxen.backends.memory.machine import Call as Call
    from pyxen.testing.fakeguest import FakeGuest as FakeGuest
    from pyxen.testing.fakehost import FakeHost as FakeHost

__all__ = ["Call", "FakeGuest", "FakeHost", "strategies"]

_NAMES = {
    "Call": "pyxen.backends.memory.machine",
    "FakeGuest": "pyxen.testing.fakeguest",
    "FakeHost": "pyxen.testing.fakehost",
}

if not TYPE_CHECKING:  # a type checker that saw this would accept every misspelt name

    def __getattr__(name: str) -> Any:
        import importlib

        if name == "strategies":
            return importlib.import_module("pyxen.testing.strategies")
        if name in _NAMES:
            return getattr(importlib.import_module(_NAMES[name]), name)
        raise AttributeError(f"module 'pyxen.testing' has no attribute {name!r}")
