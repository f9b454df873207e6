"""Base classes of all parts of a configuration: fields with checks, comparison, printing and conversion.

A part is a frozen dataclass whose fields are declared with `setting`. It records what is known about each field in one
place: the check it must pass, the Xen release it came with, and the guest types it applies to. The constructor,
`validate`, the linter and the documentation all use it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from itertools import compress, count
from operator import attrgetter, is_, is_not
from typing import Any, ClassVar, Generic, Self, TypeVar, overload

from pyxen.errors import ValidationError

__all__ = [
    "Coerced",
    "Fields",
    "Part",
    "Refused",
    "Setting",
    "did_you_mean",
    "fields_of",
    "getter",
    "join_path",
    "required",
    "setting",
    "settings_of",
]

Held_co = TypeVar("Held_co", covariant=True)
Given_contra = TypeVar("Given_contra", contravariant=True)
Check = Callable[[Any], Any]

_METADATA_KEY = "pyxen"


class Refused(ValueError):
    """The exception with which a check refuses a value; `Part` converts it to a `ValidationError` with the path."""

    def __init__(self, reason: str, path: str = "") -> None:
        super().__init__(reason)
        self.reason = reason
        self.path = path


class Coerced(Generic[Held_co, Given_contra]):
    """For type checkers: a field that has the first type when read and the second in the constructor."""

    @overload
    def __get__(self, instance: None, owner: type[Any]) -> Self: ...
    @overload
    def __get__(self, instance: object, owner: type[Any]) -> Held_co: ...
    def __get__(self, instance: object | None, owner: type[Any]) -> Held_co | Self:
        raise NotImplementedError

    def __set__(self, instance: object, value: Given_contra) -> None:
        raise NotImplementedError


@dataclass(frozen=True, slots=True)
class Setting:
    """Metadata of one field.

    Attributes:
        check: Called with the value; returns the value to store, or raises `Refused`.
        guests: The guest types it applies to; empty for all types.
        since: The Xen release it came with, if newer than 4.17; None otherwise.
        until: The last Xen release on which it does something; None if that is the newest.
        key: Its name in xl.cfg if that differs from the field's; "" if xl.cfg does not have it.
        secret: Masks the value for `repr`; None if it is not secret.
        unit: What its numbers count, for the documentation: ``s``, ``KiB`` …; "" if they have no unit, or are in MiB,
            which the check says.
    """

    check: Check
    guests: frozenset[str] = frozenset()
    since: str | None = None
    until: str | None = None
    key: str | None = None
    secret: Callable[[str], str] | None = None
    unit: str = ""


def setting(
    default: Any,
    check: Check,
    *,
    guests: Iterable[str] = (),
    since: str | None = None,
    until: str | None = None,
    key: str | None = None,
    secret: Callable[[str], str] | None = None,
    unit: str = "",
) -> Any:
    """Declare a field of a part; the arguments are those of `Setting`."""
    known = Setting(check, frozenset(guests), since, until, key, secret, unit)
    return dataclasses.field(default=default, metadata={_METADATA_KEY: known})


def required(check: Check, *, key: str | None = None) -> dict[str, Any]:
    """Return the metadata for `dataclasses.field` of a field without a default."""
    return {_METADATA_KEY: Setting(check, key=key)}


def getter(paths: Sequence[str]) -> Callable[[Any], tuple[Any, ...]]:
    """Return a function that looks up attributes of an object, as `operator.attrgetter`, but always as a tuple."""
    if len(paths) > 1:
        return attrgetter(*paths)
    return lambda value: tuple(attrgetter(path)(value) for path in paths)


class Fields:
    """The fields of a kind of part, in order, laid out so that fields with default values are cheap to skip.

    A domain has some two hundred fields, of which a typical configuration sets ten.

    Attributes:
        names: Their names.
        defaults: Their defaults; `dataclasses.MISSING` for a required field.
        settings: Their metadata, by name.
        newer: Those that are newer than the oldest release, by name: the release that each came with.
        checks: Their checks.
        places: Their indices, by name.
        values: A function that returns the values of a part's fields.
    """

    __slots__ = ("checks", "defaults", "names", "newer", "places", "settings", "values")

    def __init__(self, kind: type[Any]) -> None:
        fields = dataclasses.fields(kind)
        self.names = tuple(field.name for field in fields)
        self.defaults = tuple(field.default for field in fields)
        self.settings: Mapping[str, Setting] = {field.name: field.metadata[_METADATA_KEY] for field in fields}
        self.newer = {name: known.since for name, known in self.settings.items() if known.since}
        self.checks = tuple(known.check for known in self.settings.values())
        self.places = {name: place for place, name in enumerate(self.names)}
        self.values = getter(self.names)

    def touched(self, values: tuple[Any, ...]) -> Iterator[int]:
        """Yield the indices of values that are not identical to the defaults, though some may be equal."""
        return compress(count(), map(is_not, values, self.defaults))

    def differing(self, one: Any, other: Any) -> list[str]:
        """Return the names of the fields whose values in two parts differ."""
        ours, theirs = self.values(one), self.values(other)
        places = compress(count(), map(is_not, ours, theirs))
        return [self.names[place] for place in places if ours[place] != theirs[place]]


_FIELDS: dict[type[Any], Fields] = {}


def fields_of(kind: type[Any]) -> Fields:
    """Return the fields of a kind of part."""
    found = _FIELDS.get(kind)
    if found is None:
        found = _FIELDS[kind] = Fields(kind)
    return found


def settings_of(kind: type[Any]) -> Mapping[str, Setting]:
    """Return the metadata of the fields of a kind of part, by name, in order."""
    return fields_of(kind).settings


def join_path(outer: str, inner: str) -> str:
    """Join two pieces of a path: ``disks`` and ``[1].vdev`` to ``disks[1].vdev``."""
    if not inner or not outer or inner.startswith("["):
        return outer + inner
    return f"{outer}.{inner}"


class Part:
    """A part of a configuration: immutable, compared and hashed by value, with every single field valid."""

    __slots__ = ()
    __dataclass_fields__: ClassVar[dict[str, dataclasses.Field[Any]]]

    def __post_init__(self) -> None:
        fields = fields_of(type(self))
        values = fields.values(self)
        checks = fields.checks
        for index in fields.touched(values):
            value = values[index]
            try:
                kept = checks[index](value)
            except Refused as refused:
                path = join_path(fields.names[index], refused.path)
                raise ValidationError(
                    f"{path}: {refused.reason}", path=path, problems=(f"{path}: {refused.reason}",)
                ) from None
            if kept is not value:
                object.__setattr__(self, fields.names[index], kept)

    # dataclasses would generate these two for every class, which takes a third of the import time.
    def __eq__(self, other: object) -> bool:
        if type(other) is not type(self):
            return NotImplemented
        if other is self:
            return True
        fields = fields_of(type(self))
        return fields.values(self) == fields.values(other)

    def __hash__(self) -> int:
        return hash(fields_of(type(self)).values(self))

    def __repr__(self) -> str:
        shown = []
        for name, value in self.non_defaults():
            mask = settings_of(type(self))[name].secret
            shown.append(f"{name}={_masked(value, mask) if mask else _plain_repr(value)}")
        return f"{type(self).__name__}({', '.join(shown)})"

    def non_defaults(self) -> Iterator[tuple[str, Any]]:
        """Yield name and value of the fields that differ from their defaults."""
        fields = fields_of(type(self))
        names, defaults, values = fields.names, fields.defaults, fields.values(self)
        return iter(
            [
                (names[at], values[at])
                for at in fields.touched(values)
                if defaults[at] is None or values[at] != defaults[at]  # what is not None does not equal it
            ]
        )

    def replace(self, **changes: Any) -> Self:
        """Return a copy with some fields changed.

        Args:
            **changes: Fields and their new values.

        Returns:
            The copy.

        Raises:
            ValidationError: There is no such field, or a value is invalid.
        """
        kind = type(self)
        _check_names(kind, changes)
        fields = fields_of(kind)
        values = fields.values(self)
        places = fields.places
        changed = {name: value for name, value in changes.items() if not _is_same(value, values[places[name]])}
        if not changed:
            return self  # nobody can change either of them
        return kind(**(dict(zip(fields.names, values, strict=True)) | changed))

    def to_dict(self) -> dict[str, Any]:
        """Return the fields that differ from their defaults, as plain data for JSON, YAML and the like."""
        return {name: _plain(value) for name, value in self.non_defaults()}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """Build a part from the result of `to_dict`.

        Args:
            data: Fields by name; missing ones get their defaults.

        Returns:
            The part.

        Raises:
            ValidationError: A field is unknown, missing or invalid; ``path`` names it.
        """
        if not isinstance(data, Mapping):
            raise ValidationError(f"{cls.__name__} is read from a mapping, not from {type(data).__name__}")
        _check_names(cls, data)
        fields = fields_of(cls)
        for name, default in zip(fields.names, fields.defaults, strict=True):
            if default is dataclasses.MISSING and name not in data:
                raise ValidationError(f"{name}: {cls.__name__} needs it", path=name)
        return cls(**data)


def _is_same(value: Any, held: Any) -> bool:
    """Tell whether a value is identical to one that is held, or a tuple of identical items."""
    if value is held:
        return True
    if type(value) is not tuple or type(held) is not tuple or len(value) != len(held):
        return False
    return all(map(is_, value, held))


def _check_names(part: type[Part], names: Iterable[Any]) -> None:
    known = settings_of(part)
    for name in names:
        if name not in known:
            hint = did_you_mean(str(name), known)
            raise ValidationError(f"{name}: {part.__name__} has no such field{hint}", path=str(name))


def did_you_mean(word: str, words: Iterable[str]) -> str:
    """Return a suffix for an error message that suggests the closest valid word, or an empty string."""
    from difflib import get_close_matches  # slow to load, and used only for errors

    near = get_close_matches(word, words, n=1)
    return f"; did you mean {near[0]!r}?" if near else ""


def _plain(value: Any) -> Any:
    if isinstance(value, Part):
        return value.to_dict()
    if isinstance(value, (tuple, frozenset)):
        items = value if isinstance(value, tuple) else sorted(value)
        return [_plain(item) for item in items]
    if isinstance(value, IntEnum):
        return value.name.lower()
    if value is None or isinstance(value, (bool, int, float)):
        return value
    return str(value)


def _plain_repr(value: Any) -> str:
    if isinstance(value, tuple):
        return "(" + ", ".join(map(_plain_repr, value)) + ("," if len(value) == 1 else "") + ")"
    if isinstance(value, frozenset):
        return "{" + ", ".join(repr(item) for item in _plain(value)) + "}"
    return repr(str(value)) if isinstance(value, str) else repr(value)


def _masked(value: Any, mask: Callable[[str], str]) -> str:
    if isinstance(value, tuple):
        return "(" + ", ".join(repr(mask(str(item))) for item in value) + ("," if len(value) == 1 else "") + ")"
    return repr(mask(str(value)))
