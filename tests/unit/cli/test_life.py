"""The commands for the life of domains, and those that move their memory."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from pyxen import DomainConfig, DomainState, InvalidState, OperationTimeout
from pyxen.cli.app import app
from pyxen.testing import FakeHost
from tests.unit.cli.conftest import WEB, Run
from tests.waiting import until

Told = Callable[..., Any]


def test_create_prints_the_domid(host: FakeHost, done: Callable[..., str], config: Path) -> None:
    assert done("create", str(config)) == "web2 has domid 2\n"
    assert host.domains["web2"].config().memory == 64


def test_settings_of_the_command_line_come_last(host: FakeHost, told: Told, config: Path) -> None:
    made = told("create", str(config), "memory=96", 'name="web3"', "-p")
    assert made == {"domid": 2, "name": "web3", "uuid": str(host.domains["web3"].uuid)}
    assert host.domains["web3"].config().memory == 96
    assert host.domains["web3"].info().state is DomainState.PAUSED


def test_a_dry_run_creates_nothing(host: FakeHost, done: Callable[..., str], config: Path) -> None:
    shown = json.loads(done("create", "-n", str(config), "memory=96"))
    assert shown["c_info"]["name"] == "web2"
    assert shown["b_info"]["target_memkb"] == 96 * 1024
    assert len(host.guests) == 1


def test_create_from_standard_input(host: FakeHost, done: Callable[..., str], config: Path) -> None:
    assert done("create", "-q", "-", input=config.read_text()) == ""
    assert "web2" in host.domains


@pytest.mark.parametrize(
    ("text", "arguments", "status", "said"),
    [
        ("memory = \n", [], 2, "web2.cfg:1:"),
        ('name = "x"\n', ["memory=["], 2, "overrides:"),
        ('name = "x"\n', ["kernel=/k"], 2, "overrides:1:8: "),
        ('name = "x"\n', ["name=foo"], 2, "besides those of a shell: 'name=\"…\"'"),
        ('name = "x"\n', ["memory"], 2, "overrides:1: 'memory' is not a setting"),
        ('name = "web1"\ntype = "pvh"\nkernel = "/k"\nmemory = 64\n', [], 1, "web1"),
        ("<domain/>", ["memory=5"], 2, "only xl's configurations"),
    ],
)
def test_what_cannot_be_created(
    run: Run, config: Path, text: str, arguments: list[str], status: int, said: str
) -> None:
    config.write_text(text)
    result = run("create", str(config), *arguments)
    assert result.exit_code == status
    assert said in result.stderr
    assert result.stdout == ""


def test_a_file_that_is_not_there(run: Run) -> None:
    result = run("create", "/nonexistent")
    assert (result.exit_code, result.stderr) == (2, "error: /nonexistent: No such file or directory\n")


def test_what_xl_passes_over_is_said(run: Run, config: Path) -> None:
    config.write_text(config.read_text() + "acpo = 1\n")
    result = run("create", str(config))
    assert result.exit_code == 0
    assert "warning" in result.stderr
    assert "acpo" in result.stderr


@pytest.mark.parametrize("key", ["web1", "1", "uuid"])
def test_a_domain_by_name_domid_and_uuid(host: FakeHost, told: Told, key: str) -> None:
    web = host.domains["web1"]
    names = {"domid": 1, "name": "web1", "uuid": str(web.uuid)}
    assert told("pause", str(web.uuid) if key == "uuid" else key) == names
    assert web.info().state is DomainState.PAUSED


def test_verbs_without_json_print_nothing(host: FakeHost, done: Callable[..., str]) -> None:
    web = host.domains["web1"]
    assert done("pause", "web1") == ""
    assert done("unpause", "web1") == ""
    assert web.info().is_running
    assert done("suspend", "web1") == ""
    assert done("resume", "web1") == ""
    assert done("rename", "web1", "web9") == ""
    assert web.info().name == "web9"
    assert done("destroy", "-y", "web9") == ""
    assert len(host.guests) == 0


def test_shutdown_with_and_without_waiting(host: FakeHost, told: Told, done: Callable[..., str], config: Path) -> None:
    assert [each["name"] for each in told("shutdown", "-w", "web1")] == ["web1"]
    assert len(host.guests) == 0
    done("create", str(config))
    host.advance(60)
    done("shutdown", "web2")
    done("create", str(config), 'name="web3"')
    host.advance(60)
    done("reboot", "--all", "--yes")
    assert [domain.name for domain in host.guests] == ["web2", "web3"]  # nobody has destroyed what has ended


def test_one_that_fails_does_not_stop_the_others(host: FakeHost, run: Run, config: Path) -> None:
    run("create", str(config))
    host.advance(60)
    host.domains["web1"].pause()
    result = run("shutdown", "-w", "web1", "web2", "--json")
    assert [each["name"] for each in json.loads(result.stdout)] == ["web2"]
    assert result.exit_code == 1
    assert "web1" in result.stderr
    assert [domain.name for domain in host.guests] == ["web1"]


@pytest.mark.parametrize("arguments", [[], ["--all", "web1"]])
def test_shutdown_wants_domains_or_all(run: Run, arguments: list[str]) -> None:
    result = run("shutdown", *arguments)
    assert result.exit_code == 2
    assert "--all" in result.stderr


def test_a_deadline(host: FakeHost, run: Run) -> None:
    host.guest("web1").answers = False
    assert run("shutdown", "-w", "web1", "--timeout", "5").exit_code == 6
    host.fail("suspend", OperationTimeout("too late"))
    assert run("suspend", "web1").exit_code == 6


@pytest.mark.parametrize("verb", ["destroy", "pause", "suspend", "shutdown", "reboot"])
def test_dom0_is_refused(host: FakeHost, run: Run, verb: str) -> None:
    result = run(verb, "0")
    assert result.exit_code == 1
    assert "dom0" in result.stderr
    assert 0 in host.domains


def test_a_domain_that_is_not_there(run: Run) -> None:
    result = run("destroy", "wbe1")
    assert result.exit_code == 3
    assert result.stderr == "error: no domain has the name or uuid wbe1; did you mean 'web1'?\n"
    assert run("pause", "77").exit_code == 3


def test_buttons(done: Callable[..., str], run: Run) -> None:
    assert done("trigger", "web1", "nmi") == ""
    assert done("sysrq", "web1", "s") == ""
    assert run("trigger", "web1", "nim").exit_code == 2


def test_save_and_restore(host: FakeHost, done: Callable[..., str], told: Told, tmp_path: Path) -> None:
    file = tmp_path / "web1.save"
    uuid = host.domains["web1"].uuid
    assert told("save", "web1", str(file))["name"] == "web1"
    assert len(host.guests) == 0
    assert done("restore", str(file)) == "web1 has domid 2\n"
    assert host.domains["web1"].uuid == uuid
    done("save", "-c", "web1", str(file))
    assert len(host.guests) == 1


def test_restore_with_another_configuration(
    host: FakeHost, done: Callable[..., str], config: Path, tmp_path: Path
) -> None:
    file = tmp_path / "web1.save"
    done("save", "web1", str(file))
    assert done("restore", "-p", str(config), str(file)) == "web2 has domid 2\n"
    assert host.domains["web2"].info().state is DomainState.PAUSED


def test_save_with_another_configuration(
    host: FakeHost, done: Callable[..., str], config: Path, tmp_path: Path
) -> None:
    file = tmp_path / "web1.save"
    done("save", "web1", str(file), str(config))
    done("restore", str(file))
    assert [guest.name for guest in host.guests] == ["web2"]


def test_a_saved_domain_that_is_none(run: Run, config: Path) -> None:
    assert run("restore", str(config)).exit_code == 2
    assert run("restore", "/nonexistent").exit_code == 3
    assert run("restore", "a", "b", "c").exit_code == 2


def test_the_monitor_of_qemu(host: FakeHost, done: Callable[..., str], run: Run) -> None:
    host.guest(host.create(DomainConfig("hvm1", type="hvm", memory=64))).qmp = {"human-monitor-command": "ide0: none"}
    assert done("qemu-monitor-command", "hvm1", "info", "block") == "ide0: none\n"
    result = run("qemu-monitor-command", "web1", "info", "block")
    assert (result.exit_code, result.stdout) == (5, "")
    assert "has no QEMU" in result.stderr


def test_a_core_dump(done: Callable[..., str], tmp_path: Path) -> None:
    done("dump-core", "web1", str(tmp_path / "core"))
    assert (tmp_path / "core").exists()


def test_a_failure_of_the_library_is_said(host: FakeHost, run: Run) -> None:
    host.fail("destroy", InvalidState("it is \x1b[2Jbusy"))
    result = run("destroy", "-y", "web1")
    assert result.exit_code == 1
    assert result.stderr == "error: destroy 1: it is \\x1b[2Jbusy\n"


@pytest.fixture
def pooled() -> Iterator[FakeHost]:
    """A host with web1, and with two guests that a pool keeps ready."""
    config = DomainConfig("sand", type="pvh", kernel="/boot/vmlinuz", memory=64)
    with FakeHost(time="real") as host, host.standing_in():
        host.create(WEB)
        until(lambda: host.guest("web1").booted, "web1 has not booted")
        with host.pool(config, size=2) as pool:
            pool.wait(2, timeout=60)
            yield host


@pytest.mark.parametrize("command", [["shutdown", "--all"], ["reboot", "--all"], ["autostart", "stop"]])
@pytest.mark.usefixtures("pooled")
def test_the_guests_of_a_pool_are_left_to_it(command: list[str], tmp_path: Path) -> None:
    settings = tmp_path / "xendomains"
    settings.write_text("XENDOMAINS_SAVE=\nXENDOMAINS_MIGRATE=\nXENDOMAINS_SYSRQ=\nXENDOMAINS_SHUTDOWN=--wait\n")
    more = ["--settings", str(settings)] if command[0] == "autostart" else []
    asked = CliRunner().invoke(app, [*command, *more])
    assert asked.exit_code == 7
    assert "1 guests: web1 (domid 1)?" in asked.stderr
    result = CliRunner().invoke(app, [*command, *more, "-y", "--json"])
    assert (result.exit_code, result.stderr) == (0, "")
    assert [each["name"] for each in json.loads(result.stdout)] == ["web1"]


@pytest.mark.parametrize(("arguments", "status"), [(["--all", "-y"], 0), (["web1"], 3)])
def test_a_guest_that_ends_meanwhile(
    host: FakeHost, run: Run, monkeypatch: pytest.MonkeyPatch, arguments: list[str], status: int
) -> None:
    begin = type(host.domains["web1"].begin)
    real = begin.shutdown

    def shutdown(self: Any, **options: Any) -> Any:
        host.domains["web1"].destroy()
        return real(self, **options)

    monkeypatch.setattr(begin, "shutdown", shutdown)
    result = run("shutdown", "--wait", *arguments)
    assert result.exit_code == status
    assert (result.stderr == "") == (status == 0)
