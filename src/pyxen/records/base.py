"""Base classes of the records that a host returns: conversion to JSON, tables for notebooks, domain handles."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from enum import Enum, IntEnum
from typing import TYPE_CHECKING, Any, ClassVar, Final, Generic, Self
from uuid import UUID

from pyxen.errors import NotFound

if TYPE_CHECKING:
    from typing_extensions import TypeVar  # type checkers bring it; Python's own has defaults from 3.13 on

    Domain_co = TypeVar("Domain_co", default=Any, covariant=True)
else:
    from typing import TypeVar

    Domain_co = TypeVar("Domain_co", covariant=True)

__all__ = ["Domain_co", "OfDomain", "Record", "attach_all", "html_table"]


class Record:
    """A frozen dataclass whose fields are plain values, enumerations, sets of them, uuids, times, or records.

    A field with ``repr=False`` is a secret: only `to_dict` shows it.
    """

    __slots__ = ()
    __dataclass_fields__: ClassVar[dict[str, dataclasses.Field[Any]]]

    def to_dict(self) -> dict[str, Any]:
        """Return all fields as plain data for JSON.

        A uuid becomes text, a time ISO 8601, an enumeration its name, a set a sorted list, a `CpuSet` its text.
        Passwords are included.
        """
        return {field.name: _plain(getattr(self, field.name)) for field in dataclasses.fields(self)}

    def __rich_repr__(self) -> Iterator[tuple[str, Any]]:
        for field in dataclasses.fields(self):
            if field.repr:
                yield field.name, getattr(self, field.name)

    def _repr_html_(self) -> str:
        shown = [(name, _plain(value, secrets=False)) for name, value in self.__rich_repr__()]
        return html_table(["", type(self).__name__], shown)


class OfDomain(Record, Generic[Domain_co]):
    """A record about one domain. If it comes from a host, it can make the domain's handle."""

    __slots__ = ("_handle_of", "_source")  # not fields: copies made by `dataclasses.replace` lack them, and are equal

    _handle_of: Callable[[Any], Domain_co]
    _source: tuple[Any, ...]

    @property
    def domain(self) -> Domain_co:
        """The domain's handle: a `pyxen.Domain`, or a `pyxen.aio.Domain` for an asyncio host. This does no I/O.

        It is None for a record that is about no domain: `DomainDefined`, `DomainUndefined` and `EventsLost`. For type
        checkers, ``DomainInfo[Domain]`` says which handle it is, and ``DomainInfo`` alone does not.

        Raises:
            NotFound: The record was not returned by a host.
        """
        try:
            handle_of = self._handle_of
        except AttributeError:
            message = "this record does not come from a host: look its domain up, as in host.domains[record.domid]"
            raise NotFound(message) from None
        return handle_of(self)

    def attach(self, handle_of: Callable[[Any], Any]) -> Self:
        """Set how `domain` makes its handle, and return this same record; for the two APIs."""
        _keep_handle_of(self, handle_of)
        return self


_keep_handle_of: Final[Callable[[OfDomain, Callable[[Any], Any]], None]] = vars(OfDomain)["_handle_of"].__set__


def attach_all(records: Iterable[OfDomain], handle_of: Callable[[Any], Any]) -> None:
    """Set how the `domain` of each record makes its handle: `OfDomain.attach` for lists, which can be long."""
    for record in records:
        _keep_handle_of(record, handle_of)


def html_table(head: list[str], rows: list[tuple[Any, ...]]) -> str:
    """Return an HTML table; all text is escaped."""
    from html import escape  # for notebooks only

    def row(tag: str, cells: list[Any]) -> str:
        return "<tr>" + "".join(f"<{tag}>{escape(str(cell))}</{tag}>" for cell in cells) + "</tr>"

    return "<table>" + row("th", head) + "".join(row("td", list(cells)) for cells in rows) + "</table>"


def _plain(value: Any, *, secrets: bool = True) -> Any:
    if isinstance(value, Record):
        if secrets:
            return value.to_dict()
        return {name: _plain(each, secrets=False) for name, each in value.__rich_repr__()}
    if isinstance(value, tuple):
        return [_plain(item, secrets=secrets) for item in value]
    if isinstance(value, frozenset):
        return sorted(map(_plain, value))
    if isinstance(value, IntEnum):
        return value.name.lower()
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, UUID):
        return str(value)
    if isinstance(value, datetime):
        return value.isoformat()
    if value is None or isinstance(value, (str, int, float)):
        return value
    return str(value)  # a set of CPUs, in xl's notation
