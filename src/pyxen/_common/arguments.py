"""Checks of the arguments of verbs: what is of the wrong kind is refused before a backend sees it."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from enum import Enum
from typing import Any, Protocol, TypeAlias, TypeVar, runtime_checkable
from uuid import UUID

from pyxen._printable import quoted, shown_number
from pyxen.config import CpuSet, DomainConfig
from pyxen.errors import InvalidArgument
from pyxen.records.scheduling import CpupoolKey, CpupoolRef
from pyxen.units import kib_to_mib

__all__ = [
    "AnyCpupool",
    "AnyCpus",
    "AnyFile",
    "check_bools",
    "check_config",
    "check_is",
    "check_number",
    "cpupool_of",
    "cpus_of",
    "file_of",
    "fits",
    "member",
    "mib_of",
    "numbers_of",
    "path_of",
]

E = TypeVar("E", bound=Enum)

AnyCpus: TypeAlias = CpuSet | str | Iterable[int]
"""A set of CPUs, or anything that `CpuSet` accepts."""


@runtime_checkable
class SomeCpupool(Protocol):
    """What the handles of CPU pools of both APIs, and their snapshots, have in common."""

    @property
    def number(self) -> int:
        """Its number."""

    @property
    def uuid(self) -> UUID | None:
        """Its uuid."""


AnyCpupool: TypeAlias = str | int | SomeCpupool
"""A CPU pool: its name, its number, a `Cpupool`, or a `CpupoolInfo`."""


def check_is(kind: type[Any], value: object, verb: str, remedy: str = "") -> None:
    """Check the type of an argument.

    Args:
        kind: The type.
        value: The argument.
        verb: The verb that takes it.
        remedy: What else the message says.

    Raises:
        InvalidArgument: It has another type.
    """
    if not isinstance(value, kind):
        given = "None" if value is None else type(value).__name__
        raise InvalidArgument(f"takes a {kind.__name__}, not {given}{remedy}", operation=verb)


def check_config(config: object, verb: str) -> None:
    """Check that an argument is a configuration; see `check_is`."""
    check_is(DomainConfig, config, verb, ": pyxen.xlcfg.load and loads make one of xl's format")


def check_bools(verb: str, **values: object) -> None:
    """Check that arguments are True or False. Anything else would count as one of them: the text "no" as True.

    Args:
        verb: The verb that takes them.
        values: The arguments by name.

    Raises:
        InvalidArgument: One is something else.
    """
    for name, value in values.items():
        if not isinstance(value, bool):
            raise InvalidArgument(f"{name}={shown_number(value)}: takes True or False", operation=verb)


def check_number(value: object, verb: str, *, whole: bool = True) -> None:
    """Check that an argument is a number that Xen can take. True and False are not.

    Raises:
        InvalidArgument: It is something else, or is not ``whole``, or does not fit into 64 bits.
    """
    kind = "whole number" if whole else "number"
    if isinstance(value, bool) or not isinstance(value, int if whole else (int, float)):
        given = repr(value) if value is None or isinstance(value, (bool, float)) else quoted(value)
        raise InvalidArgument(f"takes a {kind}, not {given}", operation=verb)
    if isinstance(value, int) and not fits(value):
        message = f"takes a {kind} that fits into 64 bits, not {shown_number(value)}"
        raise InvalidArgument(message, operation=verb)


def fits(value: int) -> bool:
    """Tell whether a number fits into 64 bits, with a sign or without."""
    return -(1 << 63) <= value < 1 << 64


def numbers_of(values: object, verb: str) -> frozenset[int]:
    """Return whole numbers as a set.

    Raises:
        InvalidArgument: They are something else.
    """
    if isinstance(values, str | bytes | Mapping) or not isinstance(values, Iterable):
        raise InvalidArgument(f"takes whole numbers such as [0, 1], not {quoted(values)}", operation=verb)
    numbers = list(values)
    for number in numbers:
        check_number(number, verb)
    return frozenset(numbers)


def cpus_of(cpus: AnyCpus, verb: str) -> CpuSet:
    """Convert any accepted form to a set of CPUs.

    Raises:
        InvalidArgument: It is no set of CPUs.
    """
    if isinstance(cpus, CpuSet):
        return cpus
    if isinstance(cpus, (bytes, Mapping)) or not isinstance(cpus, Iterable):
        raise InvalidArgument(f"takes a set of CPUs such as '0-3,^1', not {type(cpus).__name__}", operation=verb)
    try:
        return CpuSet(cpus)
    except ValueError as error:
        raise InvalidArgument(str(error), operation=verb) from None


def cpupool_of(pool: AnyCpupool, verb: str) -> CpupoolKey:
    """Convert any accepted form to what identifies a CPU pool.

    Raises:
        InvalidArgument: It is no CPU pool.
    """
    if isinstance(pool, int) and not isinstance(pool, bool):
        check_number(pool, verb)
        return pool
    if isinstance(pool, str):
        return pool
    if isinstance(pool, SomeCpupool):
        return CpupoolRef(pool.number, pool.uuid)
    given = type(pool).__name__
    raise InvalidArgument(f"takes the name or the number of a CPU pool, or its handle, not {given}", operation=verb)


def member(kind: type[E], value: object, verb: str, *, also: tuple[str, ...] = ()) -> E:
    """Return the member of an enumeration that an argument is, or names.

    Args:
        kind: The enumeration.
        value: The argument.
        verb: The verb that takes it.
        also: Other words that the verb takes, for the message.

    Raises:
        InvalidArgument: There is no such member.
    """
    try:
        return kind(value)
    except ValueError:
        names = ", ".join([*(str(one.value) for one in kind), *also])
        raise InvalidArgument(f"{quoted(value)} is not one of {names}", operation=verb) from None


class HasFileno(Protocol):
    """An open file, a pipe or a socket."""

    def fileno(self) -> int:
        """Return its descriptor."""


AnyFile: TypeAlias = str | os.PathLike[str] | int | HasFileno
"""The path of a file on the host; or a descriptor, or an object with one."""


def file_of(value: object, verb: str) -> str | int:
    """Return a path as text, or the descriptor of an open file, a pipe or a socket.

    Raises:
        InvalidArgument: It is neither, or is closed.
    """
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    if isinstance(value, str | os.PathLike) or not hasattr(value, "fileno"):
        return path_of(value, verb)
    try:
        if hasattr(value, "flush"):
            value.flush()
        return int(value.fileno())
    except (OSError, ValueError) as error:
        raise InvalidArgument(f"{quoted(value)} has no descriptor: {error}", operation=verb) from None


def mib_of(verb: str, name: str, mib: float | None, kib: int | None) -> float:
    """Return an amount of memory in MiB, given in MiB or in KiB.

    Raises:
        InvalidArgument: It is not a number; or both are given.
    """
    if kib is None:
        check_number(mib, verb, whole=False)
        return mib  # type: ignore[return-value]  # it is a number, as was just checked
    if mib is not None:
        raise InvalidArgument(f"takes {name} in MiB or {name}_kib in KiB, not both", operation=verb)
    check_number(kib, verb)
    return kib_to_mib(kib)


def path_of(value: object, verb: str) -> str:
    """Return a path as text.

    Raises:
        InvalidArgument: It is not a path.
    """
    path = os.fspath(value) if isinstance(value, os.PathLike) else value
    check_is(str, path, verb, ", as the path")
    return str(path)
