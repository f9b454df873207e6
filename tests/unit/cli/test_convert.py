"""``pyxen convert``."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from pyxen.cli.app import app

XL = 'name = "web1"\ntype = "pvh"\nkernel = "/boot/vmlinuz"\nmemory = 512\npool = "fast"\n'


@pytest.fixture
def web1(tmp_path: Path) -> Path:
    path = tmp_path / "web1.cfg"
    path.write_text(XL)
    return path


@pytest.mark.parametrize(
    ("to", "beginning"),
    [
        ("libvirt-xml", "<domain type='xen'>"),
        ("xl", "name = "),
        ("json", "{"),
        ("python", "from pyxen import DomainConfig"),
    ],
)
def test_the_spellings(web1: Path, to: str, beginning: str) -> None:
    result = CliRunner().invoke(app, ["convert", str(web1), "--to", to])
    assert result.exit_code == 0
    assert result.stdout.startswith(beginning)
    assert result.stdout.endswith("\n")
    assert ("pool = fast" in result.stderr) == (to == "libvirt-xml")


def test_standard_input_and_an_output_file(tmp_path: Path) -> None:
    output = tmp_path / "web1.json"
    arguments = ["convert", "-", "--from", "xl", "--to", "json", "--output", str(output)]
    result = CliRunner().invoke(app, arguments, input=XL)
    assert result.exit_code == 0
    assert result.stdout == ""
    assert json.loads(output.read_text())["c_info"]["name"] == "web1"


def test_strict(web1: Path) -> None:
    result = CliRunner().invoke(app, ["convert", str(web1), "--to", "libvirt-xml", "--strict"])
    assert result.exit_code == 1
    assert result.stdout == ""
    assert "lost: pool = fast" in result.stderr


@pytest.mark.parametrize(
    "text", ["<domain>", "{", "name = \n", "name = 'x'\nmemory = 'lots'\nmaxmem = [1]\nvcpus = 'x"]
)
def test_what_cannot_be_read(tmp_path: Path, text: str) -> None:
    path = tmp_path / "broken"
    path.write_text(text)
    result = CliRunner().invoke(app, ["convert", str(path), "--to", "python"])
    assert result.exit_code == 2
    assert f"error: {path}" in result.stderr


def test_contradictions_are_told(tmp_path: Path) -> None:
    path = tmp_path / "twins.cfg"
    path.write_text(XL + 'disk = [ "/a,raw,xvda", "/b,raw,xvda" ]\n')
    result = CliRunner().invoke(app, ["convert", str(path), "--to", "json"])
    assert result.exit_code == 1
    assert json.loads(result.stdout)  # it is written all the same
    assert "problem: disks[1].vdev: " in result.stderr
    strict = CliRunner().invoke(app, ["convert", str(path), "--to", "json", "--strict"])
    assert (strict.exit_code, strict.stdout) == (1, "")


def test_a_text_that_xl_would_refuse(tmp_path: Path) -> None:
    path = tmp_path / "vm1.json"
    path.write_text('{"c_info": {"type": "pvh", "name": "vm1"}, "b_info": {"type.pvh": {}}}')
    result = CliRunner().invoke(app, ["convert", str(path), "--to", "xl"])
    assert result.exit_code == 1
    assert "lost: kernel: xl would refuse the text: a PVH guest needs a kernel" in result.stderr
    assert "vm1" not in result.stderr


def test_spice_without_a_port_is_told(tmp_path: Path) -> None:
    path = tmp_path / "vm1.xml"
    path.write_text(
        "<domain type='xen'><name>vm1</name><memory>524288</memory><os><type>hvm</type></os>"
        "<devices><graphics type='spice' autoport='yes'/></devices></domain>"
    )
    result = CliRunner().invoke(app, ["convert", str(path), "--to", "xl"])
    assert result.exit_code == 1
    assert "lost: spice.port: libxl refuses SPICE without a port" in result.stderr


def test_a_disk_of_a_storage_pool_is_told(tmp_path: Path) -> None:
    path = tmp_path / "vm1.xml"
    path.write_text(
        "<domain type='xen'><name>vm1</name><memory>524288</memory><os><type>hvm</type></os>"
        "<devices><disk type='volume'><source pool='p' volume='v'/><target dev='hda'/></disk></devices></domain>"
    )
    result = CliRunner().invoke(app, ["convert", str(path), "--to", "xl"])
    assert result.exit_code == 0  # the text is one that xl takes: the disk is not in it
    assert "disk" not in result.stdout
    assert "lost: devices[1]/disk[1]" in result.stderr


def test_a_file_that_cannot_be_written(web1: Path) -> None:
    result = CliRunner().invoke(app, ["convert", str(web1), "--to", "xl", "-o", str(web1.parent)])
    assert result.exit_code == 2
    assert f"error: {web1.parent}: Is a directory" in result.stderr


def test_bytes_that_are_not_utf_8_stay_what_they_were(tmp_path: Path) -> None:
    path = tmp_path / "latin1.cfg"
    path.write_bytes(b'name = "caf\xe9"\ntype = "pv"\nkernel = "/k"\nmemory = 64\n')
    result = CliRunner().invoke(app, ["convert", str(path), "--to", "xl"])
    assert result.exit_code == 1  # libxl cannot keep such a name
    assert b'name = "caf\xe9"\n' in result.stdout_bytes


def test_what_is_not_there(tmp_path: Path) -> None:
    for arguments in (["convert", str(tmp_path / "nothing"), "--to", "xl"], ["convert", str(tmp_path), "--to", "xl"]):
        result = CliRunner().invoke(app, arguments)
        assert result.exit_code == 2
        assert str(tmp_path) in result.stderr


def test_an_unknown_spelling(web1: Path) -> None:
    result = CliRunner().invoke(app, ["convert", str(web1), "--to", "yaml"])
    assert result.exit_code == 2
    assert "libvirt-xml" in result.stderr


@pytest.mark.parametrize("output", [[], ["--output", "-"]])
def test_a_terminal_is_not_controlled(web1: Path, monkeypatch: pytest.MonkeyPatch, output: list[str]) -> None:
    web1.write_text(XL + 'cmdline = "a\x1b[31mred"\n')
    command = ["convert", str(web1), "--to", "xl", *output]
    assert "\x1b[31mred" in CliRunner().invoke(app, command).stdout
    monkeypatch.setattr("pyxen.cli.output.is_terminal", lambda: True)
    assert "a\\x1b[31mred" in CliRunner().invoke(app, command).stdout
