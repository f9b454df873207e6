"""What commands say after Ctrl-C: that something was undone only where it was."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

import pyxen.cli.create
import pyxen.cli.viewer
import pyxen.operation
from pyxen import (
    ConsoleStream,
    DomainNotFound,
    DomainState,
    Error,
    Host,
    InvalidState,
    OperationCancelled,
    OperationFailed,
)
from pyxen.cli.app import app
from pyxen.operation import Operation
from pyxen.testing import FakeHost
from tests.unit.cli.conftest import WEB
from tests.waiting import SECONDS, join, until

UNDONE = "interrupted: what had begun was cancelled and undone\n"
STAYS = "interrupted: what was done until then stays\n"

VNC = 'name = "web2"\ntype = "hvm"\nmemory = 64\nvnc = 1\n'


@pytest.fixture
def host() -> Iterator[FakeHost]:
    """A host whose time passes, with a guest that does not answer."""
    with FakeHost(time="real") as made, made.standing_in():
        made.create(WEB)
        guest = made.guest("web1")
        until(lambda: guest.booted, "the guest has not booted")
        guest.answers = False
        yield made


def interrupted(*arguments: str, when: Callable[[], object], number: signal.Signals = signal.SIGINT) -> Result:
    """Run the command, and send a signal to it as soon as something is so.

    Python does not see a signal that comes just as a wait begins: it is sent again, as who presses Ctrl-C does. That is
    late, as a second one ends the patience with what is undone, which takes seconds on a busy machine.
    """
    over = threading.Event()

    def interrupt() -> None:
        until(lambda: over.is_set() or when(), "there is nothing to interrupt")
        for _ in range(int(SECONDS / 20)):
            if over.is_set():
                break
            os.kill(os.getpid(), number)
            over.wait(20.0)

    thread = threading.Thread(target=interrupt)
    thread.start()
    try:
        return CliRunner().invoke(app, arguments)
    finally:
        over.set()
        join(thread)


def is_asked(host: FakeHost, request: str = "poweroff") -> Callable[[], bool]:
    node = f"/local/domain/{host.domains['web1'].domid}/control/shutdown"
    return lambda: host.xenstore.exists(node) and host.xenstore.read(node) == request


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_guests_that_were_asked_stay_asked(host: FakeHost, number: signal.Signals) -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)  # the tests may run under nohup, which the command respects
    result = interrupted("shutdown", "--wait", "web1", when=is_asked(host), number=number)
    signal.signal(signal.SIGHUP, before)
    assert result.exit_code == 130
    assert result.stderr == "error: interrupted: web1 (domid 1) was asked, and may still shut down\n"
    assert is_asked(host)()


def other(host: FakeHost) -> FakeHost:
    """Create web2 beside web1, which answers, and wait until it has booted."""
    host.create(WEB.replace(name="web2", disks=[], vifs=[]))
    until(lambda: host.guest("web2").booted, "web2 has not booted")
    return host


def test_who_was_refused_was_not_asked(host: FakeHost) -> None:
    result = interrupted("shutdown", "--wait", "0", "web1", when=is_asked(host))
    refused, said = result.stderr.splitlines()
    assert "dom0" in refused
    assert said == "error: interrupted: web1 (domid 1) was asked, and may still shut down"


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ([], "web2 (domid 2), web1 (domid 1) were asked, and may still shut down"),
        (["--wait"], "web1 (domid 1) was asked, and may still shut down"),
    ],
)
def test_who_has_done_it_is_told_from_who_was_only_asked(host: FakeHost, options: list[str], said: str) -> None:
    other(host)

    def both() -> bool:
        ended = all(info.name != "web2" or info.state is DomainState.SHUTDOWN for info in host.list())
        return ended and is_asked(host)()

    result = interrupted("shutdown", *options, "web2", "web1", when=both)
    assert (result.exit_code, result.stderr) == (130, f"error: interrupted: {said}\n")


def test_what_became_of_those_that_were_not_waited_for_yet(host: FakeHost, monkeypatch: pytest.MonkeyPatch) -> None:
    other(host)
    ends: dict[str, Error | None] = {"web1": None, "web2": InvalidState("it is busy")}

    def begin(self: Any, **_options: Any) -> Any:
        operation = Interrupted("shutdown")
        operation.carried_by(lambda one: one.set_exception(OperationCancelled("cancelled")), threading.Thread())
        error = ends[host.domains[self._ref.domid].name or ""]
        if error is not None:
            operation.set_exception(error)
        return operation

    monkeypatch.setattr(type(host.domains["web1"].begin), "shutdown", begin)
    result = CliRunner().invoke(app, ["shutdown", "web1", "web2"])
    assert result.stderr.splitlines() == [
        "error: it is busy",
        "error: interrupted: web1 (domid 1) was asked, and may still shut down",
    ]


def test_a_second_ctrl_c_does_not_hide_who_was_asked(host: FakeHost, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(type(host.domains["web1"].begin), "shutdown", lambda *_args, **_options: hanging("shutdown"))
    result = CliRunner().invoke(app, ["shutdown", "web1"])
    assert result.exit_code == 130
    assert result.stderr == "error: interrupted: web1 (domid 1) was asked, and may still shut down\n"


def hanging(verb: str) -> Operation[Any]:
    """Return an operation that does not end when it is cancelled, and for which Ctrl-C ends each wait."""

    def wait(_timeout: float | None = None) -> Any:
        raise KeyboardInterrupt

    operation = Operation[Any](verb)
    operation.carried_by(lambda _: None, threading.Thread())
    operation.__dict__.update(result=wait, exception=wait)
    return operation


FAILS = OperationFailed("the guest could not be resumed: it stays suspended")


@pytest.mark.parametrize(
    ("end", "said"),
    [
        (None, "suspend was cancelled, and it is not known whether it is undone"),
        (FAILS, "the guest could not be resumed: it stays suspended"),
        (OperationCancelled("cancelled"), "what had begun was cancelled and undone"),
        ("done", "it was done just before, and stays"),
        ("not begun", "it had not begun"),
    ],
)
def test_ctrl_c_while_it_begins(host: FakeHost, monkeypatch: pytest.MonkeyPatch, end: Any, said: str) -> None:
    def begin(*_arguments: Any, **_options: Any) -> Any:
        if end is None:
            hanging("suspend")
        elif end != "not begun":
            operation = Operation[Any]("suspend")
            operation.carried_by(lambda one: one.set_exception(end), threading.Thread())
            if end == "done":
                operation.set_result(None)
        raise KeyboardInterrupt

    monkeypatch.setattr(type(host.domains["web1"].begin), "suspend", begin)
    result = CliRunner().invoke(app, ["suspend", "web1"])
    assert (result.exit_code, result.stderr) == (130, f"error: interrupted: {said}\n")


def test_a_suspend_is_undone(host: FakeHost) -> None:
    result = interrupted("suspend", "web1", when=is_asked(host, "suspend"))
    assert (result.exit_code, result.stderr) == (130, f"error: {UNDONE}")


@pytest.mark.usefixtures("host")
@pytest.mark.parametrize(
    ("command", "said"),
    [
        (["start"], "domains that were started before run on"),
        (["stop", "-y"], "no other guest is stopped: pyxen list shows what became of those that were"),
    ],
)
def test_domains_of_the_host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: list[str], said: str) -> None:
    def interrupt(*_arguments: Any, **_options: Any) -> Any:
        raise KeyboardInterrupt

    settings = tmp_path / "xendomains"
    settings.write_text("XENDOMAINS_SAVE=\n")
    monkeypatch.setattr(f"pyxen.autostart.{command[0]}_all", interrupt)
    result = CliRunner().invoke(app, ["autostart", *command, "--settings", str(settings)])
    assert (result.exit_code, result.stderr) == (130, f"error: interrupted: {said}\n")


@pytest.mark.parametrize("command", [["create", "-V"], ["create", "-c"], ["restore", "-V"]])
def test_a_domain_that_was_made_runs_on(
    host: FakeHost, monkeypatch: pytest.MonkeyPatch, config: Path, tmp_path: Path, command: list[str]
) -> None:
    waits = threading.Event()

    def wait(*_arguments: Any, **_options: Any) -> Any:
        waits.set()
        until(lambda: False, "Ctrl-C")

    def on_console(console: ConsoleStream) -> bool:
        waits.set()
        while console.read():
            pass
        return True

    monkeypatch.setenv("VNCVIEWER", "true")
    monkeypatch.setattr(pyxen.cli.viewer, "server_of", wait)
    monkeypatch.setattr(pyxen.cli.create, "attach_terminal", on_console)
    if "-V" in command:
        config.write_text(VNC)
    if command[0] == "restore":
        host.guest("web1").answers = True
        host.domains["web1"].save(tmp_path / "web1.save")
        command = [*command, str(tmp_path / "web1.save")]
    else:
        command = [*command, str(config)]
    result = interrupted(*command, when=waits.is_set, number=signal.SIGTERM)
    name = "web1" if command[0] == "restore" else "web2"
    domid = host.domains[name].domid
    assert result.exit_code == 130
    assert result.stderr == f"error: interrupted: {name} (domid {domid}) was made before, and stays\n"


def test_a_create_is_undone(host: FakeHost, monkeypatch: pytest.MonkeyPatch, config: Path) -> None:
    """Also if it has just succeeded."""
    real = Operation.wait

    def wait(self: Operation[Any]) -> Any:
        result = real(self)
        if self.verb == "create":
            raise KeyboardInterrupt
        return result

    with monkeypatch.context() as patch:
        patch.setattr(Operation, "wait", wait)
        result = CliRunner().invoke(app, ["create", str(config)])
    assert (result.exit_code, result.stderr) == (130, f"error: {UNDONE}")
    assert "web2" not in host.domains


@pytest.mark.usefixtures("host")
def test_a_create_whose_undoing_is_interrupted_may_stay(monkeypatch: pytest.MonkeyPatch, config: Path) -> None:
    real = Operation.wait

    def wait(self: Operation[Any]) -> Any:
        real(self)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Operation, "wait", wait)  # also that for the end of the domain
        result = CliRunner().invoke(app, ["create", str(config)])
    assert result.exit_code == 130
    assert result.stderr.endswith("it was done just before, and may stay: its undoing was interrupted, too\n")


@pytest.mark.usefixtures("host")
def test_a_create_whose_domain_ended_by_itself_does_not_stay(monkeypatch: pytest.MonkeyPatch, config: Path) -> None:
    real = Operation.wait

    def wait(self: Operation[Any]) -> Any:
        real(self)
        raise KeyboardInterrupt

    def gone(*_arguments: Any) -> None:
        raise DomainNotFound("it has ended")

    with monkeypatch.context() as patch:
        patch.setattr(Operation, "wait", wait)
        patch.setattr(pyxen.cli.create, "destroyed", gone)
        result = CliRunner().invoke(app, ["create", str(config)])
    assert (result.exit_code, result.stderr) == (130, f"error: {UNDONE}")


def test_what_has_succeeded_when_its_bar_is_taken_away_stays(
    host: FakeHost, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def finish(*arguments: Any, **options: Any) -> Any:
        pyxen.operation.finish(*arguments, **options)
        raise KeyboardInterrupt

    monkeypatch.setattr("pyxen.cli.progress.finish", finish)
    result = CliRunner().invoke(app, ["dump-core", "web1", str(tmp_path / "core")])
    assert (result.exit_code, result.stderr) == (130, "error: interrupted: it was done just before, and stays\n")
    assert (tmp_path / "core").exists()
    assert "web1" in host.domains


def test_what_was_done_before_the_host_is_closed_stays(host: FakeHost, monkeypatch: pytest.MonkeyPatch) -> None:
    real = Host.close

    def close(self: Host) -> None:
        real(self)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Host, "close", close)
        result = CliRunner().invoke(app, ["destroy", "-y", "web1"])
    assert (result.exit_code, result.stderr) == (130, f"error: {STAYS}")
    assert "web1" not in host.domains


def test_of_several_nodes_those_that_were_removed_stay_removed(host: FakeHost, monkeypatch: pytest.MonkeyPatch) -> None:
    store = type(host.xenstore)
    real = store.remove

    def remove(self: Any, path: str) -> None:
        if path == "/tool/b":
            raise KeyboardInterrupt
        real(self, path)

    host.xenstore.write("/tool/a", "1")
    host.xenstore.write("/tool/b", "1")
    with monkeypatch.context() as patch:
        patch.setattr(store, "remove", remove)
        result = CliRunner().invoke(app, ["xenstore", "rm", "-y", "/tool/a", "/tool/b"])
    assert (result.exit_code, result.stderr) == (130, f"error: {STAYS}")


class Interrupted(Operation[Any]):
    """An operation during which Ctrl-C comes."""

    def result(self, timeout: float | None = None) -> Any:
        if not self.done():
            raise KeyboardInterrupt
        return super().result(timeout)

    def wait(self) -> Any:
        return self.result()  # `finish` cancels it


@pytest.mark.parametrize(
    ("arguments", "verb", "said"),
    [
        (["remus", "web1", "host2"], "remus", UNDONE),
        (["detach"], "detach", "interrupted: the guest was asked to release it, and may still do so\n"),
        (["qemu-monitor-command", "web1", "info block"], "monitor_command", "QEMU may have done it all the same\n"),
        (["config", "apply"], "apply", "interrupted: steps that were done before stay: pyxen config diff shows what"),
    ],
)
def test_what_is_said_of_others(
    host: FakeHost, monkeypatch: pytest.MonkeyPatch, config: Path, arguments: list[str], verb: str, said: str
) -> None:
    def begin(*_arguments: Any, **_options: Any) -> Any:
        operation = Interrupted(verb)
        operation.carried_by(lambda one: one.set_exception(OperationCancelled("cancelled")), threading.Thread())
        return operation

    if verb == "detach":
        arguments = ["block-detach", "web1", "xvda"]
    if verb == "apply":
        arguments = [*arguments, str(config)]
    owner = type((host if verb == "apply" else host.domains["web1"]).begin)
    monkeypatch.setattr(owner, verb, begin)
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 130
    assert said in result.stderr


def test_helps_of_timeouts_promise_no_more_than_is_done() -> None:
    promise = "and undo it"
    for command, undoes in [
        (["create"], True),
        (["suspend"], True),
        (["block-attach"], True),
        (["shutdown"], False),
        (["reboot"], False),
        (["block-detach"], False),
        (["cd-insert"], False),
        (["cd-eject"], False),
        (["usbdev-detach"], False),
        (["pci-detach"], False),
        (["vkb-detach"], False),
        (["network-detach"], False),
        (["qemu-monitor-command"], False),
        (["config", "apply"], False),
        (["autostart", "start"], False),
    ]:
        shown = " ".join(CliRunner().invoke(app, [*command, "--help"], env={"COLUMNS": "200"}).stdout.split())
        assert (promise in shown) == undoes, command
