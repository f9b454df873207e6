"""Entries of Xen's own file system (hypfs), and the values in it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TypeAlias

from pyxen.records.base import Record

__all__ = ["HypfsEntry", "HypfsType", "HypfsValue"]

HypfsValue: TypeAlias = str | int | bool | bytes
"""A value in hypfs, as its `HypfsType` says: text, a number, True or False, or bytes."""


class HypfsType(StrEnum):
    """The type of an entry of hypfs."""

    DIR = "dir"
    """A directory: it has entries, and no value."""
    STRING = "string"
    """Text."""
    UINT = "uint"
    """A number, 0 or more."""
    INT = "int"
    """A number."""
    BOOL = "bool"
    """True or False."""
    BLOB = "blob"
    """Bytes."""


@dataclass(frozen=True, slots=True)
class HypfsEntry(Record):
    """An entry of hypfs, as `Hypfs.list` returns it."""

    path: str
    """Its path from the root, e.g. ``/params/loglvl``."""
    type: HypfsType
    """Its type."""
    size: int
    """Size of its content as Xen keeps it, in bytes: compressed, if Xen compresses it."""
    writable: bool
    """Whether it can be written."""

    @property
    def name(self) -> str:
        """The last part of its path."""
        return self.path.rpartition("/")[2]
