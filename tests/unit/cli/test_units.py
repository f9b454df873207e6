"""The units for systemd: they run commands that there are, and systemd finds nothing wrong with them."""

from __future__ import annotations

import configparser
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import typer.main

from pyxen.backends.remote.local import DEFAULT_SOCKET, SETTINGS_FILE
from pyxen.cli.app import app
from tools import man

FOLDER = Path(__file__).parents[3] / "contrib" / "systemd"
UNITS = sorted(FOLDER.glob("*.*"))


def test_there_is_a_unit_for_each_service() -> None:
    assert [unit.stem for unit in UNITS if unit.suffix == ".service"] == [
        "pyxen-autostart",
        "pyxen-exporter",
        "pyxen-serve",
        "pyxen-supervise",
    ]
    assert [unit.name for unit in UNITS if unit.suffix != ".service"] == ["pyxen-serve.socket"]


def test_the_socket_is_where_clients_look_for_it() -> None:
    text = (FOLDER / "pyxen-serve.socket").read_text()
    assert f"ListenStream={DEFAULT_SOCKET}\n" in text
    assert SETTINGS_FILE in text


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: str(unit.name))
def test_a_unit(unit: Path, tmp_path: Path) -> None:
    text = unit.read_text()
    parser = configparser.ConfigParser(strict=False, interpolation=None)  # systemd adds up what is there twice
    parser.optionxform = str  # type: ignore[assignment,method-assign]  # names keep their case
    parser.read_string(text)
    for key in ("ExecStart", "ExecStop"):
        if line := parser.get("Service", key, fallback=""):
            _check_line(line)
    pages = {name.removesuffix(".1") for name in man.pages()}
    named = re.findall(r"man:([\w.-]+)\((\d)\)", parser["Unit"]["Documentation"])
    assert {name for name, section in named if section == "1"} <= pages
    if analyze := shutil.which("systemd-analyze"):
        program = tmp_path / "pyxen"
        program.write_text("#!/bin/sh\n")
        program.chmod(0o755)
        for each in UNITS:  # one may need another
            (tmp_path / each.name).write_text(each.read_text().replace("=pyxen ", f"={program} "))
        copy = tmp_path / unit.name
        command = [analyze, "verify", "--man=no", str(copy)]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
        assert (done.returncode, done.stdout + done.stderr) == (0, "")


@pytest.mark.parametrize("name", ["autostart", "serve", "supervise"])
def test_a_device_model_that_dies_does_not_stop_the_unit_that_holds_it(name: str) -> None:
    """What the kernel ends for want of memory stops a unit by default; pyxen-autostart would stop all guests."""
    text = (FOLDER / f"pyxen-{name}.service").read_text()
    assert "\nKillMode=process\n" in text
    assert "\nOOMPolicy=continue\n" in text
    assert "\nTasksMax=infinity\n" in text


def test_the_socket_does_not_ask_for_what_is_mounted_later() -> None:
    assert "ConditionPathExists=/proc/xen" not in (FOLDER / "pyxen-serve.socket").read_text()


def test_xendomains_has_stopped_its_guests_before_pyxen_starts_them() -> None:
    parser = configparser.ConfigParser(strict=False, interpolation=None)
    text = (FOLDER / "pyxen-autostart.service").read_text()
    parser.read_string(text)
    assert parser["Unit"]["Conflicts"] == "xendomains.service"
    assert "xendomains.service" in " ".join(re.findall("^After=(.*)$", text, re.MULTILINE)).split()


def _check_line(line: str) -> None:
    """Check that the command has the subcommand and the options of a line."""
    program, *words = line.split()
    assert program == "pyxen"
    shown: Any = typer.main.get_command(app)
    while words and words[0] in getattr(shown, "commands", {}):
        shown = shown.commands[words.pop(0)]
    options = [word for word in words if word.startswith("-")]
    assert not hasattr(shown, "commands"), line
    assert {*options} <= {name for param in shown.params for name in param.opts}, line
