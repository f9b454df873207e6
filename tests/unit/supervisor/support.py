"""What the tests of the supervisor share: events of domains, and operations that end when a test says so."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from queue import SimpleQueue
from typing import Any

from pyxen import (
    Brake,
    DomainDestroyed,
    DomainInfo,
    DomainShutdown,
    DomainState,
    Event,
    EventsLost,
    Host,
    Operation,
    Outcome,
    ShutdownReason,
    Supervisor,
)
from pyxen.errors import ConnectFailed
from tests.unit.aio.fakehost import FakeBackend
from tests.waiting import SECONDS, until

__all__ = [
    "BRAKE",
    "Told",
    "about",
    "begun",
    "destroyed_in_doubt",
    "end",
    "let_it_look",
    "lost",
    "supervise",
    "wait_until",
]

BRAKE = Brake(first_delay=0, max_delay=0)


class Told(SimpleQueue[Outcome]):
    def next(self) -> Outcome:
        return self.get(timeout=SECONDS)


def wait_until(condition: Callable[[], object]) -> None:
    until(condition, "what is waited for")


def supervise(host: Host, told: Told, **settings: Any) -> Supervisor:
    return Supervisor(host, on_outcome=told.put, **{"leave": lambda _: None, "brake": BRAKE, **settings})


def about(info: DomainInfo) -> dict[str, Any]:
    return {"domid": info.domid, "uuid": info.uuid, "name": info.name, "time": datetime.now(UTC)}


def end(backend: FakeBackend, domid: int, reason: ShutdownReason) -> Event:
    """Let a domain shut down, and return the event of it."""
    index = next(index for index, info in enumerate(backend.infos) if info.domid == domid)
    info = replace(backend.infos[index], state=DomainState.SHUTDOWN, shutdown_reason=reason)
    backend.infos[index] = info
    return DomainShutdown(**about(info), reason=reason)


def lost() -> Event:
    return EventsLost(time=datetime.now(UTC), count=None)


def let_it_look(backend: FakeBackend) -> None:
    """Let events be lost, and wait until the supervisor has looked which domains there are."""
    looks, look = 0, type(backend).list

    def counted() -> list[DomainInfo]:
        nonlocal looks
        infos = look(backend)
        looks += 1
        return infos

    backend.list = counted  # type: ignore[method-assign]  # until it has been called
    backend.tell(lost())
    wait_until(lambda: looks)
    del backend.list


def begun(backend: FakeBackend, verb: str, count: int = 1) -> list[Operation[Any]]:
    """Wait until so many operations of a kind have begun, and return them."""

    def found() -> list[Operation[Any]]:
        return [operation for operation in backend.operations if operation.verb == verb]

    wait_until(lambda: len(found()) >= count)
    return found()


def destroyed_in_doubt(
    backend: FakeBackend, domid: int, *, event_first: bool = True, error: Exception | None = None
) -> None:
    """Let the destroy that has begun take effect, and fail all the same."""
    index = next(index for index, info in enumerate(backend.infos) if info.domid == domid)
    gone = DomainDestroyed(**about(backend.infos.pop(index)))
    operation = begun(backend, "destroy")[-1]
    if event_first:
        backend.tell(gone)
    operation.set_exception(error or ConnectFailed("no xenstored"))
    if not event_first:
        backend.tell(gone)
