"""Tables that map the fields of a part of the model to the fields of libxl's structs."""

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
        field: Its name in the model, with dots for the fields of a nested part: ``stubdomain.memory``.
        kind: The kind of its value.
        missing: The model's value if the key is missing, where that is not the model's default.
        old: Whether libxl keeps it only for old callers. It is read if no newer field is set, and never written.
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
        """Return the struct for `part`, without the values that libxl leaves out."""
        struct = {}
        for row, value in self.said(part):
            encoded = row.kind.encode(value, place.at(row.field))
            if encoded is not OMIT:
                struct[row.key] = encoded
        return struct

    def said(self, part: Any) -> Iterator[tuple[Row, Any]]:
        """Yield the rows of `part` that may have to be written, each with its value.

        Most of a domain's many fields have defaults that are not written. They are skipped quickly, without
        evaluating their rows.
        """
        silent = self._silent.get(type(part)) or self._find_silent(part)
        values = self._values(part)
        for index in compress(count(), map(is_not, values, silent)):
            yield self._written[index], values[index]

    def _find_silent(self, part: Any) -> tuple[Any, ...]:
        """Return for each row its default if that is not written; else `OMIT`, which no part has as a value."""
        silent = []
        for row in self._written:
            default = _default(type(part), row.field)
            place = Place()
            written = default is OMIT or row.kind.encode(default, place) is not OMIT or place.losses
            silent.append(OMIT if written else default)
        self._silent[type(part)] = tuple(silent)
        return self._silent[type(part)]

    def decode(
        self, struct: Any, place: Place, skip: tuple[str, ...] = (), into: dict[str, Any] | None = None
    ) -> dict[str, Any]:
        """Return the model's fields from `struct`, in the form of `Part.from_dict`.

        Args:
            struct: The struct from JSON.
            place: Its place.
            skip: Keys that the caller handles.
            into: A mapping to add the fields to.

        Returns:
            Values by field; the fields of a nested part are in a mapping.
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
    """A nested struct. libxl writes it even if it is empty; here it is left out then."""

    table: Table

    def encode(self, value: Any, place: Place, /) -> Any:
        """See `Kind.encode`."""
        return self.table.encode(value, place) or OMIT

    def decode(self, value: Any, place: Place, /) -> Any:
        """See `Kind.decode`."""
        return self.table.decode(value, place)


@dataclass(frozen=True, slots=True)
class Boxed(Kind):
    """A single value in a struct with no other fields."""

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
    """A list of structs, which libxl leaves out if it is empty."""

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
    """A list of numbered devices. Like xl, it numbers devices without a number by their place in the list."""

    def encode(self, value: Any, place: Place, /) -> Any:
        """See `Kind.encode`."""
        structs = super().encode(value, place)
        if structs is not OMIT:
            for index, struct in enumerate(structs):
                struct.setdefault("devid", index)
        return structs


def _default(kind: type[Any], field: str) -> Any:
    """Return the default of a part's field; `OMIT` if it has no default."""
    name, _, inner = field.partition(".")
    fields = fields_of(kind)
    default = fields.defaults[fields.names.index(name)]
    if default is MISSING:
        return OMIT
    return _default(type(default), inner) if inner else default


def assign(fields: dict[str, Any], field: str, value: Any, *, only_if_absent: bool = False) -> None:
    """Set the value of a field, whose name may have dots; None is not set."""
    if value is None:
        return
    *path, name = field.split(".")
    for step in path:
        fields = fields.setdefault(step, {})
    if isinstance(value, dict) and isinstance(fields.get(name), dict):
        fields[name].update(value)
    elif not (only_if_absent and name in fields):
        fields[name] = value
