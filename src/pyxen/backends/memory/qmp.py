"""The QEMU of a simulated guest: what it answers is up to the test, and so are its events."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from pyxen._common.qmp import READ_ALREADY, check_monitor_command, no_qemu, no_socket, refusal, request
from pyxen.backends.memory.devices import has_qemu
from pyxen.backends.memory.engine import Script, Wait, describe
from pyxen.backends.memory.guests import Guest
from pyxen.backends.memory.lifecycle import check_there
from pyxen.backends.memory.machine import Machine, copied
from pyxen.errors import Error, InvalidArgument, InvalidState
from pyxen.operation import Operation
from pyxen.records.qmp_event import QmpEvent

__all__ = ["Listener", "execute", "listen", "monitor_command", "report"]

_BACKEND = "memory"


@dataclass(slots=True, eq=False)
class Listener:
    """A reader of a QEMU's events, which holds the connection to it.

    Attributes:
        owner: The connection to the host whose reader it is.
        put: Takes each event.
        end: Is called once, when no more come.
    """

    owner: object
    put: Callable[[QmpEvent], None]
    end: Callable[[Error | None], None]


def execute(
    operation: Operation[Any], guest: Guest, owner: object, command: str, arguments: Mapping[str, Any]
) -> Script[Any]:
    """Let the guest's QEMU answer a command."""
    _check(guest, "qmp")
    yield from _turn(operation, guest, owner)
    return _answer(operation, guest, command, json.loads(request(command, arguments)).get("arguments", {}))


def monitor_command(operation: Operation[str], guest: Guest, command: str) -> Script[str]:
    """Let the guest's QEMU answer a command of the human monitor, which it gets by QMP, as from libxl."""
    check_monitor_command(operation, command)
    _check(guest, "monitor_command")
    yield from ()
    said = _answer(operation, guest, "human-monitor-command", {"command-line": command})
    if not isinstance(said, str):
        raise describe(InvalidArgument, f"FakeGuest.qmp answers {command!r} with {said!r}: give text", operation)
    return said.replace("\r\n", "\n")


def listen(
    machine: Machine, operation: Operation[Any], guest: Guest, listener: Listener, listening: Operation[None]
) -> Script[Operation[None]]:
    """Give a reader the events of the guest's QEMU, until its operation is cancelled or the domain is gone."""
    _check(guest, "qmp")
    if guest.listener is not None and guest.listener.owner is listener.owner:
        raise describe(InvalidState, READ_ALREADY, operation)
    yield from _turn(operation, guest, listener.owner)
    guest.listener = listener
    return machine.engine.run(listening, _until_over(machine, guest, listener), listener.owner, takes_time=False)


def report(machine: Machine, guest: Guest, name: str, data: Mapping[str, Any]) -> None:
    """Let the guest's QEMU report an event; nobody hears of it without a reader."""
    if guest.listener is not None:
        event = QmpEvent(name, _as_json(f"the data of {name} are", data), machine.moment())
        machine.engine.say(partial(guest.listener.put, event))


def _check(guest: Guest, verb: str) -> None:
    if not has_qemu(guest.config):
        raise no_qemu(verb, guest.domid, _BACKEND)
    if verb == "qmp" and guest.config.stubdomain.enable:
        raise no_socket(guest.domid, _BACKEND)


def _turn(operation: Operation[Any], guest: Guest, owner: object) -> Script[None]:
    """Wait for QEMU, which talks to one client at a time; commands of who reads its events go between them."""
    yield Wait(ready=lambda: guest.gone or guest.listener is None or guest.listener.owner is owner)
    check_there(operation, guest)


def _until_over(machine: Machine, guest: Guest, listener: Listener) -> Script[None]:
    try:
        yield Wait(ready=lambda: guest.gone)
    finally:
        guest.listener = None
        machine.engine.say(partial(listener.end, None))


def _answer(operation: Operation[Any], guest: Guest, command: str, arguments: dict[str, Any]) -> Any:
    given = guest.qmp
    said: Any = NotImplemented
    if isinstance(given, Mapping):
        said = given.get(command, NotImplemented)
    elif given is not None:
        said = given(command, arguments)
    if said is NotImplemented and command == "query-status":
        said = {"running": guest.runs, "status": "running" if guest.runs else "paused"}
    if said is NotImplemented:
        words = f"The command {command} has not been found"
        raise refusal(operation, command, f"{words}; FakeGuest.qmp says what it answers", "CommandNotFound", words)
    if isinstance(said, Exception):
        raise copied(said)
    return _as_json(f"FakeGuest.qmp answers {command} with what is", said)


def _as_json(what: str, value: Any) -> Any:
    """Return a value as QEMU would send it: with lists instead of tuples, and so on."""
    try:
        return json.loads(json.dumps(value, allow_nan=False))
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidArgument(f"{what} not valid JSON: {error}", operation="qmp") from None
