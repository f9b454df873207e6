"""The QEMU of a guest in memory: the test says what it answers, and what it reports."""

from __future__ import annotations

import asyncio
import json
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

import pyxen
from pyxen import (
    Disk,
    HostClosed,
    InvalidArgument,
    InvalidState,
    OperationFailed,
    OperationTimeout,
    QmpError,
    UnsupportedFeature,
)
from pyxen.config import Stubdomain
from pyxen.testing import FakeHost
from tests.backends.support import wait_until
from tests.unit.memory.configs import config


@pytest.fixture
def web(fake: FakeHost) -> pyxen.Domain:
    """An HVM guest."""
    return fake.create(config(type="hvm"))


def test_answers_by_command(fake: FakeHost, web: pyxen.Domain) -> None:
    fake.guest(web).qmp = {
        "query-block": [{"device": "ide0"}],
        "query-version": {"qemu": (9, 2)},
        "human-monitor-command": "ide0: /dev/null\r\n",
        "eject": QmpError("the tray is locked"),
    }
    assert web.qmp.execute("query-block") == [{"device": "ide0"}]
    assert web.qmp.execute("query-version") == {"qemu": [9, 2]}  # as JSON has it
    assert web.monitor_command("info block") == "ide0: /dev/null\n"
    with pytest.raises(QmpError, match="the tray is locked"):
        web.qmp.execute("eject", id="ide0")
    with pytest.raises(QmpError, match=r"QEMU refuses nonsense: .* FakeGuest\.qmp says what it answers") as caught:
        web.qmp.execute("nonsense")
    assert caught.value.error_class == "CommandNotFound"
    assert caught.value.description == "The command nonsense has not been found"


def test_a_function_that_answers(fake: FakeHost, web: pyxen.Domain) -> None:
    asked: list[tuple[str, dict[str, Any]]] = []

    def answer(command: str, arguments: dict[str, Any]) -> Any:
        asked.append((command, arguments))
        return {} if command == "eject" else NotImplemented

    fake.guest(web).qmp = answer
    assert web.qmp.execute("eject", {"node-name": ("a", "b")}, force=True) == {}
    assert web.qmp.execute("query-status") == {"running": True, "status": "running"}
    with pytest.raises(QmpError, match="has not been found"):
        web.monitor_command("info block")
    assert asked == [
        ("eject", {"node-name": ["a", "b"], "force": True}),
        ("query-status", {}),
        ("human-monitor-command", {"command-line": "info block"}),
    ]


def test_without_answers(fake: FakeHost, web: pyxen.Domain) -> None:
    assert fake.guest(web).qmp is None
    assert web.qmp.execute("query-status") == {"running": True, "status": "running"}
    web.pause()
    assert web.qmp.execute("query-status") == {"running": False, "status": "paused"}
    assert fake.calls[-1] == pyxen.testing.Call("qmp", "web1")


@pytest.mark.parametrize("answers", [{"query-block": {1, 2}}, {"query-block": float("nan")}])
def test_an_answer_that_is_not_json(fake: FakeHost, web: pyxen.Domain, answers: dict[str, Any]) -> None:
    fake.guest(web).qmp = answers
    with pytest.raises(InvalidArgument, match=r"FakeGuest\.qmp answers query-block with what is not valid JSON"):
        web.qmp.execute("query-block")


def test_what_is_not_valid(fake: FakeHost, web: pyxen.Domain) -> None:
    guest = fake.guest(web)
    with pytest.raises(InvalidArgument, match="takes a Callable, not int: give answers by command"):
        guest.qmp = 5  # type: ignore[assignment]
    guest.qmp = {"human-monitor-command": 5}
    with pytest.raises(InvalidArgument, match="give text"):
        web.monitor_command("info")
    with pytest.raises(InvalidArgument, match="the command is empty"):
        web.monitor_command(" ")
    with pytest.raises(InvalidArgument, match="the arguments of eject are not valid JSON"):
        web.qmp.execute("eject", id=b"bytes")
    with pytest.raises(InvalidArgument, match="the data of RESET are not valid JSON"), web.qmp.events():
        guest.qmp_event("RESET", {"guest": {1}})


def test_who_has_no_qemu(fake: FakeHost) -> None:
    pvh = fake.create(config())
    for call in (lambda: pvh.qmp.execute("query-status"), lambda: pvh.monitor_command("info"), pvh.qmp.events):
        with pytest.raises(UnsupportedFeature, match=f"domain {pvh.domid} has no QEMU"):
            call()
    served = config("web2", disks=[Disk("/srv/a.qcow2", vdev="xvda", format="qcow2", backendtype="qdisk")])
    assert fake.create(served).qmp.execute("query-status")["running"]
    inside = fake.create(config("web3", type="hvm", stubdomain=Stubdomain(enable=True)))
    with pytest.raises(UnsupportedFeature, match="does it run in a stub domain"):
        inside.qmp.execute("query-status")


def test_a_failure(fake: FakeHost, web: pyxen.Domain) -> None:
    fake.fail("qmp", OperationFailed("QEMU hangs"))
    with pytest.raises(OperationFailed, match="QEMU hangs"):
        web.qmp.execute("query-status")
    assert web.qmp.execute("query-status")
    with pytest.raises(InvalidArgument, match="is not a verb that can fail"):
        fake.fail("qmp_events", OperationFailed("no"))


def test_events(fake: FakeHost, web: pyxen.Domain) -> None:
    guest = fake.guest(web)
    guest.qmp_event("RESET")  # nobody hears of it
    with web.qmp.events("DEVICE_TRAY_MOVED") as events:
        guest.qmp_event("RESET")
        guest.qmp_event("DEVICE_TRAY_MOVED", {"tray-open": True})
        assert web.qmp.execute("query-status")["running"]
        event = events.get(timeout=0)
        assert event is not None
        assert (event.name, event.data) == ("DEVICE_TRAY_MOVED", {"tray-open": True})
        assert json.loads(json.dumps(event.to_dict()))["name"] == "DEVICE_TRAY_MOVED"
        assert events.get(timeout=0) is None
        with pytest.raises(InvalidState, match="its events are being read already"):
            web.qmp.events()
    with web.qmp.events() as events:
        guest.qmp_event("STOP")
        web.destroy()
        assert [event.name for event in events] == ["STOP"]
        with pytest.raises(HostClosed, match="QEMU has ended"):
            events.get()


def test_a_reader_is_not_closed_in_a_callback(fake: FakeHost, web: pyxen.Domain) -> None:
    raised: list[BaseException] = []

    def close(_: object) -> None:
        try:
            events.close()
        except RuntimeError as error:
            raised.append(error)

    events = web.qmp.events()
    waiting = web.begin.wait()
    waiting.add_done_callback(close)
    waiting.cancel()
    wait_until(lambda: raised)
    assert "qmp.events: cannot wait here" in str(raised[0])
    fake.guest(web).qmp_event("RESET")
    assert events.get(timeout=0) is not None
    events.close()
    web.qmp.events().close()


def test_one_client_at_a_time(fake: FakeHost, web: pyxen.Domain) -> None:
    with pyxen.connect(fake.uri) as other, ThreadPoolExecutor(1) as pool:
        same = other.domains["web1"]
        with web.qmp.events() as events:
            waiting = pool.submit(same.qmp.execute, "query-status", timeout=None)
            with pytest.raises(OperationTimeout):
                same.qmp.execute("query-status", timeout=5)
            with pytest.raises(OperationTimeout):
                same.qmp.events()
            assert not waiting.done()
            assert events.get(timeout=0) is None
        assert waiting.result(timeout=60)["running"]
        reader = same.qmp.events()
    with pytest.raises(HostClosed):
        reader.get()
    web.qmp.events().close()


def test_awaited(fake: FakeHost, web: pyxen.Domain) -> None:
    guest = fake.guest(web)
    guest.qmp = {"query-block": [], "human-monitor-command": "none"}

    async def main() -> None:
        async with fake.aio() as host:
            domain = await host.domains["web1"]
            assert await domain.qmp.execute("query-block") == []
            assert await domain.monitor_command("info block") == "none"
            async with domain.qmp.events(timeout=60) as events:
                await asyncio.to_thread(guest.qmp_event, "RESET")
                assert (await anext(events)).name == "RESET"

    asyncio.run(main())


def test_a_reader_of_events_lets_no_time_pass(fake: FakeHost, web: pyxen.Domain) -> None:
    fake.guest(web).end(pyxen.ShutdownReason.CRASH, after=3600)
    before = fake.info().uptime_s
    with web.qmp.events() as events:
        assert events.get(timeout=0.05) is None
        assert web.qmp.execute("query-status")["running"]
        assert fake.info().uptime_s == before
    fake.advance(3600)
    assert web.info().shutdown_reason is pyxen.ShutdownReason.CRASH


def test_a_domain_that_goes_while_a_command_waits_for_its_turn() -> None:
    with FakeHost(time="real") as fake, pyxen.connect(fake.uri) as other, ThreadPoolExecutor(1) as pool:
        web = fake.create(config(type="hvm"))
        with web.qmp.events():
            asked = pool.submit(other.domains["web1"].qmp.execute, "query-status")
            wait_until(lambda: sum(call.verb == "qmp" for call in fake.calls) == 2)
            web.destroy()
            with pytest.raises(pyxen.DomainNotFound):
                asked.result(30)


def test_an_answer_that_is_an_error_is_a_new_one_each_time(fake: FakeHost, web: pyxen.Domain) -> None:
    given = QmpError("the tray is locked")
    fake.guest(web).qmp = {"eject": given}
    errors = [given]
    for _ in range(2):
        with pytest.raises(QmpError) as caught:
            web.qmp.execute("eject")
        errors.append(caught.value)
    assert len(set(map(id, errors))) == 3
