"""Values with a representation of their own in libxl's JSON."""

from __future__ import annotations

import os
import uuid
from typing import Any, Final

from pyxen.config.enums import LibxlEnum, McaCap
from pyxen.libxljson.table import Items, Row, Table
from pyxen.libxljson.value_kinds import OMIT, TEXT, TEXTS, UINT32, Kind, Number, Numbers, Place

__all__ = ["BITS", "FLAGS", "GENERATION_ID", "MANY", "ONE", "PATHS", "QUOTA"]


class _OneOrMany(Kind):
    """Strings: libxl has one field for a single string, and another with a list for two or more."""

    def __init__(self, *, many: bool) -> None:
        self._many = many

    def encode(self, value: Any, place: Place, /) -> Any:
        if self._many:
            return TEXTS.encode(value, place) if len(value) > 1 else OMIT
        return TEXT.encode(value[0], place) if len(value) == 1 else OMIT

    def decode(self, value: Any, place: Place, /) -> Any:
        return TEXTS.decode(value if self._many else [value], place)


class _Flags(Kind):
    """Machine check capabilities: a number with a bit for each."""

    _BITS: Final[dict[LibxlEnum, int]] = {McaCap.LMCE: 1}

    def encode(self, value: Any, _place: Place, /) -> Any:
        return sum(self._BITS[cap] for cap in set(value)) or OMIT

    def decode(self, value: Any, place: Place, /) -> Any:
        mask = Number().decode(value, place)
        if mask & ~sum(self._BITS.values()):
            place.lose(f"{mask:#x}", "pyxen does not know all of these capabilities")
        return tuple(cap for cap, bit in self._BITS.items() if mask & bit)


class _GenerationId(Kind):
    """A generation ID as sixteen numbers. "generate" is resolved here, as in xl."""

    def encode(self, value: Any, _place: Place, /) -> Any:
        if value == "generate":
            return list(os.urandom(16))
        return OMIT if value is None or not value.int else list(value.bytes)

    def decode(self, value: Any, place: Place, /) -> Any:
        numbers = Numbers().decode(value, place)
        if len(numbers) != 16 or not all(0 <= number <= 255 for number in numbers):
            raise place.wrong("takes 16 numbers from 0 to 255")
        found = uuid.UUID(bytes=bytes(numbers))
        return found if found.int else None


class _Bits(Kind):
    """Groups of Viridian enlightenments, by number."""

    def encode(self, value: Any, _place: Place, /) -> Any:
        return sorted(map(int, value)) or OMIT

    def decode(self, value: Any, place: Place, /) -> Any:
        return frozenset(Numbers().decode(value, place))


class _Paths(Kind):
    """Paths in the host's device tree, each in a struct."""

    _TABLE: Final = Table(Row("path", "path", TEXT))

    def encode(self, value: Any, place: Place, /) -> Any:
        return [{"path": path} for path in TEXTS.encode(value, place)] if value else OMIT

    def decode(self, value: Any, place: Place, /) -> Any:
        return [item.get("path") for item in Items(self._TABLE).decode(value, place)]


class _Quota(Kind):
    """Xenstore quotas, by name."""

    _TABLE: Final = Table(Row("quota", "quota", Items(Table(Row("name", "name", TEXT), Row("val", "val", UINT32)))))

    def encode(self, value: Any, place: Place, /) -> Any:
        if not value:
            return OMIT
        items = [(TEXT.encode(name, place), limit) for name, limit in value]
        return {"quota": [{"name": name, **({"val": limit} if limit else {})} for name, limit in items]}

    def decode(self, value: Any, place: Place, /) -> Any:
        items = self._TABLE.decode(value, place).get("quota", [])
        return list({item.get("name"): item.get("val", 0) for item in items}.items())  # the last value of a name wins


ONE: Final = _OneOrMany(many=False)
MANY: Final = _OneOrMany(many=True)
FLAGS: Final = _Flags()
GENERATION_ID: Final = _GenerationId()
BITS: Final = _Bits()
PATHS: Final = _Paths()
QUOTA: Final = _Quota()
