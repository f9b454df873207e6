"""Migration of simulated domains between the hosts of one process.

The script runs on the engine of the source. What it does at the destination, it does under the destination's lock,
without the source's: two hosts that send each other domains never wait for each other.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any, Final, TypeVar

from pyxen._common.migration import AWAY, INCOMING, in_doubt
from pyxen._common.preconditions import name_taken
from pyxen._common.shield import logger
from pyxen.backends.memory.configuration import kept_config
from pyxen.backends.memory.engine import Script, Wait, describe
from pyxen.backends.memory.guests import LIMIT_ROOM_KIB, Guest
from pyxen.backends.memory.lifecycle import check_release, check_there, new_guest, rename
from pyxen.backends.memory.machine import Machine
from pyxen.backends.memory.suspend import go_on, suspend
from pyxen.config import DomainConfig
from pyxen.errors import DomainExists, Error, MigrationFailed, MigrationInDoubt, OperationFailed
from pyxen.operation import Operation

__all__ = ["migrate"]

T = TypeVar("T")

_LOG: Final = logger("pyxen.migration")

_GOES_ON: Final = "the domain goes on here"


def migrate(
    source: Machine,
    operation: Operation[Any],
    guest: Guest,
    destination: Machine,
    *,
    other: DomainConfig | None,
    paused: bool,
) -> Script[None]:
    """Move a domain to another host; if that fails or is stopped, it goes on here, and nothing is left there."""
    name = guest.name
    receiving: Operation[Any] = Operation("receive_migration", name)
    arriving: Guest | None = None
    try:
        arriving = yield from _elsewhere(
            source, operation, destination, lambda: _begin(destination, receiving, guest, other)
        )
        with operation.measured(_passing(source)):
            late = source.now() + source.timing.save
            yield Wait(until=late, ready=lambda: guest.gone or destination.lost is not None)
        check_there(operation, guest)
        yield from _elsewhere(source, operation, destination, lambda: None)  # it is there still
        yield from suspend(source, operation, guest)
        here = arriving
        yield from _elsewhere(source, operation, destination, lambda: _received(destination, guest, here))
        yield from rename(source, operation, guest, name + AWAY)
        yield from _elsewhere(
            source,
            operation,
            destination,
            lambda: _start(destination, receiving, here, name, paused=paused),
            lost=lambda: _doubt(operation, name),
        )
    except BaseException as error:
        if not isinstance(error, MigrationInDoubt):
            yield from _take_back(source, operation, guest, name, destination, arriving)
        raise
    source.remove(guest)


def _elsewhere(
    source: Machine,
    operation: Operation[Any],
    destination: Machine,
    call: Callable[[], T],
    *,
    lost: Callable[[], Error] | None = None,
) -> Script[T]:
    """Call a function under the lock of the destination, and return its result.

    Args:
        source: The host whose engine runs this script.
        operation: The migration.
        destination: The other host.
        call: The function.
        lost: Makes the exception for a destination that has gone away.

    Raises:
        MigrationFailed: The destination has gone away, or refuses.
    """
    results: list[T] = []
    problems: list[Exception] = []

    def act() -> None:
        try:
            with destination.lock:
                if destination.lost is not None:
                    gone = describe(MigrationFailed, f"the destination is gone; {_GOES_ON}", operation)
                    raise gone if lost is None else lost()
                results.append(call())
        except (MigrationFailed, MigrationInDoubt) as error:
            problems.append(error)
        except Exception as error:  # noqa: BLE001 (whatever is wrong there goes to the caller who waits here)
            refusal = describe(MigrationFailed, f"the destination refuses: {error}; {_GOES_ON}", operation)
            refusal.__cause__ = error
            problems.append(refusal)

    source.engine.say(act)
    yield Wait(ready=lambda: bool(results or problems), abortable=False)
    if problems:
        raise problems[0]
    return results[0]


def _begin(destination: Machine, receiving: Operation[Any], guest: Guest, other: DomainConfig | None) -> Guest:
    """Make the domain at the destination, under another name and still being built."""
    fault = destination.fault("receive_migration", guest.name, guest.uuid)
    if fault is not None:
        raise fault
    config = (other or kept_config(guest)).replace(domid=None, name=guest.name + INCOMING)
    check_release(config, destination.xen)
    _check_free(destination, receiving, guest)
    return new_guest(destination, receiving, config, guest.uuid, twin=guest)


def _check_free(destination: Machine, receiving: Operation[Any], guest: Guest) -> None:
    """Refuse a domain whose name or uuid a domain there has, other than itself."""
    for other in destination.domains.values():
        if other is guest or not other.domid:
            continue
        if other.uuid == guest.uuid or other.name == guest.name:
            which = f"the uuid {guest.uuid}" if other.uuid == guest.uuid else f"the name {guest.name}"
            message = f"domain {other.domid} ({other.name}) has {which} already: rename or destroy it"
            raise describe(DomainExists, message, receiving)


def _received(destination: Machine, guest: Guest, arriving: Guest) -> None:
    """Give the domain at the destination the state of the one that was suspended at the source."""
    if arriving.gone:
        raise OperationFailed("the domain was destroyed there", operation="receive_migration", domain=arriving.name)
    arriving.memory_kib, arriving.online, arriving.target_kib = guest.memory_kib, guest.online, guest.target_kib
    arriving.limit_kib = guest.target_kib + LIMIT_ROOM_KIB
    arriving.answers, arriving.drivers, arriving.booted = guest.answers, guest.drivers, guest.booted
    destination.introduce(arriving)


def _start(destination: Machine, receiving: Operation[Any], arriving: Guest, name: str, *, paused: bool) -> None:
    """Give the domain at the destination its name, and let it run."""
    other = destination.named(name)
    if other is not None:
        raise name_taken(receiving, other.domid, name)
    destination.rename(arriving, name)
    arriving.set_paused(paused)


def _take_back(
    source: Machine, operation: Operation[Any], guest: Guest, name: str, destination: Machine, arriving: Guest | None
) -> Script[None]:
    """Remove what is at the destination, and let the domain go on at the source."""
    if arriving is not None and destination.lost is None:
        made = arriving
        with contextlib.suppress(MigrationFailed):  # it goes away at this moment
            yield from _elsewhere(source, operation, destination, lambda: destination.remove(made))
    if guest.gone:
        return
    if guest.name == name + AWAY:
        source.rename(guest, name)
    go_on(guest)


def _doubt(operation: Operation[Any], name: str) -> MigrationInDoubt:
    doubt = describe(MigrationInDoubt, in_doubt(name, "the destination is gone"), operation)
    _LOG.error("%s", doubt)  # after Ctrl-C, or when a task is cancelled, nobody sees the exception
    return doubt


def _passing(source: Machine) -> Callable[[], float]:
    """Return a function that gives the share of the memory that has been sent, from 0 to 1."""
    begun = source.now()
    return lambda: (source.now() - begun) / (source.timing.save or 1)
