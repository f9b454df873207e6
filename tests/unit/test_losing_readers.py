"""Readers that read too slowly: what they lose is marked, however small their queues are."""

from __future__ import annotations

from pyxen.readers.qmp import QmpEventQueue
from pyxen.readers.xenstore import ChangeQueue
from pyxen.records.qmp_event import QmpEvent, QmpEventsLost
from pyxen.records.xenstore import NodeChange


def change(path: str, watched: str) -> NodeChange:
    return NodeChange(path, watched)


def mark(watched: str) -> NodeChange:
    return NodeChange(watched, watched, lost=True)


def unread(queue: ChangeQueue) -> list[NodeChange]:
    found: list[NodeChange] = []
    while (item := queue.take(0)) is not None:
        found.append(item)
    return found


def test_what_is_lost_after_a_mark_was_read_is_marked_again() -> None:
    """Marks of other paths still fill the queue, which has no room for a change."""
    queue = ChangeQueue(1)
    queue.put(change("/a", "/a"))
    queue.put(change("/a/1", "/a"))
    queue.put(change("/b/1", "/b"))
    assert [queue.take(0), queue.take(0)] == [change("/a", "/a"), mark("/a")]  # the reader looks at /a now
    queue.put(change("/a/later", "/a"))
    queue.put(change("/a/latest", "/a"))
    assert unread(queue) == [mark("/b"), mark("/a")]


def test_a_path_has_one_unread_mark() -> None:
    """More say no more: the queue stays bounded."""
    queue = ChangeQueue(2)
    for number in range(100):
        for watched in ("/a", "/b"):
            queue.put(change(f"{watched}/{number}", watched))
    assert unread(queue) == [change("/a/0", "/a"), change("/b/0", "/b"), mark("/a"), mark("/b")]


def test_events_of_qemu_that_were_lost_on_their_way_count() -> None:
    """Whatever names are wanted; users do not get what says so."""
    for names in ((), ("STOP",)):
        queue = QmpEventQueue(names, 1)
        queue.put(QmpEventsLost.of(3))
        queue.put(QmpEventsLost.of(None))
        assert queue.take(0) is None
        assert queue.lost == 4
        queue.put(QmpEvent("STOP", {}, None))
        queue.put(QmpEvent("STOP", {}, None))
        assert queue.lost == 5
