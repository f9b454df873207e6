"""Tables of fields: how a part of the model lies in one or more of libxl's structs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import MISSING, dataclass
from itertools import compress, count
from operator import is_not
from typing import Any

from pyxen.config.base import fields_of, getter
from pyxen.libxljson.value_kinds import OMIT, Kind, Place

__all__ = ["Boxed", "Items", "Nested", "Numbered", "Row", "Table", "assign"]


@dataclass(frozen=True, slots=True)
class Row:
    """One field of a libxl struct.

    Attributes:
        key: Its name in libxl's JSON.
        field: The model's name for it, with dots where it is a part's: ``stubdomain.memory``.
        kind: How its value is said.
        missing: What the model has where the key is missing, if that is not the model's default.
        old: Whether libxl keeps it for old callers only: it is read where nothing newer is there, and never written.
    """

    key: str
    field: str
    kind: Kind
    missing: Any = None
    old: bool = False


class Table:
    """The fields of a libxl struct, by their keys."""

    def __init__(self, *rows: Row) -> None:
        self.rows = rows
        self._by_key = {row.key: row for row in rows}
        self._with_missing = [row for row in rows if row.missing is not None]
        self._written = tuple(row for row in rows if not row.old)
        self._silent: dict[type[Any], tuple[Any, ...]] = {}
        self._values = getter([row.field for row in self._written])

    def encode(self, part: Any, place: Place) -> dict[str, Any]:
        """Return the struct that says `part`, without what libxl leaves out."""
        struct = {}
        for row, value in self.said(part):
            encoded = row.kind.encode(value, place.at(row.field))
            if encoded is not OMIT:
                struct[row.key] = encoded
        return struct

    def said(self, part: Any) -> Iterator[tuple[Row, Any]]:
        """Yield the rows that may have something to say of `part`, each with its value.

        Most of a domain's many fields have their defaults, of which libxl is told nothing: they are passed over
        without a look at their rows.
        """
        silent = self._silent.get(type(part)) or self._find_silent(part)
        values = self._values(part)
        for index in compress(count(), map(is_not, values, silent)):
            yield self._written[index], values[index]

    def _find_silent(self, part: Any) -> tuple[Any, ...]:
        """Return for each row the default of which libxl is told nothing, or something that no part has."""
        silent = []
        for row in self._written:
            default = _default(type(part), row.field)
            place = Place()
            told = default is OMIT or row.kind.encode(default, place) is not OMIT or place.losses
            silent.append(OMIT if told else default)
        self._silent[type(part)] = tuple(silent)
        return self._silent[type(part)]

    def decode(
        self, struct: Any, place: Place, skip: tuple[str, ...] = (), into: dict[str, Any] | None = None
    ) -> dict[str, Any]:
        """Return the fields of the model that `struct` says, as `Part.from_dict` takes them.

        Args:
            struct: What JSON has.
            place: Where that is.
            skip: Keys that the caller deals with.
            into: Fields found so far, to add these to.

        Returns:
            Values by field; a part's fields are in a mapping.
        """
        if not isinstance(struct, dict):
            raise place.wrong(f"takes an object, not {place.shown(struct)}")
        fields: dict[str, Any] = {} if into is None else into
        old: list[tuple[Row, Any]] = []
        for key, value in struct.items():
            row = self._by_key.get(key)
            if row is None:
                if key not in skip:
                    place.at(key).lose(value, "pyxen does not know this key of libxl's")
                continue
            decoded = row.kind.decode(value, place.at(key))
            if row.old:
                old.append((row, decoded))
            else:
                assign(fields, row.field, decoded)
        for row in self._with_missing:
            if row.key not in struct:
                assign(fields, row.field, row.missing)
        for row, decoded in old:
            assign(fields, row.field, decoded, only_if_absent=True)
        return fields


@dataclass(frozen=True, slots=True)
class Nested(Kind):
    """A struct in a struct; libxl writes it even when it is empty, which says nothing, so it is left out here."""

    table: Table

    def encode(self, value: Any, place: Place, /) -> Any:
        """See `Kind.encode`."""
        return self.table.encode(value, place) or OMIT

    def decode(self, value: Any, place: Place, /) -> Any:
        """See `Kind.decode`."""
        return self.table.decode(value, place)


@dataclass(frozen=True, slots=True)
class Boxed(Kind):
    """A single value for which libxl has a struct with nothing else in it."""

    key: str
    kind: Kind

    def encode(self, value: Any, place: Place, /) -> Any:
        """See `Kind.encode`."""
        encoded = self.kind.encode(value, place)
        return OMIT if encoded is OMIT else {self.key: encoded}

    def decode(self, value: Any, place: Place, /) -> Any:
        """See `Kind.decode`."""
        return Table(Row(self.key, self.key, self.kind)).decode(value, place).get(self.key)


@dataclass(frozen=True, slots=True)
class Items(Kind):
    """A list of structs, which libxl leaves out when it is empty."""

    table: Table

    def encode(self, value: Any, place: Place, /) -> Any:
        """See `Kind.encode`."""
        return [self.table.encode(item, place.item(index)) for index, item in enumerate(value)] or OMIT

    def decode(self, value: Any, place: Place, /) -> Any:
        """See `Kind.decode`."""
        if not isinstance(value, list):
            raise place.wrong(f"takes a list, not {place.shown(value)}")
        return [self.table.decode(item, place.item(index)) for index, item in enumerate(value)]


class Numbered(Items):
    """A list of devices with numbers; one that says none has its place in the list, as xl numbers them."""

    def encode(self, value: Any, place: Place, /) -> Any:
        """See `Kind.encode`."""
        structs = super().encode(value, place)
        if structs is not OMIT:
            for index, struct in enumerate(structs):
                struct.setdefault("devid", index)
        return structs


def _default(kind: type[Any], field: str) -> Any:
    """Return the default of a field of a kind of part; `OMIT` where there is none."""
    name, _, inner = field.partition(".")
    fields = fields_of(kind)
    default = fields.defaults[fields.names.index(name)]
    if default is MISSING:
        return OMIT
    return _default(type(default), inner) if inner else default


def assign(fields: dict[str, Any], field: str, value: Any, *, only_if_absent: bool = False) -> None:
    """Put a value where the dots of `field` lead to; None is not put at all."""
    if value is None:
        return
    *path, name = field.split(".")
    for step in path:
        fields = fields.setdefault(step, {})
    if isinstance(value, dict) and isinstance(fields.get(name), dict):
        fields[name].update(value)
    elif not (only_if_absent and name in fields):
        fields[name] = value
