"""For the tests of programs that use pyxen: a host that does what a test says, and configurations for Hypothesis.

With pytest, the fixture ``xen_host`` is a `FakeHost`. Every name is loaded when it is first used; the strategies need
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

if not TYPE_CHECKING:  # a checker that saw this would take every misspelt name for one of ours

    def __getattr__(name: str) -> Any:
        import importlib

        if name == "strategies":
            return importlib.import_module("pyxen.testing.strategies")
        if name in _NAMES:
            return getattr(importlib.import_module(f"pyxen.testing.{_NAMES[name]}"), name)
        raise AttributeError(f"module 'pyxen.testing' has no attribute {name!r}")
