"""``pyxen create --console`` and ``--vnc``, and ``pyxen vncviewer``."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

import pyxen.cli.create
from pyxen import (
    ConnectFailed,
    ConsoleStream,
    CpuSet,
    DomainConfig,
    Host,
    NotEnoughMemory,
    NotFound,
    Vnc,
    VncEndpoint,
    libxljson,
)
from pyxen.cli.app import app
from pyxen.cli.viewer import _place
from pyxen.testing import FakeHost
from tests.unit.cli.conftest import Run

Done = Callable[..., str]


def test_the_settings_of_xl(host: FakeHost, done: Done, config: Path, tmp_path: Path) -> None:
    conf = tmp_path / "xl.conf"
    conf.write_text('vif.default.bridge = "br7"\n')
    with config.open("a") as file:
        file.write('vif = [""]\n')
    done("create", str(config))
    assert host.domains["web2"].config().vifs[0].bridge != "br7"
    done("destroy", "--yes", "web2")
    done("create", str(config), env={"PYXEN_XL_CONF": str(conf)})
    assert host.domains["web2"].config().vifs[0].bridge == "br7"


def test_a_dry_run_has_the_settings_of_xl_as_the_create_has(
    host: FakeHost, done: Done, config: Path, tmp_path: Path
) -> None:
    conf = tmp_path / "xl.conf"
    conf.write_text('vif.default.bridge = "br7"\nmax_grant_frames = 9\nvm.cpumask = "1-2"\n')
    with config.open("a") as file:
        file.write('vif = ["mac=00:16:3e:00:00:01"]\n')
    plain = libxljson.loads(done("create", "-n", str(config)))
    assert (plain.vifs[0].bridge, plain.max_grant_frames, plain.cpus) == (None, None, None)
    dry = libxljson.loads(done("create", "-n", str(config), env={"PYXEN_XL_CONF": str(conf)}))
    assert "web2" not in host.domains
    done("create", str(config), env={"PYXEN_XL_CONF": str(conf)})
    made = host.domains["web2"].config()
    for each in (dry, made):
        assert (each.vifs[0].bridge, each.max_grant_frames, each.cpus) == ("br7", 9, CpuSet("1-2"))


@pytest.mark.parametrize("masks", ["", "vm.pv.cpumask = 1"])
def test_a_dry_run_needs_no_host_unless_xl_confines_the_guest(
    done: Done, config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, masks: str
) -> None:
    def refuse(*_arguments: object, **_options: object) -> Host:
        raise ConnectFailed("no host here")

    monkeypatch.setattr("pyxen.cli.session.connect", refuse)
    conf = tmp_path / "xl.conf"
    conf.write_text(f"max_grant_frames = 9\n{masks}\n")
    assert libxljson.loads(done("create", "-n", str(config), env={"PYXEN_XL_CONF": str(conf)})).max_grant_frames == 9


def test_a_dry_run_says_what_its_json_has_not(run: Run, config: Path) -> None:
    result = run("create", "-n", str(config), 'cpus="all"')
    assert libxljson.loads(result.stdout).cpus is None
    assert f"lost: {config}: cpus = all: its meaning depends on the host" in result.stderr


def test_a_dry_run_refuses_a_guest_to_which_xl_leaves_no_cpu(run: Run, config: Path, tmp_path: Path) -> None:
    conf = tmp_path / "xl.conf"
    conf.write_text('vm.cpumask = "1-2"\n')
    for arguments in (["-n"], []):
        result = run("create", *arguments, str(config), 'cpus="3"', env={"PYXEN_XL_CONF": str(conf)})
        assert (result.exit_code, result.stdout) == (1, "")
        assert "xl.conf leaves none of these CPUs" in result.stderr


@pytest.mark.parametrize("command", [["list"], ["list", "-l"], ["create", "-n", "FILE"]])
def test_settings_of_xl_that_cannot_be_read(run: Run, config: Path, tmp_path: Path, command: list[str]) -> None:
    arguments = [str(config) if word == "FILE" else word for word in command]
    result = run(*arguments, env={"PYXEN_XL_CONF": f"{tmp_path}/nothing"})
    assert (result.exit_code, result.stdout) == (2, "")
    assert f"PYXEN_XL_CONF: {tmp_path}/nothing: No such file or directory" in result.stderr
    (tmp_path / "xl.conf").write_text("max_grant_frames=many many\n")
    result = run(*arguments, env={"PYXEN_XL_CONF": f"{tmp_path}/xl.conf"})
    assert (result.exit_code, result.stdout) == (2, "")
    assert "xl.conf" in result.stderr


@pytest.mark.parametrize("command", [["list", "-l"], ["create", "-n", "FILE"]])
def test_what_xl_would_print_as_sxp(run: Run, done: Done, config: Path, tmp_path: Path, command: list[str]) -> None:
    arguments = [str(config) if word == "FILE" else word for word in command]
    conf = tmp_path / "xl.conf"
    conf.write_text('output_format = "json"\n')
    as_json = done(*arguments, env={"PYXEN_XL_CONF": str(conf)})
    conf.write_text('output_format = "sxp"\n')
    result = run(*arguments, env={"PYXEN_XL_CONF": str(conf)})
    assert (result.exit_code, json.loads(result.stdout)) == (0, json.loads(as_json))
    assert 'warning: xl.conf says output_format="sxp"' in result.stderr
    assert "read JSON, or run xl" in result.stderr


class Terminal:
    """A terminal that reads a console until its domain ends or a text has come."""

    def __init__(self, leaves_at: str = "") -> None:
        self.shown = ""
        self.attached = 0
        self.leaves_at = leaves_at

    def __call__(self, console: ConsoleStream) -> bool:
        self.attached += 1
        while data := console.read():
            self.shown += data.decode()
            if self.leaves_at and self.leaves_at in self.shown:
                return False
        return True


@pytest.fixture
def real() -> Iterator[FakeHost]:
    """A host whose time passes."""
    with FakeHost(time="real") as host, host.standing_in():
        yield host


def attach(monkeypatch: pytest.MonkeyPatch, terminal: Terminal) -> Terminal:
    monkeypatch.setattr(pyxen.cli.create, "attach_terminal", terminal)
    return terminal


def on_thread(*arguments: str) -> tuple[threading.Thread, list[Result]]:
    results: list[Result] = []
    thread = threading.Thread(target=lambda: results.append(CliRunner().invoke(app, arguments)))
    thread.start()
    return thread, results


def until(holds: Callable[[], object], what: str) -> None:
    deadline = time.monotonic() + 120
    while not holds():
        assert time.monotonic() < deadline, what
        time.sleep(0.005)


def test_the_console_is_attached_until_the_domain_ends(
    real: FakeHost, monkeypatch: pytest.MonkeyPatch, config: Path
) -> None:
    terminal = attach(monkeypatch, Terminal())
    thread, results = on_thread("create", "-c", str(config))
    until(lambda: terminal.attached, "the console is not attached")
    real.guest("web2").say(b"hello\r\n")
    until(lambda: "hello" in terminal.shown, "the console shows nothing")
    real.domains["web2"].destroy()
    thread.join(120)
    assert [(result.exit_code, result.output) for result in results] == [(0, "")]
    assert terminal.attached == 1


def test_who_leaves_the_console_leaves_the_domain_running(
    real: FakeHost, monkeypatch: pytest.MonkeyPatch, config: Path
) -> None:
    terminal = attach(monkeypatch, Terminal(leaves_at="login"))
    thread, results = on_thread("create", "--console", str(config))
    until(lambda: terminal.attached, "the console is not attached")
    real.guest("web2").say(b"login: ")
    thread.join(120)
    assert [(result.exit_code, result.output) for result in results] == [(0, "")]
    assert "web2" in real.domains


def test_a_create_that_fails_has_no_console(
    host: FakeHost, run: Run, monkeypatch: pytest.MonkeyPatch, config: Path
) -> None:
    terminal = attach(monkeypatch, Terminal())
    host.fail("create", NotEnoughMemory("no room"))
    result = run("create", "-c", str(config))
    assert (result.exit_code, result.stderr) == (1, "error: create web2: no room\n")
    assert terminal.attached == 0
    assert "web2" not in host.domains


def test_a_console_that_breaks_is_said(real: FakeHost, monkeypatch: pytest.MonkeyPatch, config: Path) -> None:
    def broken(_console: ConsoleStream) -> bool:
        raise NotFound("the console hung up")

    monkeypatch.setattr(pyxen.cli.create, "attach_terminal", broken)
    result = CliRunner().invoke(app, ["create", "-c", str(config)])
    assert (result.exit_code, result.stderr) == (3, "error: the console hung up\n")
    assert "web2" in real.domains


def test_a_name_that_is_taken(host: FakeHost, run: Run, config: Path) -> None:
    host.create(DomainConfig("web2", type="pvh", kernel="/boot/vmlinuz", memory=64))
    result = run("create", str(config))
    assert (result.exit_code, result.stdout) == (1, "")
    assert "create web2: domain 2 already has the name 'web2': choose another name" in result.stderr
    assert [info.name for info in host.list()] == ["Domain-0", "web1", "web2"]


def test_a_guest_without_a_console(host: FakeHost, run: Run) -> None:
    host.create(DomainConfig("web2", type="hvm", memory=64))
    result = run("console", "web2")
    assert (result.exit_code, result.stdout) == (3, "")
    assert result.stderr.startswith("error: console 2: ")
    assert 'serial=["pty"]' in result.stderr


@pytest.mark.parametrize(
    ("arguments", "said"), [(["-c", "-"], "keyboard"), (["-c", "x.cfg", "--json"], "leave out --json")]
)
def test_what_a_console_does_not_go_with(run: Run, arguments: list[str], said: str) -> None:
    result = run("create", *arguments)
    assert result.exit_code == 2
    assert said in " ".join(result.stderr.replace("│", " ").split())


@pytest.fixture
def viewer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], list[str]]:
    """A viewer that writes down what it is given; returns what that was."""
    said = tmp_path / "said"
    program = tmp_path / "viewer"
    program.write_text(
        f"#!{sys.executable}\n"
        "import os, sys\n"
        f"with open({str(said) + '.part'!r}, 'w') as file:\n"
        "    file.write(' '.join(sys.argv[1:]) + '\\n')\n"
        "    file.write(sys.stdin.read() if '-autopass' in sys.argv else '')\n"
        f"os.rename({str(said) + '.part'!r}, {str(said)!r})\n"
        "sys.exit(5)\n"
    )
    program.chmod(0o755)
    monkeypatch.setenv("VNCVIEWER", str(program))

    def written() -> list[str]:
        until(said.exists, "the viewer was not started")
        return said.read_text().splitlines()

    return written


def screen(host: FakeHost, **settings: Any) -> None:
    host.create(DomainConfig("hvm1", type="hvm", memory=64, vnc=Vnc(enable=True, **settings)))


def test_the_viewer_is_given_address_and_password(host: FakeHost, run: Run, viewer: Callable[[], list[str]]) -> None:
    screen(host, passwd="s3cret")  # noqa: S106 (of a test)
    result = run("vncviewer", "hvm1", "--autopass")
    assert (result.exit_code, result.output) == (5, "")  # the viewer's own
    assert viewer() == ["127.0.0.1::5900 -autopass", "s3cret"]


def test_create_opens_the_viewer(run: Run, viewer: Callable[[], list[str]], tmp_path: Path) -> None:
    file = tmp_path / "hvm2.cfg"
    file.write_text('name = "hvm2"\ntype = "hvm"\nmemory = 64\nvnc = 1\n')
    result = run("create", "--vnc", str(file))
    assert (result.exit_code, result.output) == (0, "hvm2 has domid 2\n")
    assert viewer() == ["127.0.0.1::5900"]


def test_without_a_viewer_nothing_is_created(
    host: FakeHost, run: Run, monkeypatch: pytest.MonkeyPatch, config: Path
) -> None:
    monkeypatch.setenv("VNCVIEWER", "no-such-viewer")
    result = run("create", "--vnc", str(config))
    assert result.exit_code == 3
    assert "there is no program no-such-viewer: install a VNC viewer" in result.stderr
    assert "web2" not in host.domains
    screen(host)
    assert run("vncviewer", "hvm1").exit_code == 3


@pytest.mark.parametrize(
    ("uri", "vnc", "place"),
    [
        ("xenlight:///", VncEndpoint("127.0.0.1", 5901), "127.0.0.1::5901"),
        ("xenlight:///", VncEndpoint("0.0.0.0", 5901), "127.0.0.1::5901"),  # noqa: S104 (a server of a test)
        ("xenlight:///", VncEndpoint("/run/vnc.sock", None), "/run/vnc.sock"),
        ("xen+ssh://root@host2/system", VncEndpoint("::", 5900), "host2::5900"),
        ("xen+ssh://root@host2/system", VncEndpoint("192.0.2.7", 5900), "192.0.2.7::5900"),
        ("xen+ssh://root@host2/system", VncEndpoint("127.0.0.1", 5902), "ssh -L 5902:127.0.0.1:5902 host2"),
        ("xen+ssh://root@host2/system", VncEndpoint("/run/vnc.sock", None), "ssh -L 5900:/run/vnc.sock host2"),
    ],
)
def test_where_the_viewer_connects_to(uri: str, vnc: VncEndpoint, place: str) -> None:
    if place.startswith("ssh"):
        with pytest.raises(NotFound, match=place):
            _place(uri, vnc)
    else:
        assert _place(uri, vnc) == place


@pytest.mark.usefixtures("viewer")
@pytest.mark.parametrize("command", [["create", "-V"], ["create", "-A"], ["create", "-c", "-V"]])
def test_a_guest_without_a_screen_is_not_created_for_a_viewer(
    host: FakeHost, run: Run, config: Path, command: list[str]
) -> None:
    for text in (config.read_text(), 'name = "web2"\ntype = "hvm"\nmemory = 64\nvnc = 0\n'):
        config.write_text(text)
        result = run(*command, str(config))
        assert (result.exit_code, result.stdout) == (2, "")
        assert "web2 has no screen for a VNC viewer: its configuration needs vnc=1 or a vfb" in result.stderr
        assert "web2" not in host.domains


@pytest.mark.usefixtures("viewer")
def test_a_screen_that_does_not_come_is_a_warning(
    host: FakeHost, run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("pyxen.cli.viewer._PATIENCE", 0.0)
    host.domains["web1"].save(tmp_path / "web1.save")
    result = run("restore", "-V", str(tmp_path / "web1.save"))
    assert (result.exit_code, result.stdout) == (0, "web1 has domid 2\n")
    assert result.stderr.startswith("warning: no viewer was opened: ")
    assert "has no VNC server" in result.stderr
    assert "web1" in host.domains


def test_the_password_alone_opens_the_viewer(run: Run, viewer: Callable[[], list[str]], tmp_path: Path) -> None:
    file = tmp_path / "hvm2.cfg"
    file.write_text('name = "hvm2"\ntype = "hvm"\nmemory = 64\nvnc = 1\nvncpasswd = "s3cret"\n')
    assert run("create", "-A", str(file)).exit_code == 0
    assert viewer() == ["127.0.0.1::5900 -autopass", "s3cret"]


def test_a_viewer_that_cannot_be_run(host: FakeHost, run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    program = tmp_path / "viewer"
    program.write_text("echo hello\n")  # nothing says which program runs it
    program.chmod(0o755)
    monkeypatch.setenv("VNCVIEWER", str(program))
    screen(host)
    result = run("vncviewer", "hvm1")
    assert (result.exit_code, isinstance(result.exception, SystemExit)) == (1, True)
    assert f"{program} cannot be run: Exec format error: name another viewer in $VNCVIEWER" in result.stderr


def test_a_viewer_that_reads_no_password(
    host: FakeHost, run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    program = tmp_path / "viewer"
    program.write_text("#!/bin/sh\nexec <&-\nexit 9\n")
    program.chmod(0o755)
    monkeypatch.setenv("VNCVIEWER", str(program))
    screen(host, passwd="p" * 8)
    started = subprocess.Popen

    class Ended(started):  # type: ignore[misc,valid-type]  # a class that is known only here
        """A program that has ended before anything is written to it."""

        def __init__(self, *arguments: Any, **options: Any) -> None:
            super().__init__(*arguments, **options)
            self.wait()

    monkeypatch.setattr("pyxen.cli.viewer.subprocess.Popen", Ended)
    result = run("vncviewer", "-A", "hvm1")
    assert (result.exit_code, result.output) == (9, "")


@pytest.mark.parametrize("command", [["create"], ["create", "-q"], ["create", "-n"]])
def test_a_create_without_a_file(host: FakeHost, run: Run, command: list[str]) -> None:
    result = run(*command, 'name="web2"', 'type="pvh"', 'kernel="/boot/vmlinuz"', "memory=64")
    assert (result.exit_code, result.stderr) == (0, "")
    assert ("web2" in host.domains) == ("-n" not in command)


def test_settings_may_precede_the_file(host: FakeHost, done: Done, config: Path) -> None:
    done("create", "memory=96", str(config), 'name="web3"')
    assert host.domains["web3"].config().memory == 96


def test_a_file_whose_name_looks_like_a_setting(
    host: FakeHost, run: Run, config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody else may have put one into the folder."""
    monkeypatch.chdir(tmp_path)
    other = tmp_path / "memory=96"
    other.write_text(config.read_text().replace("web2", "web4"))
    assert run("create", "memory=96", str(config)).exit_code == 0
    assert "web4" not in host.domains
    assert run("create", "./memory=96").exit_code == 0
    assert "web4" in host.domains
    missing = run("create", "/srv/a=b/none.cfg")
    assert (missing.exit_code, "No such file" in missing.stderr) == (2, True)


def test_a_create_of_nothing(run: Run, config: Path) -> None:
    assert run("create").exit_code == 2
    result = run("create", str(config), str(config))
    assert (result.exit_code, "is not a setting" in result.stderr) == (2, True)
