"""Test support for programs that use pyxen: a scriptable host in memory, and Hypothesis strategies.

The pytest fixture ``xen_host`` is a `FakeHost`. Names are loaded when first used; the strategies need
``pip install 'pyxen[testing]'``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pyxen.testing.strategies as strategies
    from pyxen.testing.fakeguest import FakeGuest as FakeGuest
    from pyxen.testing.fakehost import FakeHost as FakeHost

__all__ = ["FakeGuest", "FakeHost", "strategies"]

_NAMES = {"FakeGuest": "fakeguest", "FakeHost": "fakehost"}

if not TYPE_CHECKING:  # a type checker that saw this would accept every misspelt name

    def __getattr__(name: str) -> Any:
        import importlib

        if name == "strategies":
            return importlib.import_module("pyxen.testing.strategies")
        if name in _NAMES:
            return getattr(importlib.import_module(f"pyxen.testing.{_NAMES[name]}"), name)
        raise AttributeError(f"module 'pyxen.testing' has no attribute {name!r}")
