"""What is lost of a subscription on its way is marked at its reader, and as much as is known of it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import msgspec
import pytest

from pyxen import DomainCreated, EventsLost, HostClosed, NodeChange
from pyxen.backends.base import DomainRef
from pyxen.backends.memory.backend import MemoryBackend
from pyxen.backends.remote import pending
from pyxen.backends.remote.backend import RemoteBackend
from pyxen.backends.remote.messages import Begun, Call, Done, Item
from pyxen.backends.remote.values import codec_of, encoded
from pyxen.errors import Error
from pyxen.events import Event
from pyxen.operation import Operation
from pyxen.records.qmp_event import QmpEvent, QmpEventsLost
from pyxen.serve import calls
from tests.unit.remote.ends import SECONDS, Far, client_to, far_server, served, until, usual_welcome

SOME = DomainRef(1, UUID(int=1))


def event(name: str) -> DomainCreated:
    return DomainCreated(domid=1, uuid=UUID(int=1), name=name, time=datetime.now(UTC))


def test_every_watched_path_is_marked(monkeypatch: pytest.MonkeyPatch) -> None:
    """What was lost is not known: a reader that is told of one path never looks at the other again."""
    with served("memory:///marks") as found:
        found.there.xenstore.write("/a", "0")
        found.there.xenstore.write("/b", "0")
        with found.host.xenstore.watch("/a", "/b") as watch:
            assert {change.path for change in (watch.get(SECONDS), watch.get(SECONDS)) if change} == {"/a", "/b"}
            with monkeypatch.context() as patched:
                patched.setattr(calls, "_MOST_ITEMS", -1)
                found.there.xenstore.write("/b", "1")
                until(lambda: any(each._lost for each in found.server._subscriptions.values()))
            marks = [watch.get(SECONDS), watch.get(SECONDS)]
            assert marks == [NodeChange(path, path, lost=True) for path in ("/a", "/b")]


def test_every_watched_path_is_marked_when_the_link_is_lost() -> None:
    with served("memory:///marks-cut") as found:
        watch = found.host.xenstore.watch("/a", "/b")
        for _ in range(2):
            assert watch.get(SECONDS)
        found.cut()
        assert [watch.get(SECONDS), watch.get(SECONDS)] == [NodeChange(path, path, lost=True) for path in ("/a", "/b")]
        with pytest.raises(HostClosed):
            watch.get(SECONDS)


class Sent:
    """A link that only keeps what it is to send."""

    def __init__(self) -> None:
        self.backlog = 0
        self.items: list[Item] = []

    def send(self, message: Item) -> None:
        self.items.append(message)


def subscription() -> tuple[calls.Subscription, Any]:
    """Return one of events, and its link."""
    link: Any = Sent()
    return calls.Subscription(link, 1, codec_of(Event), lost_events), link


def lost_events(count: int | None) -> list[EventsLost]:
    return [EventsLost(time=datetime.now(UTC), count=count)]


def values(link: Sent) -> list[Any]:
    codec = codec_of(Event)
    assert codec.load is not None
    return [codec.load(msgspec.msgpack.decode(item.value, type=codec.wire)) for item in link.items]


@pytest.mark.parametrize(("counts", "total"), [([2, 3], 6), ([2, None], None), ([None, 2], None)])
def test_the_server_adds_up_what_it_loses(counts: list[int | None], total: int | None) -> None:
    """A loss of an unknown number makes the sum unknown."""
    served_one, link = subscription()
    link.backlog = 1 << 30
    served_one.put(event("web1"))
    for count in counts:
        served_one.put(EventsLost(time=datetime.now(UTC), count=count))
    link.backlog = 0
    served_one.report()
    assert [value.count for value in values(link)] == [total]


@pytest.mark.parametrize(("counts", "total"), [([2, 3], 6), ([2, None], None), ([None, 2], None)])
def test_the_client_adds_up_what_it_loses(
    monkeypatch: pytest.MonkeyPatch, counts: list[int | None], total: int | None
) -> None:
    monkeypatch.setattr(pending, "_MOST_UNREAD", 1)
    waiting: list[Callable[[], None]] = []
    got: list[Any] = []
    found = pending.Subscription(codec_of(Event), got.append, lambda _: None, lost_events)
    lost = [EventsLost(time=datetime.now(UTC), count=count) for count in counts]
    for each in (event("web1"), event("web2"), *lost):
        found.come(Item(1, encoded(each, codec_of(Event))), waiting.append)
    [deliver] = waiting
    deliver()
    assert [getattr(each, "name", None) or each.count for each in got] == ["web1", total]


def test_what_cannot_be_sent_counts_as_lost() -> None:
    """A name that is not UTF-8 is not the end of the events, and not a gap that nobody sees."""
    served_one, link = subscription()
    served_one.put(event("w\udcff"))
    served_one.put(event("web1"))
    first, second = values(link)
    assert isinstance(first, EventsLost)
    assert first.count == 1
    assert second.name == "web1"


def test_lost_events_of_qemu_are_counted_and_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    """They look like nothing that QEMU says, from the host over both ends to the reader."""
    putting: list[Callable[[QmpEvent], None]] = []

    def qmp_events(
        _: MemoryBackend,
        domain: DomainRef,
        put: Callable[[QmpEvent], None],
        end: Callable[[Error | None], None],
        *,
        timeout: float | None,  # noqa: ARG001 (as in Backend)
    ) -> Operation[Operation[None]]:
        running: Operation[None] = Operation("qmp_events", domain.domid)

        def stop(_: object) -> None:
            end(None)
            running.set_result(None)

        running.carried_by(stop, None)  # type: ignore[arg-type]  # no thread carries it
        listening: Operation[Operation[None]] = Operation("qmp_events", domain.domid)
        putting.append(put)
        listening.set_result(running)
        return listening

    monkeypatch.setattr(MemoryBackend, "qmp_events", qmp_events)
    got: list[QmpEvent] = []
    with served("memory:///qmp-lost") as found:
        listening = found.host._backend.qmp_events(SOME, got.append, lambda _: None, timeout=SECONDS).result(SECONDS)
        [put] = putting
        with monkeypatch.context() as patched:
            patched.setattr(calls, "_MOST_ITEMS", -1)
            put(QmpEvent("STOP", {}, None))
            put(QmpEvent("RESUME", {}, None))
        put(QmpEvent("RESET", {}, None))
        until(lambda: len(got) == 2)
        assert got == [QmpEventsLost.of(2), QmpEvent("RESET", {}, None)]
        listening.cancel()


def test_a_host_that_says_that_events_of_qemu_were_lost() -> None:
    """QEMU itself may say any name: it is the message that tells."""

    def play(far: Far) -> None:
        while not isinstance(message := far.hear(), Call):
            assert message is not None
        number = message.id
        said = encoded(QmpEvent("EVENTS_LOST", {}, None), codec_of(QmpEvent))
        far.say(Begun(number), Done(number, encoded(None, codec_of(None))), Item(number, said), Item(number, said, 3))
        far.say(Item(number, said, None))
        far.hear()

    got: list[QmpEvent] = []
    with far_server(play, welcome=usual_welcome()) as fds:
        client = client_to(*fds)
        backend = RemoteBackend(client, "xenlight+ssh://there/")
        backend.qmp_events(SOME, got.append, lambda _: None, timeout=SECONDS).result(SECONDS)
        until(lambda: len(got) >= 3)
        assert got[:3] == [QmpEvent("EVENTS_LOST", {}, None), QmpEventsLost.of(3), QmpEventsLost.of(None)]
        client.close()
