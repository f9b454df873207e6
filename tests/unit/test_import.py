"""What a bare ``import pyxen`` costs, and what it offers."""

from __future__ import annotations

import ast
import importlib
import json
import pydoc
import subprocess
import sys
from pathlib import Path

import pytest

import pyxen
from pyxen._homes import MODULES
from tests.waiting import SECONDS

EXPENSIVE = (
    "_cffi_backend",
    "cffi",
    "lxml",
    "libvirt",
    "asyncio",
    "pyxen.backends.xenlight.libxl.binding",
    "pyxen.backends.xenlight.libxl._xenlight",
)


def loaded_by(code: str) -> list[str]:
    """Run code in a fresh interpreter and return the modules that it has loaded."""
    program = f"{code}\nimport json, sys\nprint(json.dumps(sorted(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True, timeout=SECONDS)
    modules: list[str] = json.loads(done.stdout)
    return modules


@pytest.mark.parametrize(
    "code",
    [
        "import pyxen",
        "import pyxen; dir(pyxen)",
        "import pyxen; pyxen.DomainConfig, pyxen.DomainNotFound",
        "import pyxen; pyxen.Host, pyxen.Domain, pyxen.connect, pyxen.Operation",
        "import pyxen.backends.xenlight.libxl.loader",
        "import pyxen.xlcfg",
        "import pyxen.libxljson",
        "import pyxen; pyxen.connect('memory:///').close()",
        "import pyxen.testing, pyxen.testing.plugin",
    ],
)
def test_nothing_expensive_is_loaded(code: str) -> None:
    loaded = loaded_by(code)
    assert "pyxen" in loaded
    assert [name for name in loaded if name.startswith(EXPENSIVE)] == []


def test_a_connect_does_not_look_for_backends_of_other_packages() -> None:
    assert "importlib.metadata" not in loaded_by("import pyxen; pyxen.connect('memory:///').close()")


def test_a_bare_import_loads_one_module() -> None:
    assert [name for name in loaded_by("import pyxen") if name.startswith("pyxen")] == ["pyxen"]


def test_the_plugin_of_pytest_costs_nothing_unused() -> None:
    loaded = [name for name in loaded_by("import pyxen.testing.plugin") if name.startswith("pyxen")]
    assert loaded == ["pyxen", "pyxen.testing", "pyxen.testing.plugin"]


def test_a_host_for_tests_needs_no_test_tools() -> None:
    loaded = loaded_by("import pyxen.testing; pyxen.testing.FakeHost().close()")
    assert [name for name in loaded if name.startswith(("pytest", "hypothesis", "_cffi"))] == []


@pytest.mark.parametrize("name", dir(pyxen))
def test_every_name_resolves(name: str) -> None:
    assert getattr(pyxen, name) is not None


@pytest.mark.parametrize("name", ["nothing", "_config", "__path_hooks__", "Nothing"])
def test_other_names_do_not(name: str) -> None:
    with pytest.raises(AttributeError, match=name):
        getattr(pyxen, name)


def test_type_checkers_see_the_same_names() -> None:
    tree = ast.parse(Path(pyxen.__file__).read_text())
    block = next(node for node in tree.body if isinstance(node, ast.If))
    assert ast.unparse(block.test) == "TYPE_CHECKING"
    ours = [node for node in block.body if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("pyxen")]
    seen = {alias.name for node in ours for alias in node.names}
    assert sorted(seen | {"__version__"}) == dir(pyxen)
    assert seen == {*pyxen.__all__, *MODULES}
    for node in ours:
        for alias in node.names:
            assert getattr(pyxen, alias.name) is getattr(importlib.import_module(node.module or ""), alias.name)


@pytest.mark.parametrize("name", ["autostart", "bridges", "doctor", "images", "storage"])
def test_modules_for_asyncio_need_no_import_of_their_own(name: str) -> None:
    code = f"import pyxen; assert '{name}' in dir(pyxen.aio); print(pyxen.aio.{name}.__name__)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=SECONDS)
    assert done.stdout == f"pyxen.aio.{name}\n"


def test_asyncio_has_no_other_names() -> None:
    with pytest.raises(AttributeError, match=r"module 'pyxen\.aio' has no attribute 'storrage'"):
        getattr(pyxen.aio, "storrage")  # noqa: B009 (mypy would see it)


def test_every_submodule_of_use_is_declared() -> None:
    modules = {path.stem for path in Path(pyxen.__file__).parent.iterdir() if (path / "__init__.py").exists()}
    assert modules - {
        "_common",
        "_copies",
        "backends",
        "cli",
        "distributed",
        "metrics",
        "readers",
        "records",
        "serve",
        "supervisor",
    } <= {*MODULES}


@pytest.mark.parametrize("name", ["COLO_KEYS", "LibxlEnum", "Part", "Setting", "newer_than", "settings_of"])
def test_inner_names_stay_in_their_modules(name: str) -> None:
    assert not hasattr(pyxen, name)
    assert hasattr(pyxen.config, name)


def test_a_misspelt_name_is_answered_with_the_right_one() -> None:
    program = "import pyxen; pyxen.conect"
    done = subprocess.run([sys.executable, "-c", program], check=False, capture_output=True, text=True, timeout=SECONDS)
    assert "AttributeError: module 'pyxen' has no attribute 'conect'. Did you mean: 'connect'?" in done.stderr


def test_all_names_are_imported_by_a_star() -> None:
    names: dict[str, object] = {}
    exec("from pyxen import *", names)  # noqa: S102 (there is no other way to have it in a function)
    assert {*pyxen.__all__} <= names.keys()


def test_help_is_a_page() -> None:
    page = pydoc.render_doc(pyxen)
    assert len(page.splitlines()) < 150
    assert "pyxen.connect()" in page


def test_the_package_says_that_it_is_typed() -> None:
    assert Path(pyxen.__file__).with_name("py.typed").exists()


@pytest.mark.parametrize("uri", ["xen:///system", "xen+ssh://root@host/system", "test:///default", "qemu:///system"])
def test_what_is_missing_without_libvirt(uri: str) -> None:
    program = f"""
import sys
sys.modules["libvirt"] = None
import pyxen
pyxen.libvirtxml.dumps(pyxen.DomainConfig("web1", kernel="/vmlinuz"))
try:
    pyxen.connect({uri!r})
except pyxen.LibraryMissing as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True, timeout=SECONDS)
    assert "pip install 'pyxen[libvirt]'" in done.stdout
