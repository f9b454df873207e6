"""Conversions of single values between the model and libxl's JSON.

libxl leaves out values that have their default, and so does `encode`, which then returns `OMIT`. `decode` also accepts
defaults, because programs other than libxl write them.
"""

from __future__ import annotations

import re
import uuid as uuids
from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import Any, Final

from pyxen.config.checks import hide_keys
from pyxen.config.cpuset import CpuSet
from pyxen.config.enums import LibxlEnum
from pyxen.errors import ConfigError
from pyxen.losses import Loss
from pyxen.units import kib_to_mib, mib_to_kib

__all__ = [
    "BITMAP",
    "BOOL",
    "DEFBOOL",
    "HOLE",
    "INTBOOL",
    "MAC",
    "MEMORY",
    "OMIT",
    "PAIRS",
    "TEXT",
    "TEXTS",
    "UINT32",
    "UINT32S",
    "UUID",
    "Choice",
    "Choices",
    "Kind",
    "Number",
    "Numbers",
    "Place",
]

OMIT: Final[Any] = object()
"""The result of `Kind.encode` for a value that libxl's JSON leaves out."""

_MEMKB_DEFAULT: Final = 2**64 - 1
_SHOWN: Final = 60
_HUGE: Final = 128  # bits; Python refuses to write out very long numbers
_SECRET: Final = re.compile(r"(?:^|\.)(?:vnc|spice)(?:\.|$)|(?:passw|secret|key)[^.]*$", re.IGNORECASE)
"""The paths of values that may be passwords: libxl keeps them in the structs of VNC and SPICE."""


@dataclass(slots=True)
class Place:
    """The position of a codec: the path of the current value, and the losses found so far."""

    path: str = ""
    losses: list[Loss] = field(default_factory=list)

    def at(self, name: str) -> Place:
        """Return the place of a member. A name that is too long for a message is shortened."""
        name = _cut(name)
        return Place(f"{self.path}.{name}" if self.path else name, self.losses)

    def item(self, index: int) -> Place:
        """Return the place of a list item."""
        return Place(f"{self.path}[{index}]", self.losses)

    def lose(self, value: object, reason: str) -> None:
        """Record the loss of the value at this place."""
        self.losses.append(Loss(self.path, self.shown(value), reason))

    def shown(self, value: object) -> str:
        """Return the value at this place for a message: shortened, not nested, and masked if it may be a password."""
        if isinstance(value, str) and _SECRET.search(self.path):
            return "***"
        return hide_keys(_shown(value))

    def wrong(self, reason: str) -> ConfigError:
        """Return the error to raise about the value at this place."""
        return ConfigError(f"{self.path}: {reason}" if self.path else reason, path=self.path or None)


def _shown(value: object) -> str:
    """Return a value for a message: shortened and not nested."""
    if isinstance(value, dict):
        return "{…}" if value else "{}"
    if isinstance(value, list):
        return "[…]" if value else "[]"
    text = "a huge number" if isinstance(value, int) and value.bit_length() > _HUGE else str(value)
    return _cut(text)


def _cut(text: str) -> str:
    return text if len(text) <= _SHOWN else text[: _SHOWN - 1] + "…"


class Kind(ABC):
    """The representation of one kind of value."""

    @abstractmethod
    def encode(self, value: Any, _place: Place, /) -> Any:
        """Return the value for JSON, or `OMIT`."""

    @abstractmethod
    def decode(self, value: Any, place: Place, /) -> Any:
        """Return the value for the model, or raise `ConfigError` if it has the wrong type."""


def _utf8(value: str, place: Place) -> str:
    """Return the text unchanged if JSON can hold it; a text from a file in another encoding may not fit.

    Raises:
        ConfigError: The text has bytes that are not UTF-8.
    """
    if not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError:
            raise place.wrong("has bytes that are not UTF-8, which libxl's JSON cannot hold: convert it") from None
    return value


class _Text(Kind):
    def encode(self, value: Any, place: Place, /) -> Any:
        return OMIT if value is None else _utf8(value, place)

    def decode(self, value: Any, place: Place, /) -> Any:
        if value is None or isinstance(value, str):
            return value
        raise place.wrong(f"takes a string, not {place.shown(value)}")


class _Mac(_Text):
    """A MAC address; all zeros is libxl's default."""

    def encode(self, value: Any, place: Place, /) -> Any:
        return super().encode(value if value and value.strip("0:") else None, place)

    def decode(self, value: Any, place: Place, /) -> Any:
        found = super().decode(value, place)
        return found if found and found.strip("0:") else None


class _Texts(Kind):
    def encode(self, value: Any, place: Place, /) -> Any:
        return [_utf8(text, place.item(index)) for index, text in enumerate(value)] or OMIT

    def decode(self, value: Any, place: Place, /) -> Any:
        if isinstance(value, list) and all(isinstance(item, str) for item in value):
            return tuple(value)
        raise place.wrong(f"takes a list of strings, not {place.shown(value)}")


class _Pairs(Kind):
    def encode(self, value: Any, place: Place, /) -> Any:
        return {_utf8(name, place): _utf8(text, place.at(name)) for name, text in value} or OMIT

    def decode(self, value: Any, place: Place, /) -> Any:
        if not isinstance(value, dict):
            raise place.wrong(f"takes an object, not {place.shown(value)}")
        kept = {}
        for name, text in value.items():
            if text is None:
                place.at(name).lose("null", "the name has no value")
            else:
                kept[name] = TEXT.decode(text, place.at(name))
        return kept


class _Defbool(Kind):
    _WORDS: Final = {"<default>": None, "True": True, "False": False}

    def encode(self, value: Any, _place: Place, /) -> Any:
        return OMIT if value is None else str(value)

    def decode(self, value: Any, place: Place, /) -> Any:
        if isinstance(value, str) and value in self._WORDS:
            return self._WORDS[value]
        raise place.wrong(f'takes "True", "False" or "<default>", not {place.shown(value)}')


class _Bool(Kind):
    def encode(self, value: Any, _place: Place, /) -> Any:
        return True if value else OMIT

    def decode(self, value: Any, place: Place, /) -> Any:
        if isinstance(value, bool):
            return value
        raise place.wrong(f"takes true or false, not {place.shown(value)}")


class _IntBool(Kind):
    def encode(self, value: Any, _place: Place, /) -> Any:
        return 1 if value else OMIT

    def decode(self, value: Any, place: Place, /) -> Any:
        return bool(_whole(value, place))


class _Uuid(Kind):
    def encode(self, value: Any, _place: Place, /) -> Any:
        return OMIT if value is None or not value.int else str(value)

    def decode(self, value: Any, place: Place, /) -> Any:
        try:
            found = uuids.UUID(value)
        except (ValueError, TypeError, AttributeError):
            raise place.wrong(f"takes a uuid, not {place.shown(value)}") from None
        return found if found.int else None


class _Memory(Kind):
    """An amount of memory: MiB in the model, KiB in JSON."""

    def encode(self, value: Any, _place: Place, /) -> Any:
        return OMIT if value is None else mib_to_kib(value)

    def decode(self, value: Any, place: Place, /) -> Any:
        kib = _whole(value, place)
        return None if kib in (_MEMKB_DEFAULT, -1) else kib_to_mib(kib)


class _Hole(_Memory):
    """An amount of memory for which 0 means libxl's default."""

    def encode(self, value: Any, place: Place, /) -> Any:
        return super().encode(value, place) if value else OMIT


class _Bitmap(Kind):
    """A `CpuSet`, which JSON has as a list of numbers."""

    def encode(self, value: Any, place: Place, /) -> Any:
        if not value:
            return OMIT
        if value.is_symbolic:
            place.lose(value, "its meaning depends on the host: DomainConfig.resolve_cpus resolves it for one host")
            return OMIT
        return list(value.cpus)

    def decode(self, value: Any, place: Place, /) -> Any:
        if not isinstance(value, list):
            raise place.wrong(f"takes a list of numbers, not {place.shown(value)}")
        try:
            return CpuSet(_whole(item, place.item(index)) for index, item in enumerate(value))
        except ValueError as error:
            raise place.wrong(str(error)) from None


@dataclass(frozen=True, slots=True)
class Number(Kind):
    """A number.

    Attributes:
        absent: libxl's default, which it leaves out.
        default: The model's value for that default.
        signed_bits: Width of a number that is signed in the model and unsigned in libxl; 0 for all others.
        bits: Width of an unsigned number; 0 if it is signed, or if its width makes no difference. A libxl built with
            json-c writes unsigned numbers as signed ones, so large ones become negative.
    """

    absent: int = 0
    default: int | None = 0
    signed_bits: int = 0
    bits: int = 0

    def encode(self, value: Any, _place: Place, /) -> Any:
        """See `Kind.encode`."""
        if value is None or value == self.absent:
            return OMIT
        return value % 2**self.signed_bits if self.signed_bits else value

    def decode(self, value: Any, place: Place, /) -> Any:
        """See `Kind.decode`."""
        number = _unsigned(_whole(value, place), self.bits)
        if number == self.absent:
            return self.default
        if self.signed_bits and number >= 2 ** (self.signed_bits - 1):
            number -= 2**self.signed_bits
        return number


@dataclass(frozen=True, slots=True)
class Numbers(Kind):
    """A list of numbers, which libxl leaves out if it is empty.

    Attributes:
        bits: See `Number`.
    """

    bits: int = 0

    def encode(self, value: Any, _place: Place, /) -> Any:
        """See `Kind.encode`."""
        return list(value) if value else OMIT

    def decode(self, value: Any, place: Place, /) -> Any:
        """See `Kind.decode`."""
        if not isinstance(value, list):
            raise place.wrong(f"takes a list of numbers, not {place.shown(value)}")
        return tuple(_unsigned(_whole(item, place.item(index)), self.bits) for index, item in enumerate(value))


@dataclass(frozen=True, slots=True)
class Choice(Kind):
    """A member of an enumeration.

    Attributes:
        members: The enumeration.
        absent: libxl's name of the value that it leaves out: a member, or a name for the model's None.
    """

    members: type[LibxlEnum]
    absent: str = "unknown"

    def encode(self, value: Any, _place: Place, /) -> Any:
        """See `Kind.encode`."""
        return OMIT if value is None or value == self.absent else value.value

    def decode(self, value: Any, place: Place, /) -> Any:
        """See `Kind.decode`."""
        if value is None:  # libxl writes null for a number without a name, which xl leaves in an rdm's policy
            return None
        if not isinstance(value, str):
            raise place.wrong(f"takes a string, not {place.shown(value)}")
        try:
            return self.members(value)
        except ValueError:
            if value.lower() == self.absent:
                return None
            names = ", ".join(self.members)
            raise place.wrong(f"{place.shown(value)!r} is not one of {names}") from None


@dataclass(frozen=True, slots=True)
class Choices(Kind):
    """A list of members of an enumeration."""

    members: type[LibxlEnum]

    def encode(self, value: Any, _place: Place, /) -> Any:
        """See `Kind.encode`."""
        return [item.value for item in value] if value else OMIT

    def decode(self, value: Any, place: Place, /) -> Any:
        """See `Kind.decode`."""
        if not isinstance(value, list):
            raise place.wrong(f"takes a list, not {place.shown(value)}")
        choice = Choice(self.members)
        return tuple(choice.decode(item, place.item(index)) for index, item in enumerate(value))


def _unsigned(number: int, bits: int) -> int:
    """Return an unsigned number of so many bits that was written with a sign; see `Number`."""
    return number + 2**bits if bits and -(2 ** (bits - 1)) <= number < 0 else number


def _whole(value: Any, place: Place) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise place.wrong(f"takes a whole number, not {place.shown(value)}")
    if not -(2**63) <= value < 2**64:
        raise place.wrong("the number is too large for libxl")
    return value


TEXT: Final = _Text()
TEXTS: Final = _Texts()
PAIRS: Final = _Pairs()
DEFBOOL: Final = _Defbool()
BOOL: Final = _Bool()
INTBOOL: Final = _IntBool()
UUID: Final = _Uuid()
MAC: Final = _Mac()
MEMORY: Final = _Memory()
HOLE: Final = _Hole()
BITMAP: Final = _Bitmap()
UINT32: Final = Number(bits=32)
UINT32S: Final = Numbers(bits=32)
