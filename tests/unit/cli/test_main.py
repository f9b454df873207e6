"""The command itself, with and without what it needs."""

from __future__ import annotations

import subprocess
import sys

import pytest
from typer.testing import CliRunner

import pyxen
from pyxen.cli.app import app

HIDING = (
    "import sys\n"
    "class Hide:\n"
    "    def find_spec(self, name, path=None, target=None):\n"
    "        if name == {missing!r}: raise ModuleNotFoundError('hidden', name=name)\n"
    "sys.meta_path.insert(0, Hide())\n"
    "from pyxen.cli import main\n"
    "sys.exit(main())\n"
)


def run(code: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=False)


def test_the_version() -> None:
    assert CliRunner().invoke(app, ["--version"]).stdout == f"pyxen {pyxen.__version__}\n"


def test_help() -> None:
    result = CliRunner().invoke(app, ["-h"])
    assert result.exit_code == 0
    assert "convert" in result.stdout
    assert "lint" in result.stdout


@pytest.mark.parametrize("missing", ["typer", "rich"])
def test_without_the_extra(missing: str) -> None:
    done = run(HIDING.format(missing=missing))
    assert done.returncode == 2
    assert "pip install 'pyxen[cli]'" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_missing_module_of_our_own_is_not_blamed_on_the_extra() -> None:
    done = run(HIDING.format(missing="pyxen.cli.lint"))
    assert "Traceback" in done.stderr
    assert "pip install" not in done.stderr


def test_as_a_program() -> None:
    done = run("import sys; from pyxen.cli import main; sys.exit(main())", "lint", "/nonexistent")
    assert done.returncode == 2
    assert "/nonexistent" in done.stderr
