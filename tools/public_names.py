"""The public API: the modules whose ``__all__`` is a promise to users, and the name by which they know an object."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from functools import cache
from typing import Any, Final

MODULES: Final = (
    "pyxen",
    "pyxen.aio",
    "pyxen.config",
    "pyxen.errors",
    "pyxen.events",
    "pyxen.xlcfg",
    "pyxen.libvirtxml",
    "pyxen.libxljson",
    "pyxen.conversion",
    "pyxen.autostart",
    "pyxen.aio.autostart",
    "pyxen.doctor",
    "pyxen.storage",
    "pyxen.images",
    "pyxen.bridges",
    "pyxen.aio.doctor",
    "pyxen.aio.storage",
    "pyxen.aio.images",
    "pyxen.aio.bridges",
    "pyxen.supervisor",
    "pyxen.metrics",
    "pyxen.distributed",
    "pyxen.testing",
    "pyxen.testing.strategies",
    "pyxen.units",
)
"""In the order in which a name is looked for: what is in several modules is known by the first."""

RETURNED: Final = (
    ("pyxen.begin", "HostOperations"),
    ("pyxen.begin", "DomainOperations"),
    ("pyxen.begin", "DeviceOperations"),
    ("pyxen.aio.connection", "Connecting"),
    ("pyxen.metrics.catalogue", "MetricKind"),
)
"""Classes that no ``__all__`` above has, but whose objects users are given."""


def _members() -> Iterator[tuple[str, str, Any]]:
    for module in MODULES:
        loaded = importlib.import_module(module)
        for name in loaded.__all__:
            yield module, name, getattr(loaded, name)
    for module, name in RETURNED:
        yield module, name, getattr(importlib.import_module(module), name)


@cache
def names() -> frozenset[str]:
    """Return the public names, such as ``pyxen.Host``; each object has one."""
    seen: set[tuple[Any, ...]] = set()
    found = set()
    for module, name, value in _members():
        home = _home(value)
        key = (home,) if home else (name, repr(value))
        if key not in seen and f"{module}.{name}" not in MODULES:
            seen.add(key)
            found.add(f"{module}.{name}")
    return frozenset(found)


@cache
def by_home() -> dict[str, str]:
    """Return the public names of objects, by the place where they are defined, such as ``pyxen.host.Host``."""
    found: dict[str, str] = {}
    for module, name, value in _members():
        home = _home(value)
        if home:
            found.setdefault(home, f"{module}.{name}")
    return found


def _home(value: Any) -> str:
    module, name = getattr(value, "__module__", None), getattr(value, "__qualname__", None)
    return f"{module}.{name}" if isinstance(module, str) and isinstance(name, str) else ""
