"""``memory:///`` URIs, and the simulated hosts that they name."""

from __future__ import annotations

import os
import threading
import zlib
from typing import Any, Final
from urllib.parse import parse_qsl, urlsplit

from pyxen._common.shown_uri import shown
from pyxen.backends.memory.machine import DOM0_MIB, Machine
from pyxen.errors import InvalidArgument

__all__ = ["forget", "machine_at", "named_machine", "register"]

_LEAST: Final = {"memory": DOM0_MIB, "cpus": 1, "nodes": 1, "seed": 0}
_FILES: Final = ("any", "here")
_TEXTS: Final = ("bridges", "xen")
_OF_MACHINE: Final = {*_LEAST, "xen"}

_machines: dict[str, Machine] = {}
_options_of: dict[str, dict[str, Any]] = {}
_lock = threading.Lock()


def machine_at(uri: str) -> Machine:
    """Return the host for a URI: the existing host with that name in this process, or else a new one.

    Raises:
        InvalidArgument: The URI is not valid.
    """
    parts = urlsplit(uri)
    name = parts.path.strip("/")
    if parts.scheme != "memory" or parts.netloc or parts.fragment or "/" in name:
        raise _refused(uri, "use memory:///, or memory:///NAME for a host that stays in this process")
    options = _options(uri, parts.query)
    with _lock:
        if name in _machines:
            if options and options != _options_of.get(name):
                raise _refused(uri, f"the host {name!r} already exists with other options: leave out the options")
            return _machines[name]
        seed = {"seed": zlib.crc32(name.encode())}  # domains of two hosts differ in their uuids, and can meet
        given = {key: options[key] for key in options.keys() & _OF_MACHINE}
        machine = Machine(f"memory:///{name}", **{**seed, **given})
        if options.get("files") == "here":
            machine.exists, machine.files_are_here = os.path.exists, True
        if "bridges" in options:
            machine.bridges = frozenset(options["bridges"].split(","))
        if name:
            _machines[name], _options_of[name] = machine, options
        return machine


def named_machine(uri: str, verb: str) -> Machine | None:
    """Return the host that a URI names; None if this process has no such host.

    Raises:
        InvalidArgument: It is not the URI of a host in memory with a name.
    """
    prefix, _, name = uri.partition("///")
    if prefix != "memory:" or not name or "/" in name or "?" in name:
        seen = shown(uri)
        message = f"{seen!r} is not a host that a domain in memory can move to: give memory:///NAME, or FakeHost.uri"
        raise InvalidArgument(message, operation=verb)
    with _lock:
        return _machines.get(name)


def register(name: str, machine: Machine) -> None:
    """Make ``memory:///NAME`` connect to this host."""
    with _lock:
        _machines[name] = machine


def forget(name: str) -> None:
    """Make ``memory:///NAME`` connect to a new host again."""
    with _lock:
        _machines.pop(name, None)
        _options_of.pop(name, None)


def _after_fork_in_child() -> None:
    """Begin without hosts: those of the parent run on threads that the child has not, and their locks may be held."""
    global _lock  # noqa: PLW0603 (a thread of the parent may hold the old one)
    _lock = threading.Lock()
    _machines.clear()
    _options_of.clear()


os.register_at_fork(after_in_child=_after_fork_in_child)


def _options(uri: str, query: str) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in parse_qsl(query, keep_blank_values=True):
        if key in found:
            raise _refused(uri, f"{key} is given twice")
        if key in _LEAST:
            if not (value.isascii() and value.isdecimal()) or int(value) < _LEAST[key]:
                raise _refused(uri, f"{key}={value} is not valid: use a whole number, at least {_LEAST[key]}")
            found[key] = int(value)
        elif key == "files":
            if value not in _FILES:
                raise _refused(
                    uri, f"files={value} is not valid: use any (every file exists) or here (the files of this machine)"
                )
            found[key] = value
        elif key in _TEXTS:
            found[key] = value
        else:
            raise _refused(uri, f"{key} is not an option; the options are {', '.join([*_LEAST, 'files', *_TEXTS])}")
    return found


def _refused(uri: str, reason: str) -> InvalidArgument:
    return InvalidArgument(f"{shown(uri)}: {reason}", operation="connect")
