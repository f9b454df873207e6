"""Imports run downwards only, and C is touched in one place only: read from the sources, nothing is imported."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[2] / "src" / "pyxen"

LAYERS = (
    {"__main__"},
    {"cli", "distributed"},
    {"__init__"},  # the door, through which users come in; the library itself never goes out by it
    {"testing"},
    {"aio.bridges", "aio.doctor", "aio.images", "aio.storage"},  # what stands in the next rows, awaited
    {"autostart", "doctor", "images", "metrics", "serve", "supervisor"},
    {"bridges", "storage"},
    {
        "_domain_devices",
        "_domain_handle",
        "_domain_resources",
        "_host_calls",
        "_host_copies",
        "_host_hypervisor",
        "devicetree",
        "flask",
        "libvirtverbs",
        "pcidevices",
        "psr",
        "qmp",
        "_lifetime",
        "_apply_operation",
        "_copies",
        "pool",
        "_placement",
        "applying",
        "begin",
        "connection",
        "cpupool",
        "cpupools",
        "host",
        "hosts",
        "domain",
        "domains",
        "hypfs",
        "livedevices",
        "readers",
        "sampler",
        "terminal",
        "guests",
        "usbdevices",
        "vm",
        "xenstore",
        "aio",
    },
    {"xenstorenodes"},
    {"backends"},
    {"_autostart_files", "_inventory", "_next_config", "conversion", "xendomains", "xlconf"},
    {"xlcfg", "libvirtxml", "libxljson"},
    {"_common"},
    {
        "config",
        "events",
        "features",
        "losses",
        "records",
        "remus",
    },
    {"operation"},
    {"_durations", "_functions", "_interpreter"},
    {"_asyncio", "errors", "units"},
    {"_homes", "_local", "_printable"},
)
"""The modules and packages of pyxen, from the top down. One may import what stands in a lower row."""

BACKENDS = ("libvirt", "memory", "remote", "xenlight")
"""The packages of the backends; none imports another, they share `base` and `_common` only."""

XENLIGHT_LAYERS = (
    {"backend", "driver", "host_verbs"},
    {"migration"},
    {"operations"},
    {"libxl", "hypervisor", "info", "rows", "sysfs", "topology", "uptime", "xenstore"},
)
"""The rooms of the xenlight backend, from the top down; those of one row may import each other."""

NEIGHBOURS = LAYERS[7] | LAYERS[-5]
"""Those that may also import from their own row; codecs, backends and what stands lowest know nothing of each other."""

FOR_CHECKERS = {"pyxen.aio", "pyxen.errors"}
"""What imports from above for type checkers only: modules that are loaded when first used, the types of attributes."""


def module_name(path: Path) -> str:
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


SOURCES = {module_name(path): path for path in sorted(PACKAGE.rglob("*.py"))}


def imports(tree: ast.AST, module: str, *, is_package: bool) -> Iterator[str]:
    """Yield the full name of all that a module imports; for ``from a import b`` that is ``a.b``."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parts = module.split(".")
                parts = parts[: len(parts) - node.level + is_package]
                base = ".".join([*parts, base] if base else parts)
            yield from (f"{base}.{alias.name}" for alias in node.names)


def modules_imported(module: str, *, at_start: bool = False) -> set[str]:
    """Return the modules of pyxen that one imports: all of them, or only those loaded with it."""
    path = SOURCES[module]
    tree = ast.parse(path.read_text())
    if module in FOR_CHECKERS:
        tree.body = [node for node in tree.body if ast.unparse(getattr(node, "test", node)) != "TYPE_CHECKING"]
    if at_start:
        tree.body = [node for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom)]
    found = set()
    for name in imports(tree, module, is_package=path.name == "__init__.py"):
        if name.split(".")[0] == "pyxen":
            found.add(name if name in SOURCES else name.rpartition(".")[0])
    return found - {module}


def part(module: str) -> str:
    """Return what a module is in `LAYERS`: its first name below pyxen, or that with the next one."""
    names = module.split(".")[1:3]
    whole = ".".join(names)
    return whole if layer(whole) >= 0 else names[0] if names else "__init__"


def layer(name: str) -> int:
    """Return the row of a part, counted from the bottom."""
    return next((height for height, row in enumerate(reversed(LAYERS)) if name in row), -1)


def upwards(module: str, imported: set[str]) -> list[str]:
    """Return those imports that do not lead downwards."""
    own = part(module)
    wrong = []
    for name in sorted(imported):
        other = part(name)
        beside = own in NEIGHBOURS and layer(other) == layer(own)
        if other != own and not beside and layer(other) >= layer(own):
            wrong.append(name)
    return wrong


def test_every_module_has_its_layer() -> None:
    assert len(SOURCES) > 30
    assert {part(module) for module in SOURCES if layer(part(module)) < 0} == set()


@pytest.mark.parametrize("module", SOURCES)
def test_imports_run_downwards(module: str) -> None:
    assert upwards(module, modules_imported(module)) == []


def test_no_module_needs_itself() -> None:
    graph = {module: modules_imported(module, at_start=True) for module in SOURCES}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(f"imports in a circle: {' -> '.join(reversed(error.args[1]))}")


def _room(module: str) -> str:
    return module.split(".")[3]


IN_XENLIGHT = [module for module in SOURCES if module.startswith("pyxen.backends.xenlight.")]


@pytest.mark.parametrize("module", IN_XENLIGHT)
def test_imports_in_xenlight_run_downwards(module: str) -> None:
    def row(room: str) -> int:
        return next(height for height, rooms in enumerate(reversed(XENLIGHT_LAYERS)) if room in rooms)

    others = {name for name in modules_imported(module) if name in IN_XENLIGHT}
    assert sorted(name for name in others if row(_room(name)) > row(_room(module))) == []


@pytest.mark.parametrize("module", [module for module in SOURCES if part(module) == "backends"])
def test_backends_know_nothing_of_each_other(module: str) -> None:
    own = module.split(".")[2] if module.count(".") > 1 else ""
    foreign = tuple(f"pyxen.backends.{name}" for name in BACKENDS if name != own)
    assert sorted(name for name in modules_imported(module) if name.startswith(foreign)) == []


@pytest.mark.parametrize(
    "module",
    [
        module
        for module in SOURCES
        if not module.startswith(("pyxen.backends.xenlight", "pyxen.backends.libvirt.pinning"))
    ],
)
def test_c_is_used_in_xenlight_only(module: str) -> None:
    path = SOURCES[module]
    tree = ast.parse(path.read_text())
    imported = list(imports(tree, module, is_package=path.name == "__init__.py"))
    compiled = (
        "cffi",
        "_cffi_backend",
        "ctypes",
        "pyxen.backends.xenlight.libxl.binding",
        "pyxen.backends.xenlight.libxl._xenlight",
    )
    assert [name for name in imported if name.startswith(compiled)] == []
    used = [node.id for node in ast.walk(tree) if isinstance(node, ast.Name)]
    used += [node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)]
    assert {"ffi", "lib"}.isdisjoint(used)


@pytest.mark.parametrize("module", [module for module in SOURCES if part(module) in {"errors", "records", "config"}])
def test_the_model_needs_the_standard_library_only(module: str) -> None:
    path = SOURCES[module]
    imported = imports(ast.parse(path.read_text()), module, is_package=path.name == "__init__.py")
    tops = {name.split(".")[0] for name in imported}
    assert tops.isdisjoint({"cffi", "lxml", "libvirt", "typer", "rich", "asyncio", "socket", "subprocess"})


# The rules themselves: what they must find.


@pytest.mark.parametrize(
    ("module", "is_package", "text", "found"),
    [
        ("pyxen.host", False, "import os.path, pyxen.errors", ["os.path", "pyxen.errors"]),
        ("pyxen.host", False, "from pyxen import libxljson", ["pyxen.libxljson"]),
        (
            "pyxen.host",
            False,
            "def f():\n    from pyxen.backends.xenlight.libxl import loader",
            ["pyxen.backends.xenlight.libxl.loader"],
        ),
        (
            "pyxen.backends.xenlight.libxl.event_loop",
            False,
            "from . import lock",
            ["pyxen.backends.xenlight.libxl.lock"],
        ),
        ("pyxen.xlcfg.grammar", False, "from ..errors import Error", ["pyxen.errors.Error"]),
        ("pyxen.config", True, "from .disk import Disk", ["pyxen.config.disk.Disk"]),
        ("pyxen.host", False, "if TYPE_CHECKING:\n    import lxml", ["lxml"]),
    ],
)
def test_imports_are_found(module: str, is_package: bool, text: str, found: list[str]) -> None:
    assert list(imports(ast.parse(text), module, is_package=is_package)) == found


@pytest.mark.parametrize(
    ("module", "imported", "wrong"),
    [
        ("pyxen.errors", "pyxen.units", True),
        ("pyxen.config.disk", "pyxen.xlcfg.grammar", True),
        ("pyxen.xlcfg.grammar", "pyxen.libxljson", True),
        ("pyxen.host", "pyxen", True),
        ("pyxen.operation", "pyxen.nowhere", False),  # caught by test_every_module_has_its_layer
        ("pyxen.host", "pyxen.domains", False),
        ("pyxen.backends.xenlight.backend", "pyxen.backends.base", False),
        ("pyxen.cli", "pyxen", False),
        ("pyxen.conversion", "pyxen.libvirtxml", False),
    ],
)
def test_directions(module: str, imported: str, wrong: bool) -> None:
    assert (upwards(module, {imported}) != []) is wrong
