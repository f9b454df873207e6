"""``pyxen lint``."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from pyxen.cli.app import app

GOOD = 'name = "web1"\ntype = "pvh"\nkernel = "/boot/vmlinuz"\nmemory = 512\n'
MISSPELT = GOOD + "memroy = 256\n"
OUTDATED = 'name = "web1"\nbuilder = "hvm"\nmemory = 512\n'
BROKEN = GOOD + "vcpus = \n"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "web1.cfg"


@pytest.mark.parametrize(("text", "status"), [(GOOD, 0), (MISSPELT, 1), (OUTDATED, 0), (BROKEN, 1)])
def test_the_exit_status(file: Path, text: str, status: int) -> None:
    file.write_text(text)
    result = CliRunner().invoke(app, ["lint", str(file)])
    assert result.exit_code == status
    assert (result.stdout == "") == (text == GOOD)


def test_text(file: Path) -> None:
    file.write_text(MISSPELT)
    lines = CliRunner().invoke(app, ["lint", str(file)]).stdout.splitlines()
    assert lines[0].startswith(f"{file}:5:1: warning: ")
    assert "[unknown-key]" in lines[0]
    assert "memory" in lines[1]


def test_json_of_several_files_and_standard_input(file: Path) -> None:
    file.write_text(GOOD)
    result = CliRunner().invoke(app, ["lint", str(file), "-", "--format", "json"], input=MISSPELT)
    assert result.exit_code == 1
    (found,) = json.loads(result.stdout)
    assert (found["file"], found["line"], found["column"], found["code"]) == ("<stdin>", 5, 1, "unknown-key")
    assert {"message", "hint", "severity"} <= found.keys()


def test_a_release(file: Path) -> None:
    file.write_text(GOOD + "llc_colors = [0]\n")
    assert CliRunner().invoke(app, ["lint", str(file), "--xen", "4.17"]).exit_code == 1
    assert CliRunner().invoke(app, ["lint", str(file), "--xen", "xen"]).exit_code == 2


def test_a_file_without_a_name() -> None:
    for arguments in (["lint", ""], ["convert", "", "--to", "xl"]):
        result = CliRunner().invoke(app, arguments)
        assert (result.exit_code, result.stderr) == (
            2,
            "error: '': a file needs a name; - is standard input or output\n",
        )


def test_a_file_that_is_not_there(file: Path) -> None:
    result = CliRunner().invoke(app, ["lint", str(file), "-", "--format", "json"], input=MISSPELT)
    assert result.exit_code == 2
    assert str(file) in result.stderr
    assert len(json.loads(result.stdout)) == 1


def test_bytes_that_are_no_text(file: Path) -> None:
    file.write_bytes(b'name = "\xff\xfe"\nmemory = 512\n')
    assert CliRunner().invoke(app, ["lint", str(file)]).exit_code in (0, 1)
