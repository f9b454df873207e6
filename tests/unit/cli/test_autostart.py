"""``pyxen autostart``, with folders of the test's own."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pyxen import libvirtxml, libxljson, xlcfg
from pyxen.testing import FakeHost
from tests.unit.cli.conftest import Run

Told = Callable[..., Any]
Done = Callable[..., str]


@pytest.fixture
def settings(tmp_path: Path) -> str:
    """The settings of xendomains, as a file."""
    file = tmp_path / "xendomains"
    file.write_text(
        f"XENDOMAINS_AUTO={tmp_path}/auto\nXENDOMAINS_SAVE={tmp_path}/save\nXENDOMAINS_CREATE_USLEEP=0\n"
        "XENDOMAINS_RESTORE=true\n"
    )
    return str(file)


def test_enable_start_list_stop_and_start_again(
    host: FakeHost, run: Run, done: Done, told: Told, config: Path, settings: str, tmp_path: Path
) -> None:
    at = ["--settings", settings]
    link = tmp_path / "auto" / "web2.cfg"
    assert told("autostart", "enable", str(config), *at) == {"name": "web2", "path": str(link), "target": str(config)}
    assert done("autostart", "enable", str(config), *at) == ""  # once more
    assert [line.split() for line in done("autostart", "list", *at).splitlines()[1:]] == [
        ["web2", "enabled", "no", str(link)]
    ]
    assert [each["action"] for each in told("autostart", "start", *at)] == ["created"]
    assert [each["action"] for each in told("autostart", "start", *at)] == ["running"]
    host.advance(60)
    stopped = told("autostart", "stop", "-y", *at)
    assert [(each["name"], each["action"]) for each in stopped] == [("web1", "shut_down"), ("web2", "saved")]
    assert [(each["kind"], each["running"]) for each in told("autostart", "list", *at)] == [
        ("enabled", False),
        ("saved", False),
    ]
    assert done("autostart", "start", *at).splitlines()[1].split()[2] == "restored"
    assert told("autostart", "disable", "web2", *at)["target"] == str(config)
    assert not link.exists()
    assert config.exists()
    assert "web2" in host.domains
    assert run("autostart", "disable", "web2", *at).exit_code == 3


def test_stop_needs_yes_without_a_terminal(host: FakeHost, run: Run, settings: str) -> None:
    result = run("autostart", "stop", "--settings", settings)
    assert result.exit_code == 7
    assert "web1" in result.stderr
    assert len(host.guests) == 1


def test_what_fails_does_not_stop_the_others(run: Run, config: Path, settings: str, tmp_path: Path) -> None:
    folder = tmp_path / "auto"
    folder.mkdir()
    (folder / "a.cfg").write_text("memory = [")
    (folder / "b.cfg").write_text(config.read_text())
    listed = run("autostart", "list", "--settings", settings)
    assert (listed.exit_code, "a.cfg" in listed.stderr) == (0, True)
    result = run("autostart", "start", "--settings", settings, "--json")
    assert [each["action"] for each in json.loads(result.stdout)] == ["failed", "created"]
    assert result.exit_code == 2
    assert "a.cfg:1" in result.stderr


def test_what_cannot_be_enabled(run: Run, config: Path, settings: str, tmp_path: Path) -> None:
    at = ["--settings", settings]
    assert run("autostart", "enable", str(tmp_path / "nothing"), *at).exit_code == 2
    (tmp_path / "auto").mkdir()
    own = tmp_path / "auto" / "web2.cfg"
    own.write_text(config.read_text())
    result = run("autostart", "enable", str(config), *at)
    assert (result.exit_code, "exists already" in result.stderr) == (2, True)
    result = run("autostart", "disable", "web2", *at)
    assert (result.exit_code, "move it away" in result.stderr) == (2, True)
    assert own.exists()
    assert run("autostart", "list", "--settings", "/nonexistent").exit_code == 2


def test_what_would_not_start_is_not_enabled(
    run: Run, config: Path, settings: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    read = xlcfg.load(config)
    (tmp_path / "dom.xml").write_text(libvirtxml.dumps(read, on_loss="ignore"))
    (tmp_path / "dom.json").write_text(libxljson.dumps(read, on_loss="ignore"))
    (tmp_path / ".hid.cfg").write_text(config.read_text())
    for name, said in (
        ("dom.xml", "dom.xml is libvirt-xml, and the start reads xl's configurations only: pyxen convert makes one"),
        ("dom.json", "dom.json is json, and the start reads xl's configurations only: pyxen convert makes one"),
        (".hid.cfg", ".hid.cfg: the start passes over hidden files: rename it"),
        ("-", "standard input is gone at the next start: write the configuration to a file, and enable that"),
    ):
        result = run("autostart", "enable", name, "--settings", settings, input=config.read_text())
        assert (result.exit_code, result.stdout) == (2, "")
        assert said in result.stderr
    assert not (tmp_path / "auto").exists()
