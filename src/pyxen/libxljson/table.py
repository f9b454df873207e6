"""Tables of fields: how a part of the model lies in one or more of libxl's structs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pyxen.libxljson.kinds import OMIT, Kind, Place, shown

__all__ = ["Items", "Nested", "Numbered", "Row", "Table", "assign", "lookup"]


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

    def encode(self, part: Any, place: Place) -> dict[str, Any]:
        """Return the struct that says `part`, without what libxl leaves out."""
        struct = {}
        for row in self.rows:
            if row.old:
                continue
            value = row.kind.encode(lookup(part, row.field), place.at(row.field))
            if value is not OMIT:
                struct[row.key] = value
        return struct

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
            raise place.wrong(f"takes an object, not {shown(struct)}")
        fields: dict[str, Any] = {} if into is None else into
        old: list[tuple[Row, Any]] = []
        for key, value in struct.items():
            row = self._by_key.get(key)
            if row is None:
                if key not in skip:
                    place.at(key).lose(shown(value), "pyxen does not know this key of libxl's")
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
class Items(Kind):
    """A list of structs, which libxl leaves out when it is empty."""

    table: Table

    def encode(self, value: Any, place: Place, /) -> Any:
        """See `Kind.encode`."""
        return [self.table.encode(item, place.item(index)) for index, item in enumerate(value)] or OMIT

    def decode(self, value: Any, place: Place, /) -> Any:
        """See `Kind.decode`."""
        if not isinstance(value, list):
            raise place.wrong(f"takes a list, not {shown(value)}")
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


def lookup(part: Any, field: str) -> Any:
    """Return a field of a part, or with dots a field of a part of it; "" is the part itself."""
    value = part
    for name in field.split(".") if field else ():
        value = getattr(value, name)
    return value


def assign(fields: dict[str, Any], field: str, value: Any, *, only_if_absent: bool = False) -> None:
    """Put a value where `lookup` finds it; a mapping for the field "" is spread out, and None is not put at all."""
    if value is None:
        return
    *path, name = field.split(".")
    for step in path:
        fields = fields.setdefault(step, {})
    if not name and isinstance(value, Mapping):
        for key, inner in value.items():
            assign(fields, key, inner, only_if_absent=only_if_absent)
    elif isinstance(value, dict) and isinstance(fields.get(name), dict):
        fields[name].update(value)
    elif not (only_if_absent and name in fields):
        fields[name] = value
