"""A link that drops: calls fail here, and what they had begun is undone there."""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from pyxen import (
    ConnectFailed,
    CpuSet,
    Disk,
    Domain,
    DomainConfig,
    EventsLost,
    Host,
    HostClosed,
    InvalidState,
    Operation,
    OperationCancelled,
    OperationFailed,
    PciAddress,
    Scheduler,
)
from pyxen.backends.base import DomainRef
from pyxen.backends.memory import durations
from pyxen.backends.memory.backend import MemoryBackend
from pyxen.backends.remote import client as client_module
from pyxen.backends.remote.messages import Begun, Bye, Call, Done, Ping, Pong
from pyxen.backends.remote.values import encoded
from pyxen.backends.remote.verbs import VERBS, verb_of
from pyxen.config.device_table import KINDS
from pyxen.records.info import DomainState, Trigger
from pyxen.records.psr import PsrEvent, PsrKind
from pyxen.records.scheduling import PoolScheduler
from pyxen.records.xenstore import NodePermissions
from pyxen.remus import RemusOptions
from tests.unit.remote.ends import SECONDS, Far, Served, client_to, far_server, served, until, usual_welcome

CONFIG = DomainConfig("web1", type="pvh", kernel="/boot/vmlinuz", memory=64)
SOME_UUID = UUID(int=1)
VALUES: dict[str, Any] = {
    "address": PciAddress("03:00.0"),
    "arguments": {"a": 1},
    "autoballoon": None,
    "autostart": True,
    "backend_domid": 0,
    "base": "/srv/a",
    "command": "info",
    "config": CONFIG,
    "claims": 1,
    "cpus": CpuSet("0"),
    "cpus_soft": None,
    "creating": 1,
    "data": b"x",
    "destination": "root@host2",
    "device": Disk("/srv/a", vdev="xvda"),
    "domain": DomainRef(1, SOME_UUID),
    "files": ["/srv/x"],
    "event": PsrEvent.CACHE_OCCUPANCY,
    "gfn": None,
    "key": "web1",
    "keys": "h",
    "label": "a:b:c",
    "maxmem": 64.0,
    "memory": 64.0,
    "name": "web1",
    "nodes": frozenset({0}),
    "number": 0,
    "options": RemusOptions(),
    "overlay": b"x",
    "parameters": "a=b",
    "path": "/srv/x",
    "paths": ["/a"],
    "permissions": NodePermissions(0),
    "policy": b"x",
    "pool": "Pool-0",
    "port": None,
    "position": None,
    "socket": 0,
    "sockets": None,
    "ssidref": 1,
    "states": frozenset({DomainState.SHUTDOWN}),
    "suffix": "-old",
    "target": "/srv/x.iso",
    "timeout": None,
    "transaction": 1,
    "trigger": Trigger.POWER,
    "uuid": SOME_UUID,
    "vcpu": 0,
    "vcpus": 1,
    "vdev": "xvda",
    "verb": "clone",
}
OF_VERBS: dict[str, dict[str, Any]] = {
    "hypfs_write": {"value": "1"},
    "live_devices": {"kind": KINDS[0]},
    "make_overlay": {"kind": None},
    "psr_get": {"kind": PsrKind.L3},
    "psr_set": {"kind": PsrKind.L3, "value": 1},
    "set_pool_scheduler": {"scheduler": PoolScheduler()},
    "set_scheduler": {"scheduler": Scheduler()},
    "store_write": {"value": b"x"},
    "wait_start": {"after": None},
    "console": {"kind": None},
    "create_cpupool": {"scheduler": None},
}


def arguments(name: str) -> dict[str, Any]:
    """Return arguments for a verb; what is not named here is a flag."""
    own = OF_VERBS.get(name, {})
    found = {each: own.get(each, VALUES.get(each, False)) for each in verb_of(name).names}
    if name == "make_overlay":
        from pyxen.config import DiskFormat

        found["kind"] = DiskFormat.QCOW2
    return found


@pytest.mark.parametrize("name", VERBS)
def test_it_drops_in_the_middle_of_a_verb(name: str) -> None:
    """Each call ends at once with the error that says so, and so does the next one."""
    heard: list[Call] = []

    def play(far: Far) -> None:
        while not isinstance(message := far.hear(), Call):
            assert isinstance(message, Ping)
        heard.append(message)

    with far_server(play, welcome=usual_welcome()) as fds:
        client = client_to(*fds)
        call: Callable[..., object] = client.begin if verb_of(name).takes_time else client.ask
        with pytest.raises(ConnectFailed, match=f"{name}: the connection to there is lost") as lost:
            call(name, **{key: value for key, value in arguments(name).items() if key != "allow"})
        with pytest.raises(ConnectFailed, match="connect again"):
            client.ask("list")
        assert "no sign of life" not in str(lost.value)  # it is not that it was silent for 30 s
        assert [each.verb for each in heard] == [name]
        verb_of(name).loads(heard[0].arguments)
        client.close()


SLOW = durations.Timing(create=300, boot=0.01, answer=0.01, stop=5, save=300, mercy=5, patience=300)


def seen(host: Host) -> list[tuple[str | None, str]]:
    return [(info.name, "paused" if info.state is DomainState.PAUSED else "alive") for info in host.list()]


@pytest.mark.parametrize("verb", ["create", "save", "save_over", "restore", "restore_over", "wait", "core_dump"])
def test_what_had_begun_is_undone_there(verb: str, tmp_path: Path) -> None:
    uri = f"memory:///lost-{verb}?files=here"
    kernel = tmp_path / "vmlinuz"
    kernel.touch()
    config = CONFIG.replace(kernel=str(kernel))
    with served(uri) as found:
        machine: Any = found.there._backend._machine  # type: ignore[attr-defined]
        web1 = found.there.create(config)
        until(lambda: bool(machine.domains[web1.domid].booted))
        saved = tmp_path / "saved"
        web1.save(str(saved), checkpoint=True)
        machine.timing = SLOW
        before, files = seen(found.there), sorted(tmp_path.iterdir())
        reader, writer = os.pipe()
        here = found.host.domains["web1"]
        other = config.replace(name="web2", uuid=None)
        with saved.open("rb") as file:
            begin: dict[str, Callable[[], Any]] = {
                "create": lambda: found.host.begin.create(other, timeout=600),
                "save": lambda: here.begin.save(str(tmp_path / "second"), timeout=600),
                "save_over": lambda: here.begin.save(writer, timeout=600),
                "restore": lambda: found.host.begin.restore(str(saved), config=other, timeout=600),
                "restore_over": lambda: found.host.begin.restore(file, config=other, timeout=600),
                "wait": lambda: here.begin.wait("shutdown", timeout=600),
                "core_dump": lambda: here.begin.core_dump(str(tmp_path / "core"), timeout=600),
            }
            operation = begin[verb]()
            server: Any = found.server
            until(lambda: any(call.operation is not None for call in server._calls.values()))
            time.sleep(0.2)
            assert not operation.done()
            found.cut()
            with pytest.raises(ConnectFailed, match="is lost"):
                operation.result(timeout=SECONDS)
        os.close(reader)
        os.close(writer)
        assert found.ended()
        assert seen(found.there) == before
        assert sorted(tmp_path.iterdir()) == files
        web1.destroy()


def test_a_domain_whose_handle_did_not_arrive_is_ended() -> None:
    """The server destroys what it made if the client does not say that it has got it."""
    with served("memory:///unkept") as found:
        sent = found.client._link.send
        found.client._link.send = lambda message: None if type(message).__name__ == "Kept" else sent(message)  # type: ignore[method-assign]
        creating = found.host.begin.create(CONFIG)
        until(lambda: len(found.there.list()) == 2)
        time.sleep(0.2)
        assert not creating.done(), "the client must not say it is made before the server has heard that it knows"
        found.cut()
        with pytest.raises(ConnectFailed, match=r"with uuid .* may exist there"):
            creating.result(timeout=SECONDS)
        assert found.ended()
        assert len(found.there.list()) == 1


def test_a_saved_domain_is_not_lost_with_its_reader(tmp_path: Path) -> None:
    """It goes on unless all bytes were taken, even if all of them were sent."""
    with served("memory:///reader") as found:
        web1 = found.host.create(CONFIG)
        machine: Any = found.there._backend._machine  # type: ignore[attr-defined]
        until(lambda: bool(machine.domains[web1.domid].booted))
        sent = found.client._link.send
        found.client._link.send = lambda message: None if type(message).__name__ == "Drained" else sent(message)  # type: ignore[method-assign]
        with (tmp_path / "saved").open("wb") as file:
            saving = web1.begin.save(file, timeout=600)
            until(lambda: found.there.domains["web1"].info().state is DomainState.PAUSED)
            found.cut()
            with pytest.raises(ConnectFailed):
                saving.result(timeout=SECONDS)
        assert found.ended()
        assert found.there.domains["web1"].info().is_running


@contextlib.contextmanager
def read_in_part(found: Served, path: Path) -> Iterator[tuple[Domain, Operation[None]]]:
    """Save a domain to a client that does not say that it has all; yield it, as the server sees it, and the save."""
    web1 = found.host.create(CONFIG)
    machine: Any = found.there._backend._machine  # type: ignore[attr-defined]
    until(lambda: bool(machine.domains[web1.domid].booted))
    sent = found.client._link.send
    found.client._link.send = lambda message: None if type(message).__name__ == "Drained" else sent(message)  # type: ignore[method-assign]
    there = found.there.domains["web1"]
    with path.open("wb") as file:
        saving = web1.begin.save(file, timeout=600)
        until(lambda: there.info().state is DomainState.PAUSED)
        yield there, saving


def test_no_other_save_begins_before_the_reader_has_all(tmp_path: Path) -> None:
    """It would be destroyed under the other one."""
    with served("memory:///reading") as found, read_in_part(found, tmp_path / "saved") as (there, saving):
        with pytest.raises(InvalidState, match="a save that this process has begun suspends the guest"):
            there.begin.save(tmp_path / "other")
        with pytest.raises(InvalidState, match="a save that this process has begun suspends the guest"):
            there.begin.migrate("memory:///reading")
        assert saving.cancel()
        with pytest.raises(OperationCancelled, match="the domain goes on"):
            saving.result(timeout=SECONDS)
        there.save(tmp_path / "other")
        assert there not in found.there.domains


def test_a_save_whose_guest_cannot_go_on_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise OperationFailed("libxl is of no use", operation="unpause")

    with served("memory:///stuck") as found, read_in_part(found, tmp_path / "saved") as (there, saving):
        monkeypatch.setattr(MemoryBackend, "unpause", fail)
        saving.cancel()
        with pytest.raises(OperationCancelled, match=r"cancelled; the domain stays paused, for .*libxl is of no use"):
            saving.result(timeout=SECONDS)
        assert there.info().state is DomainState.PAUSED


def test_what_cannot_be_asked_any_more_leaves_no_descriptor(tmp_path: Path) -> None:
    with served("memory:///gone") as far, open(tmp_path / "saved", "wb") as file:
        web = far.host.create(DomainConfig("web", kernel="/boot/vmlinuz", memory=64))
        far.cut()
        until(lambda: _is_lost(far.host))
        before = len(os.listdir("/proc/self/fd"))
        for call in (web.console, partial(web.save, file.fileno()), partial(far.host.restore, file.fileno())):
            with pytest.raises(ConnectFailed):
                call()
        assert len(os.listdir("/proc/self/fd")) <= before  # what came before may close some meanwhile


def _is_lost(host: Host) -> bool:
    try:
        host.list()
    except ConnectFailed:
        return True
    return False


def test_events_are_lost_with_the_link() -> None:
    with served("memory:///events") as found:
        events = found.host.events()
        found.cut()
        event = events.get(timeout=SECONDS)
        assert isinstance(event, EventsLost)
        assert event.count is None
        with pytest.raises(HostClosed):
            events.get(timeout=SECONDS)


def test_a_peer_that_says_nothing_any_more(monkeypatch: pytest.MonkeyPatch) -> None:
    """A call with a deadline fails soon after it, though no end of the link is seen."""
    monkeypatch.setattr("pyxen.backends.remote.client._LATE", 1.0)
    silent = threading.Event()
    with far_server(lambda _: assert_set(silent), welcome=usual_welcome()) as fds:
        client = client_to(*fds)
        began = time.monotonic()
        with pytest.raises(ConnectFailed, match="no sign of life"):
            client.begin("destroy", domain=DomainRef(1, SOME_UUID), timeout=0.5)
        assert time.monotonic() - began < 25  # any link that is silent counts as lost after 30
        silent.set()
        client.close()


def there_only(far: Far, says: Callable[[int], list[Any]]) -> None:
    """Play a server that answers pings, but ends nothing.

    Args:
        far: It.
        says: Returns what it says of a call when it begins.
    """
    while not isinstance(message := far.hear(), Bye):
        if isinstance(message, Ping):
            far.say(Pong())
        elif isinstance(message, Call):
            far.say(*says(message.id))


def made(number: int) -> Done:
    return Done(number, encoded(DomainRef(7, SOME_UUID), verb_of("create").result), undoable=True)


@pytest.mark.parametrize(
    ("says", "timeout", "words"),
    [
        (lambda _: [], 0.1, "what became of it there is not known"),
        (lambda number: [Begun(number)], 0.1, "what became of it there is not known"),
        (lambda number: [Begun(number)], None, "what became of it there is not known"),
        (lambda number: [Begun(number), made(number)], None, f"domain 7 with uuid {SOME_UUID} may exist there"),
    ],
    ids=["not begun", "deadline", "cancelled", "made"],
)
def test_a_server_that_answers_and_ends_nothing(
    monkeypatch: pytest.MonkeyPatch, says: Callable[[int], list[Any]], timeout: float | None, words: str
) -> None:
    """An operation ends in the end, whatever the server does."""
    monkeypatch.setattr(client_module, "_TO_END", 0.3)
    monkeypatch.setattr(client_module, "_PING", 0.1)
    with far_server(lambda far: there_only(far, says), welcome=usual_welcome()) as fds:
        client = client_to(*fds)

        def create() -> None:
            operation = client.begin("create", **{**arguments("create"), "timeout": timeout})
            if timeout is None:
                if words.startswith("domain 7"):
                    until(lambda: any(each.made is not None for each in [*client._calls._pending.values()]))
                operation.cancel()
            operation.result(SECONDS)

        with pytest.raises(ConnectFailed, match=words):
            create()
        assert client._calls.lost is None  # other operations may go on
        client.close()


def assert_set(event: threading.Event) -> None:
    assert event.wait(SECONDS)
