"""Write docs/public_api.txt: every public name with its signature, so that a change of one is seen in a review.

What is listed is what the promise of docs/versions.md is about. A public name is one of ``__all__`` of the modules in
`MODULES`; of a class, its attributes without an underscore, with those that it inherits from classes that are not
public.
"""

from __future__ import annotations

import ast
import dataclasses
import enum
import functools
import importlib
import inspect
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

FILE = Path(__file__).resolve().parent.parent / "docs" / "public_api.txt"

MODULES = (
    "pyxen",
    "pyxen.aio",
    "pyxen.aio.bridges",
    "pyxen.aio.doctor",
    "pyxen.aio.images",
    "pyxen.aio.storage",
    "pyxen.autostart",
    "pyxen.bridges",
    "pyxen.config",
    "pyxen.conversion",
    "pyxen.distributed",
    "pyxen.doctor",
    "pyxen.errors",
    "pyxen.events",
    "pyxen.features",
    "pyxen.images",
    "pyxen.libvirtxml",
    "pyxen.libxljson",
    "pyxen.metrics",
    "pyxen.storage",
    "pyxen.supervisor",
    "pyxen.testing",
    "pyxen.xlcfg",
)


class _Bare(str):
    """A text that is shown without quotes."""

    __slots__ = ()

    def __repr__(self) -> str:
        return str(self)


def _default(value: object) -> _Bare:
    if isinstance(value, enum.Enum):
        return _Bare(value)
    return _Bare(repr(value).partition(" at 0x")[0])


def _signature(callable_: Any) -> str:
    signature = inspect.signature(callable_)
    shown = [
        each.replace(
            annotation=each.annotation if each.annotation is each.empty else _Bare(each.annotation),
            default=each.default if each.default is each.empty else _default(each.default),
        )
        for each in signature.parameters.values()
    ]
    returns = signature.return_annotation
    if returns is not signature.empty:
        returns = _Bare(returns)
    return str(signature.replace(parameters=shown, return_annotation=returns))


@functools.cache
def _listed() -> set[int]:
    return {id(value) for module in MODULES for value in _names(importlib.import_module(module)).values()}


def _is_ours(kind: type) -> bool:
    return kind.__module__.partition(".")[0] == "pyxen"


def _members(kind: type) -> Iterator[tuple[str, Any]]:
    """Yield the public attributes that a class has of its own, or of those that are not listed."""
    listed = _listed()
    found: dict[str, Any] = {}
    for base in kind.__mro__:
        if _is_ours(base) and (base is kind or id(base) not in listed):
            for name, value in [*vars(base).items(), *((name, None) for name in _assigned(base))]:
                found.setdefault(name, value)
    yield from sorted((name, value) for name, value in found.items() if not name.startswith("_"))


def _assigned(kind: type) -> Iterator[str]:
    """Yield the public attributes that the constructor assigns."""
    constructor = vars(kind).get("__init__")
    if dataclasses.is_dataclass(kind) or not inspect.isfunction(constructor):
        return
    for node in ast.walk(ast.parse(textwrap.dedent(inspect.getsource(constructor)))):
        targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
        for target in targets:
            if isinstance(target, ast.Attribute) and ast.unparse(target.value) == "self" and target.attr[0] != "_":
                yield target.attr


def _member(name: str, value: Any) -> str:
    if isinstance(value, property):
        returns = inspect.signature(value.fget).return_annotation if value.fget else ""
        return f"{name} -> {returns}{' (can be set)' if value.fset else ''}"
    if isinstance(value, staticmethod | classmethod):
        return f"{type(value).__name__} {name}{_signature(value.__func__)}"
    if inspect.isfunction(value):
        return f"{'async ' if inspect.iscoroutinefunction(value) else ''}{name}{_signature(value)}"
    return name


def _fields(kind: type) -> list[str]:
    if not dataclasses.is_dataclass(kind):
        return []
    shown = []
    for field in dataclasses.fields(kind):
        default = "" if field.default is dataclasses.MISSING else f" = {_default(field.default)}"
        if field.default_factory is not dataclasses.MISSING:
            default = " = ..."
        if not field.name.startswith("_"):
            shown.append(f"{field.name}: {field.type}{default}")
    return shown


def _class(name: str, kind: type) -> Iterator[str]:
    listed = _listed()
    shown = [base for base in kind.__bases__ if base is not object and (not _is_ours(base) or id(base) in listed)]
    bases = ", ".join(base.__name__ for base in shown)
    yield f"class {name}({bases})" if bases else f"class {name}"
    if issubclass(kind, enum.Enum):
        yield from (f"    {member.name} = {member.value!r}" for member in kind)
        return
    fields = _fields(kind)
    yield from (f"    {field}" for field in fields)
    slots = {field.partition(":")[0] for field in fields}
    yield from (f"    {_member(attribute, value)}" for attribute, value in _members(kind) if attribute not in slots)


def _names(module: ModuleType) -> dict[str, Any]:
    return {name: getattr(module, name) for name in sorted(module.__all__)}


def _lines() -> Iterator[str]:
    yield "# The public API. Written by `python -m tools.public_api`; docs/versions.md says what is promised of it."
    first: dict[int, str] = {}
    for module_name in MODULES:
        yield ""
        yield f"[{module_name}]"
        for name, value in _names(importlib.import_module(module_name)).items():
            known = first.setdefault(id(value), f"{module_name}.{name}")
            is_object = inspect.isclass(value) or inspect.isfunction(value)
            if isinstance(value, ModuleType):
                yield f"module {name}"
            elif is_object and known != f"{module_name}.{name}":
                yield f"{name} is {known}"
            elif inspect.isclass(value):
                yield from _class(name, value)
            elif inspect.isfunction(value):
                yield f"{'async ' if inspect.iscoroutinefunction(value) else ''}def {name}{_signature(value)}"
            else:
                yield name


def text() -> str:
    """Return the list."""
    return "\n".join(_lines()) + "\n"


def main() -> int:
    """Write the list."""
    FILE.write_text(text())
    return 0


if __name__ == "__main__":
    sys.exit(main())
