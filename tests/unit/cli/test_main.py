"""The command itself, with and without what it needs."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

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


PROGRAM = "import sys; from pyxen.cli import main; sys.exit(main())"


@pytest.mark.parametrize("command", [["lint"], ["convert", "--to", "xl"], ["lint", "--format", "json"]])
def test_an_output_that_is_full(command: list[str], tmp_path: Path) -> None:
    path = tmp_path / "a.cfg"
    path.write_text('name = "a"\ntype = "hvm"\nmemroy = 5\n')
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM, *command, str(path)],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1] == "error: standard output: No space left on device"
    assert "Traceback" not in done.stderr
    assert str(path) not in done.stderr


@pytest.mark.parametrize("command", [["lint"], ["convert", "--to", "xl"]])
def test_an_output_that_nobody_reads(command: list[str], tmp_path: Path) -> None:
    path = tmp_path / "a.cfg"
    path.write_text('name = "a"\ntype = "hvm"\nmemory = 64\nvcpu = 1\n')
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, *command, str(path)],
        stdout=writing,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )
    os.close(writing)
    assert done.returncode == 141
    assert "error" not in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("xen", ["3.0", "unstable"])
def test_a_release_that_is_not_known_is_not_the_files_fault(xen: str, tmp_path: Path) -> None:
    path = tmp_path / "a.cfg"
    path.write_text('name = "a"\n')
    result = CliRunner().invoke(app, ["lint", str(path), "--xen", xen])
    assert result.exit_code == 2
    assert "--xen" in result.stderr
    assert str(path) not in result.stderr


@pytest.mark.parametrize(("command", "files"), [("lint", "FILE..."), ("convert", "FILE")])
def test_the_usage_says_how_many_files_there_can_be(command: str, files: str) -> None:
    usage = CliRunner().invoke(app, [command]).stderr.splitlines()[0]
    assert usage.endswith(f" {{{files}}}" if not files.endswith("...") else " {FILE}..."), usage
