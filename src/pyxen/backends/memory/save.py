"""Save, restore and core dump of simulated domains: files with xl's header, then the few numbers of a guest's state."""

from __future__ import annotations

import io
import json
import os
import struct
import zlib
from collections.abc import Callable
from functools import partial
from typing import Any, Final

from pyxen import libxljson, xlcfg
from pyxen._common import savefile
from pyxen._common.allow import check_allowed
from pyxen._common.atomic_file import appearing_whole, writing
from pyxen._common.defaults import with_memory
from pyxen.backends.base import Allow
from pyxen.backends.memory.configuration import kept_config
from pyxen.backends.memory.descriptors import Duplicate, read_until, write_all
from pyxen.backends.memory.engine import Script, Wait, describe
from pyxen.backends.memory.guests import LIMIT_ROOM_KIB, Guest
from pyxen.backends.memory.lifecycle import check_there, new_guest
from pyxen.backends.memory.machine import Machine
from pyxen.backends.memory.room import make_room
from pyxen.backends.memory.suspend import go_on, suspend
from pyxen.config import DomainConfig
from pyxen.errors import InvalidArgument, OperationFailed, ParseError
from pyxen.operation import Operation

__all__ = ["core_dump", "restore", "restore_over", "save", "save_over", "saved_config"]

_MAGIC: Final = b"a domain of memory:///\n"
_DESCRIPTOR: Final = "<descriptor>"
"""The name of what is read, in errors."""

_TAIL: Final = struct.Struct("=II")
_STATE: Final = {"memory": int, "online": int, "answers": bool, "drivers": bool}


def save(
    machine: Machine,
    operation: Operation[Any],
    guest: Guest,
    path: str,
    *,
    other: DomainConfig | None,
    checkpoint: bool,
    leave_paused: bool,
) -> Script[None]:
    """Save a domain to a file; after a failed save the domain runs on, and no file is left."""
    try:
        with appearing_whole(operation, path) as (fd, _):
            data = yield from _suspended(machine, operation, guest, other)
            with writing(operation, path), open(fd, "wb", closefd=False) as file:
                file.write(data)
    except BaseException:
        go_on(guest)
        raise
    _finish(machine, guest, checkpoint=checkpoint, leave_paused=leave_paused)


def save_over(
    machine: Machine,
    operation: Operation[Any],
    guest: Guest,
    file: Duplicate,
    *,
    other: DomainConfig | None,
    checkpoint: bool,
    leave_paused: bool,
) -> Script[None]:
    """Save a domain to a descriptor; after a failed save the domain runs on."""
    try:
        with file:
            data = yield from _suspended(machine, operation, guest, other)
            yield from write_all(machine, operation, file.fileno(), data)
    except BaseException:
        go_on(guest)
        raise
    _finish(machine, guest, checkpoint=checkpoint, leave_paused=leave_paused)


def _suspended(machine: Machine, operation: Operation[Any], guest: Guest, other: DomainConfig | None) -> Script[bytes]:
    """Suspend a guest, and return what is to be saved of it."""
    yield from suspend(machine, operation, guest)
    with operation.measured(_passing(machine)):
        yield Wait(until=machine.now() + machine.timing.save, ready=lambda: guest.gone)
    check_there(operation, guest)
    config = kept_config(guest).replace(domid=None) if other is None else other
    config = config if config.uuid is not None else config.replace(uuid=guest.uuid)
    return savefile.head(libxljson.dumps(config, on_loss="ignore")) + _MAGIC + _state_of(guest)


def _finish(machine: Machine, guest: Guest, *, checkpoint: bool, leave_paused: bool) -> None:
    if leave_paused:
        guest.set_paused(True)
    if leave_paused or checkpoint:
        go_on(guest)
    else:
        machine.remove(guest)


def restore(
    machine: Machine,
    operation: Operation[Any],
    path: str,
    override: DomainConfig | None,
    *,
    paused: bool,
    allow: Allow | None,
    autoballoon: bool | None,
) -> Script[Guest]:
    """Create a domain from a file; a failed restore leaves nothing behind."""

    def look() -> tuple[DomainConfig, bytes]:
        return _allowed(_read(operation, path, override), allow, path)

    found = yield from machine.engine.outside(look)
    return (yield from _restored(machine, operation, found, paused=paused, autoballoon=autoballoon))


def restore_over(
    machine: Machine,
    operation: Operation[Any],
    file: Duplicate,
    override: DomainConfig | None,
    *,
    paused: bool,
    allow: Allow | None,
    autoballoon: bool | None,
) -> Script[Guest]:
    """Create a domain from a descriptor; a failed restore leaves nothing behind."""
    with file:
        data = io.BytesIO((yield from read_until(machine, operation, file.fileno(), _Whole())))

    def look() -> tuple[DomainConfig, bytes]:
        head = savefile.parse(partial(_take, data), _DESCRIPTOR)
        return _allowed(_parsed(operation, head, data.read(), override), allow, _DESCRIPTOR)

    found = yield from machine.engine.outside(look)
    return (yield from _restored(machine, operation, found, paused=paused, autoballoon=autoballoon))


def _allowed(found: tuple[DomainConfig, bytes], allow: Allow | None, source: str) -> tuple[DomainConfig, bytes]:
    check_allowed(found[0], allow, source)
    return found


def _take(data: io.BytesIO, size: int) -> bytes:
    taken = data.read(size)
    if len(taken) < size:
        message = "not a saved domain, or truncated: the data ends within the header"
        raise ParseError(message, source=_DESCRIPTOR)
    return taken


class _Short(Exception):
    """There is more of a saved domain than was read; the argument is how many bytes it has at least."""


class _Whole:
    """Tells whether data is all of a saved domain, or cannot be one. It is looked at only when enough has come."""

    def __init__(self) -> None:
        self._enough = 0

    def __call__(self, found: bytearray) -> bool:
        if len(found) < self._enough:
            return False
        data = io.BytesIO(found)

        def take(size: int) -> bytes:
            end = data.tell() + size
            if len(found) < end:
                raise _Short(end)
            return data.read(size)

        try:
            savefile.parse(take, _DESCRIPTOR)
            if take(len(_MAGIC)) == _MAGIC:
                size, _ = _TAIL.unpack(take(_TAIL.size))
                take(size)
        except ParseError:
            return True
        except _Short as short:
            [self._enough] = short.args
            return False
        return True


def _restored(
    machine: Machine,
    operation: Operation[Any],
    found: tuple[DomainConfig, bytes],
    *,
    paused: bool,
    autoballoon: bool | None,
) -> Script[Guest]:
    """Create a domain from its configuration and its state."""
    config, state = found
    operation.subject = config.name
    yield from make_room(machine, operation, with_memory(config), autoballoon)
    guest = new_guest(machine, operation, config, None)
    try:
        with operation.measured(_passing(machine)):
            yield Wait(until=machine.now() + machine.timing.save, ready=lambda: guest.gone)
        check_there(operation, guest)
        _take_state(operation, guest, state)
    except BaseException:  # whatever it is: the domain is half-made
        machine.remove(guest)
        raise
    machine.introduce(guest)
    guest.set_paused(paused)
    return guest


def _state_of(guest: Guest) -> bytes:
    """Return a guest's state for a file, without its configuration."""
    state = {
        "memory": guest.memory_kib,
        "online": guest.online,
        "answers": guest.answers,
        "drivers": guest.drivers,
    }
    text = json.dumps(state).encode()
    return _TAIL.pack(len(text), zlib.crc32(text)) + text


def _take_state(operation: Operation[Any], guest: Guest, data: bytes) -> None:
    """Restore a saved guest's state into a new domain."""
    size, checksum = _TAIL.unpack(data[: _TAIL.size].ljust(_TAIL.size, b"\0"))
    text = data[_TAIL.size :][:size]
    if len(text) != size or zlib.crc32(text) != checksum or not text:
        operation.log.append(f"the state of the guest has {len(text)} of {size} bytes, or is damaged")
        raise describe(OperationFailed, "damaged: the state of the guest is truncated", operation)
    state = _state(text)
    if state is None or state["online"] < 1 or state["memory"] < 0:
        raise describe(OperationFailed, "damaged: the state of the guest is not one of memory:///", operation)
    guest.memory_kib = min(state["memory"], guest.memory_kib + guest.host.free_kib())
    guest.online = min(state["online"], guest.config.effective_maxvcpus)  # another configuration may have fewer
    guest.answers, guest.drivers = state["answers"], state["drivers"]
    guest.limit_kib = guest.target_kib + LIMIT_ROOM_KIB
    guest.booted = True


def _state(text: bytes) -> dict[str, Any] | None:
    """Return the state in a text that `_state_of` wrote; None if it wrote another one."""
    try:
        state = json.loads(text)
    except (ValueError, RecursionError):
        return None
    types = {key: type(value) for key, value in state.items()} if isinstance(state, dict) else {}
    return state if types == _STATE else None


def _read(operation: Operation[Any], path: str, override: DomainConfig | None) -> tuple[DomainConfig, bytes]:
    """Return the configuration and the state in a file."""
    with open(savefile.opened(operation, path), "rb", buffering=0) as file, savefile.readable(operation, path):
        head = savefile.read(file.fileno(), path)
        rest = file.read()
    return _parsed(operation, head, rest, override)


def _parsed(
    operation: Operation[Any], head: savefile.Head, rest: bytes, override: DomainConfig | None
) -> tuple[DomainConfig, bytes]:
    """Return the configuration and the state of a saved domain."""
    if override is None and not head.config:
        message = "the file has no configuration: give the configuration that the domain had"
        raise describe(InvalidArgument, message, operation)
    if override is None:
        override = libxljson.loads(head.config, on_loss="ignore") if head.is_json else xlcfg.loads(head.config)
    if not rest.startswith(_MAGIC):
        message = "saved on real Xen, or damaged: memory:/// restores only what it saved itself"
        operation.log.append("the file has no state that memory:/// can restore")
        raise describe(OperationFailed, message, operation)
    return override, rest[len(_MAGIC) :]


def saved_config(path: str) -> DomainConfig:
    """Return the configuration in a file that `save` wrote."""
    return _read(Operation("saved_config", path), path, None)[0]


def core_dump(machine: Machine, operation: Operation[Any], guest: Guest, path: str) -> Script[None]:
    """Write a stand-in for a domain's memory to a file; a failed dump leaves no file."""
    with appearing_whole(operation, path) as (fd, _):
        with operation.measured(_passing(machine)):
            yield Wait(until=machine.now() + machine.timing.save, ready=lambda: guest.gone)
        check_there(operation, guest)
        with writing(operation, path):
            os.write(fd, b"\x7fELF" + _state_of(guest))


def _passing(machine: Machine) -> Callable[[], float]:
    """Return a function that gives the progress of a save, from 0 to 1."""
    begun = machine.now()
    return lambda: (machine.now() - begun) / (machine.timing.save or 1)
