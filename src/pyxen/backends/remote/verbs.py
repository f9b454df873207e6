"""The verbs that one end can ask of the other, with the types of their arguments and results.

They are the methods of `Backend`, those of `StoreVerbs` for xenstore, and those of `ClaimVerbs`. Their annotations say
how values are sent, so both ends agree on them, and a new method needs nothing here.
"""

from __future__ import annotations

import inspect
import typing
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any, Final, NamedTuple, Protocol, get_args, get_origin
from uuid import UUID

import msgspec
from msgspec import UNSET, Raw, UnsetType

from pyxen.backends.base import Backend
from pyxen.backends.remote.values import Codec, Malformed, codec_of, decoded, encoded
from pyxen.operation import Operation
from pyxen.records.xenstore import NodePermissions

__all__ = ["VERBS", "ClaimVerbs", "StoreVerbs", "Verb", "verb_of"]


class StoreVerbs(Protocol):
    """What can be asked of a remote host's xenstore, see `Store`. A transaction has a number; None is outside."""

    def store_read(self, transaction: int | None, path: str) -> bytes:
        """See `Nodes.read`."""

    def store_read_many(self, transaction: int | None, paths: Sequence[str]) -> Sequence[bytes | None]:
        """See `Nodes.read_many`."""

    def store_children(self, transaction: int | None, path: str) -> Sequence[str]:
        """See `Nodes.children`."""

    def store_write(self, transaction: int | None, path: str, value: bytes) -> None:
        """See `Nodes.write`."""

    def store_mkdir(self, transaction: int | None, path: str) -> None:
        """See `Nodes.mkdir`."""

    def store_remove(self, transaction: int | None, path: str) -> None:
        """See `Nodes.remove`."""

    def store_permissions(self, transaction: int | None, path: str) -> NodePermissions:
        """See `Nodes.permissions`."""

    def store_set_permissions(self, transaction: int | None, path: str, permissions: NodePermissions) -> None:
        """See `Nodes.set_permissions`."""

    def store_begin(self) -> int:
        """See `Store.begin`."""

    def store_commit(self, transaction: int) -> bool:
        """See `StoreTransaction.commit`."""

    def store_abort(self, transaction: int) -> None:
        """See `StoreTransaction.abort`."""

    def store_watch(self, paths: Sequence[str]) -> None:
        """See `Store.watch`; the changes come as messages."""


class ClaimVerbs(Protocol):
    """What can be asked of the claims of a remote host, see `ClaimSet`. A set of claims has a number."""

    def claims_open(self) -> int:
        """See `HostVerbs.claims`."""

    def claims_add(self, claims: int, uuid: UUID, files: Sequence[str]) -> None:
        """See `ClaimSet.add`."""

    def claims_drop(self, claims: int, uuid: UUID) -> None:
        """See `ClaimSet.drop`."""

    def claims_drop_all(self, claims: int) -> None:
        """See `ClaimSet.drop_all`."""

    def claims_close(self, claims: int) -> None:
        """See `ClaimSet.close`."""


_NOT_VERBS: Final = frozenset(
    {"absolute", "claims", "claims_folder", "close", "features", "libvirt", "name", "uri", "xenstore", "xl_conf"}
)
"""Members of `Backend` that are known from the beginning, or lead to other objects."""

_NOT_SENT: Final = frozenset({"self", "fd", "read_fd", "write_fd", "put", "end", "on_event", "on_end"})
"""Parameters that mean something at one end only: there, messages take their place."""

_SENT_AS: Final[Mapping[str, Any]] = {"allow": bool, "creating": int}
"""Parameters that are sent as something else: whether to ask, and the number of the other call."""


class Verb(NamedTuple):
    """A verb.

    Attributes:
        name: Its name.
        takes_time: Whether it is an operation.
        names: The parameters that are sent, in order.
        by_name: Those that are passed by name.
        codecs: How each is sent.
        defaults: The defaults of those that have one.
        wire: All arguments, for msgspec.
        result: How the result is sent.
    """

    name: str
    takes_time: bool
    names: tuple[str, ...]
    by_name: frozenset[str]
    codecs: tuple[Codec, ...]
    defaults: Mapping[str, Any]
    wire: Any
    result: Codec

    def dumps(self, arguments: Mapping[str, Any]) -> Raw:
        """Return the arguments for a message. Those that have their defaults are left out, for older servers."""
        found = {}
        for name, codec in zip(self.names, self.codecs, strict=True):
            value = arguments[name]
            if name in self.defaults and value is self.defaults[name]:
                continue
            found[name] = encoded(value, codec)
        return Raw(msgspec.msgpack.encode(found))

    def loads(self, data: Raw) -> tuple[list[Any], dict[str, Any]]:
        """Return the arguments in a message, those by place and those by name.

        Raises:
            Malformed: They are not valid.
        """
        try:
            found = msgspec.msgpack.decode(data, type=self.wire)
        except (msgspec.MsgspecError, ValueError, RecursionError) as error:  # ValueError: a text that is not UTF-8
            raise Malformed(f"{self.name}: {error}") from None
        by_place: list[Any] = []
        by_name: dict[str, Any] = {}
        for name, codec in zip(self.names, self.codecs, strict=True):
            value = getattr(found, name)
            value = self.defaults[name] if value is UNSET else decoded(value, codec)
            if isinstance(value, str) and "\0" in value:
                raise Malformed(f"{self.name}: {name} has a null character")
            if name in self.by_name:
                by_name[name] = value
            else:
                by_place.append(value)
        return by_place, by_name


def _owner(name: str) -> type[Any]:
    return StoreVerbs if name.startswith("store_") else ClaimVerbs if name.startswith("claims_") else Backend


def _names() -> list[str]:
    found = [name for name, member in inspect.getmembers(Backend, callable) if not name.startswith("_")]
    found += [name for name in vars(StoreVerbs) if name.startswith("store_")]
    found += [name for name in vars(ClaimVerbs) if name.startswith("claims_")]
    return sorted(set(found) - _NOT_VERBS)


VERBS: Final = tuple(_names())
"""The names of all verbs."""


@cache
def verb_of(name: str) -> Verb:
    """Return a verb of `VERBS`."""
    method = getattr(_owner(name), name)
    hints = typing.get_type_hints(method)
    parameters = [each for each in inspect.signature(method).parameters.values() if each.name not in _NOT_SENT]
    codecs = tuple(codec_of(_SENT_AS.get(each.name, hints[each.name])) for each in parameters)
    defaults = {each.name: each.default for each in parameters if each.default is not inspect.Parameter.empty}
    if "allow" in defaults:
        defaults["allow"] = False
    wire = msgspec.defstruct(
        name,
        [(each.name, Raw | UnsetType, UNSET) if each.name in defaults else (each.name, Raw) for each in parameters],
        kw_only=True,
        forbid_unknown_fields=True,
    )
    result = hints["return"]
    takes_time = get_origin(result) is Operation
    if takes_time:
        (result,) = get_args(result)
    return Verb(
        name,
        takes_time,
        tuple(each.name for each in parameters),
        frozenset(each.name for each in parameters if each.kind is inspect.Parameter.KEYWORD_ONLY),
        codecs,
        defaults,
        wire,
        codec_of(None) if name in _WITHOUT_RESULT else codec_of(result),
    )


_WITHOUT_RESULT: Final = frozenset({"subscribe", "console", "qmp_events", "store_watch"})
"""Verbs whose results are messages, or streams."""
