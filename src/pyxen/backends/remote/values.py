"""Values of verbs as messages have them: what an annotation's values become, and how they are checked when they come.

Each annotation has a wire type, which msgspec checks while it reads, and which has only what msgpack has. Records are
mappings of their fields, parts of a configuration what `Part.to_dict` returns, an event or a device is sent with the
name of its class. A union whose members look alike on the wire becomes a pair: the place of the member, and the value.
"""

from __future__ import annotations

import dataclasses
import functools
import operator
import os
import types
import typing
from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import datetime
from enum import Enum, IntEnum
from functools import cache
from operator import attrgetter
from typing import Annotated, Any, Final, Literal, NamedTuple, TypeVar, Union, get_args, get_origin
from uuid import UUID

import msgspec
from msgspec import UNSET, Meta, Raw, UnsetType

from pyxen import events
from pyxen.backends.refs import DomainRef
from pyxen.backends.remote.messages import DEEPEST, MOST_FRAME
from pyxen.config import CpuSet, Device, Part, PciAddress
from pyxen.config.device_table import CONSOLES, KINDS, Kind
from pyxen.errors import Error
from pyxen.events import Event
from pyxen.records.info import DomainInfo, decoded_later
from pyxen.records.xenstore import MOST_DOMID

__all__ = ["Codec", "Malformed", "codec_of", "decoded", "encoded"]

_ENCODER: Final = msgspec.msgpack.Encoder()
_PLAIN: Final = (bool, int, float, str, bytes, UUID, datetime)
_BY_TEXT: Final[Mapping[type[Any], Callable[[str], Any]]] = {CpuSet: CpuSet, PciAddress: PciAddress}
_LONGEST_CPUSET: Final = 1 << 17


class Malformed(Exception):
    """What the other end sent is not what was agreed on."""


class Codec(NamedTuple):
    """How the values of a type are sent.

    Attributes:
        wire: The type on the wire, for msgspec.
        dump: Makes such a value; None if msgspec can write the value itself.
        load: Makes the value of it again; None if it is the value already. It raises `Malformed` or ValueError.
    """

    wire: Any
    dump: Callable[[Any], Any] | None = None
    load: Callable[[Any], Any] | None = None


def encoded(value: Any, codec: Codec) -> Raw:
    """Return a value for a message.

    Raises:
        ValueError: It does not fit into one.
        TypeError: It has another type.
    """
    data = _ENCODER.encode(value if codec.dump is None else codec.dump(value))
    if len(data) > MOST_FRAME // 2:
        raise ValueError(f"too large for a remote host: {len(data)} bytes, of at most {MOST_FRAME // 2}")
    return Raw(data)


def decoded(data: Raw | bytes, codec: Codec) -> Any:
    """Return the value in a message.

    Raises:
        Malformed: It is not one.
    """
    try:
        value = msgspec.msgpack.decode(data, type=codec.wire)
        return value if codec.load is None else codec.load(value)
    except (msgspec.MsgspecError, ValueError, TypeError, OverflowError, RecursionError, Error) as error:
        raise Malformed(str(error)[:500]) from None


@cache
def codec_of(annotation: Any) -> Codec:
    """Return how the values of a type are sent."""
    if annotation is Any:
        return Codec(Any, None, _checked_depth)
    if annotation is None or annotation is type(None):
        return Codec(None)
    if annotation in _PLAIN:
        return Codec(annotation)
    if isinstance(annotation, TypeVar):
        return codec_of(annotation.__bound__)
    special = _SPECIAL.get(annotation)
    if special is not None:
        return special()
    origin = get_origin(annotation)
    return _of_class(annotation) if origin is None else _of_generic(origin, get_args(annotation))


def _of_class(annotation: Any) -> Codec:
    if issubclass(annotation, Enum):
        return Codec(annotation)
    if issubclass(annotation, os.PathLike):
        return Codec(str, os.fspath)
    if annotation in _BY_TEXT:
        return Codec(Annotated[str, Meta(max_length=_LONGEST_CPUSET)], str, _BY_TEXT[annotation])
    if issubclass(annotation, Event):
        return _by_name({kind.__name__: _record(kind) for kind in _concrete_events()})
    if issubclass(annotation, Part):
        return _part(annotation)
    if dataclasses.is_dataclass(annotation):
        return _record(annotation)
    raise TypeError(f"{annotation!r} cannot be sent")


def _of_generic(origin: Any, arguments: tuple[Any, ...]) -> Codec:
    if origin in {Union, types.UnionType}:
        return _union(arguments)
    if origin is Literal:
        return Codec(Literal[arguments])
    if origin is tuple and arguments[1:] != (Ellipsis,):
        return _pair([codec_of(argument) for argument in arguments])
    if origin in {tuple, list, frozenset, Sequence, Collection}:
        return _items(origin, codec_of(arguments[0]))
    if origin in {dict, Mapping}:
        return _mapping(*(codec_of(argument) for argument in arguments))
    if dataclasses.is_dataclass(origin):
        return _record(origin)
    raise TypeError(f"{origin!r} cannot be sent")


def _items(origin: Any, item: Codec) -> Codec:
    kind: Any = list if origin is Sequence else tuple if origin is Collection else origin
    wire: Any = list[item.wire]  # type: ignore[name-defined]  # a type made at run time
    dump, load = item.dump, item.load

    def dumped(values: Any) -> list[Any]:
        return list(values) if dump is None else [dump(value) for value in values]

    def loaded(values: list[Any]) -> Any:
        return kind(values if load is None else map(load, values))

    return Codec(wire, dumped, None if kind is list and load is None else loaded)


def _pair(items: Sequence[Codec]) -> Codec:
    wire: Any = tuple[tuple(item.wire for item in items)]  # type: ignore[misc]  # a type made at run time
    return Codec(
        wire,
        lambda values: [_dumped(item, value) for item, value in zip(items, values, strict=True)],
        lambda values: tuple(_loaded(item, value) for item, value in zip(items, values, strict=True)),
    )


def _mapping(key: Codec, value: Codec) -> Codec:
    wire: Any = dict[key.wire, value.wire]  # type: ignore[name-defined]  # a type made at run time
    return Codec(
        wire,
        lambda found: {_dumped(key, name): _dumped(value, each) for name, each in found.items()},
        lambda found: {_loaded(key, name): _loaded(value, each) for name, each in found.items()},
    )


def _dumped(codec: Codec, value: Any) -> Any:
    return value if codec.dump is None else codec.dump(value)


def _loaded(codec: Codec, value: Any) -> Any:
    return value if codec.load is None else codec.load(value)


def _union(members: tuple[Any, ...]) -> Codec:
    enums = [member for member in members if isinstance(member, type) and issubclass(member, Enum)]
    numbers = [member for member in enums if issubclass(member, IntEnum)]
    members = tuple(
        member
        for member in members
        if not (member is int and numbers)  # a number that the enumeration lacks stays a number
        and not (get_origin(member) is Literal and enums and not numbers)  # the names of its members
        and not (member is not str and isinstance(member, type) and issubclass(member, os.PathLike))
        and get_origin(member) is not os.PathLike
    )
    optional = type(None) in members
    others = [member for member in members if member is not type(None)]
    if len(others) == 1:
        return _optional(_lenient(others[0]) if others[0] in numbers else codec_of(others[0]), optional=optional)
    codecs = [codec_of(member) for member in others]
    if all(codec.dump is None and codec.load is None for codec in codecs) and _tell_apart(others):
        wires = [codec.wire for codec in codecs]
        return Codec(functools.reduce(operator.or_, [*wires, *([None] if optional else [])]))
    return _optional(_tagged(others, codecs), optional=optional)


def _tell_apart(members: Sequence[Any]) -> bool:
    """Tell whether msgspec can tell values of these types from each other."""
    if str in members and bytes in members:
        return False
    return all(member in {bool, int, str, bytes, float} or get_origin(member) is Literal for member in members)


def _lenient(kind: Any) -> Codec:
    known = {member.value: member for member in kind}
    return Codec(int, None, lambda value: known.get(value, value))


def _optional(codec: Codec, *, optional: bool) -> Codec:
    if not optional:
        return codec
    dump, load = codec.dump, codec.load
    return Codec(
        codec.wire | None,
        None if dump is None else lambda value: None if value is None else dump(value),
        None if load is None else lambda value: None if value is None else load(value),
    )


def _tagged(members: Sequence[Any], codecs: Sequence[Codec]) -> Codec:
    classes = [get_origin(member) or member for member in members]

    def dump(value: Any) -> tuple[int, Raw]:
        for place, kind in enumerate(classes):
            if isinstance(value, kind) and not (isinstance(value, bool) and kind is int):
                return place, encoded(value, codecs[place])
        raise TypeError(f"{type(value).__name__} is not one of {', '.join(kind.__name__ for kind in classes)}")

    def load(value: tuple[int, Raw]) -> Any:
        place, data = value
        if not 0 <= place < len(codecs):
            raise Malformed(f"there is no choice {place} here")
        return decoded(data, codecs[place])

    return Codec(tuple[int, Raw], dump, load)


def _by_name(codecs: Mapping[str, Codec]) -> Codec:
    """Return how values are sent whose class says what they have."""

    def dump(value: Any) -> tuple[str, Raw]:
        name = type(value).__name__
        return name, encoded(value, codecs[name])

    def load(value: tuple[str, Raw]) -> Any:
        name, data = value
        if name not in codecs:
            raise Malformed(f"{name[:100]} is not known here: pyxen is older here than at the other end")
        return decoded(data, codecs[name])

    return Codec(tuple[str, Raw], dump, load)


def _part(kind: type[Part]) -> Codec:
    if kind not in {Part, Device}:
        return Codec(dict[str, Any], kind.to_dict, lambda data: kind.from_dict(_checked_depth(data)))
    return _by_name({each.part.__name__: _part(each.part) for each in KINDS if issubclass(each.part, kind)})


def _concrete_events() -> list[type[Event]]:
    found = [getattr(events, name) for name in events.__all__]
    return [kind for kind in found if kind not in {Event, events.DomainEvent, events.DeviceEvent}]


def _record(kind: Any) -> Codec:
    """Return how a dataclass is sent: as a mapping, in which a field that has a default may be missing."""
    fields = dataclasses.fields(kind)
    codecs = [codec_of(hint) for _, hint in _hinted(kind)]
    declared: list[Any] = []
    for field, codec in zip(fields, codecs, strict=True):
        if field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING:
            declared.append((field.name, codec.wire))
        elif codec.load is None and field.default is not dataclasses.MISSING:
            declared.append((field.name, codec.wire, field.default))
        else:
            declared.append((field.name, codec.wire | UnsetType, UNSET))
    wire = msgspec.defstruct(kind.__name__, declared, kw_only=True)
    load = _loader(kind, fields, codecs)
    if all(codec.dump is None for codec in codecs):
        return Codec(wire, None, load)
    dumps = [(field.name, codec) for field, codec in zip(fields, codecs, strict=True)]
    return Codec(wire, lambda value: {name: _dumped(codec, getattr(value, name)) for name, codec in dumps}, load)


def _hinted(kind: Any) -> list[tuple[dataclasses.Field[Any], Any]]:
    hints = typing.get_type_hints(kind)
    return [(field, hints[field.name]) for field in dataclasses.fields(kind)]


def _loader(kind: Any, fields: Sequence[dataclasses.Field[Any]], codecs: Sequence[Codec]) -> Callable[[Any], Any]:
    """Return what makes a dataclass of what was read. Lists have hundreds of them, so most are made without a loop."""
    plain = [field.name for field in fields if not field.kw_only]
    named = [field.name for field in fields if field.kw_only]
    names, count = [*plain, *named], len(plain)
    values = attrgetter(*names, "__class__")
    by_name = {field.name: codec for field, codec in zip(fields, codecs, strict=True)}
    may_lack = {field.name for field in fields if field.default_factory is not dataclasses.MISSING}
    converted = [
        (place, by_name[name].load) for place, name in enumerate(names) if by_name[name].load or name in may_lack
    ]

    def load(value: Any) -> Any:
        found = list(values(value))
        lacks = False
        for place, convert in converted:
            if found[place] is UNSET:
                lacks = True
            elif convert is not None:
                found[place] = convert(found[place])
        if lacks:
            return kind(**{name: each for name, each in zip(names, found, strict=False) if each is not UNSET})
        return kind(*found[:count], **dict(zip(named, found[count:], strict=False)))

    return load


def _ref() -> Codec:
    def load(value: tuple[int, UUID]) -> DomainRef:
        return DomainRef(*value)

    domid = Annotated[int, Meta(ge=0, le=MOST_DOMID)]
    return Codec(tuple[domid, UUID], lambda ref: (ref.domid, ref.uuid), load)


def _infos() -> Codec:
    """Return how a list of all domains is sent: it is long, and few of its fields are read."""
    one = _record(DomainInfo)
    codecs = {field.name: codec_of(hint) for field, hint in _hinted(DomainInfo)}

    def field_of(name: str, codec: Codec) -> Callable[[tuple[Any, Any]], Any]:
        value_of = attrgetter(name)
        return lambda source: _loaded(codec, value_of(source[1]))

    fields = {name: field_of(name, codec) for name, codec in codecs.items()}

    def load(values: list[Any]) -> list[DomainInfo]:
        return decoded_later((fields, value) for value in values)

    wire: Any = list[one.wire]  # type: ignore[name-defined]  # a type made at run time
    return Codec(wire, one.dump, load)


def _kind() -> Codec:
    by_field = {kind.field: kind for kind in (*KINDS, CONSOLES)}

    def load(name: str) -> Kind:
        if name not in by_field:
            raise Malformed(f"{name[:100]} is not a kind of device here")
        return by_field[name]

    return Codec(str, lambda kind: kind.field, load)


_SPECIAL: Final[Mapping[Any, Callable[[], Codec]]] = {DomainRef: _ref, Kind: _kind, list[DomainInfo]: _infos}


def _checked_depth(value: Any, depth: int = 0) -> Any:
    """Return plain data, if it is not too deep, and has nothing but what JSON has, and bytes.

    Raises:
        Malformed: It is not such data.
    """
    if depth > DEEPEST:
        raise Malformed("lists and mappings lie too deep in each other")
    if isinstance(value, list):
        for item in value:
            _checked_depth(item, depth + 1)
    elif isinstance(value, dict):
        for name, item in value.items():
            if not isinstance(name, str):
                raise Malformed(f"a mapping has a key that is not text: {type(name).__name__}")
            _checked_depth(item, depth + 1)
    elif value is not None and not isinstance(value, (bool, int, float, str, bytes)):
        raise Malformed(f"{type(value).__name__} is not plain data")
    return value
