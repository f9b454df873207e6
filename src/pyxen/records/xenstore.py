"""Permissions of xenstore's nodes, and changes of them: immutable records, the same from every backend."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final, Literal, TypeAlias

from pyxen._printable import shown_number
from pyxen.errors import InvalidArgument
from pyxen.records.base import Record

__all__ = ["MOST_DOMID", "NodeAccess", "NodeAccessName", "NodeChange", "NodePermissions"]

MOST_DOMID: Final = 0x7FEF
"""The highest number that a domain can have."""


class NodeAccess(StrEnum):
    """What a domain may do with a node of xenstore. dom0 and the owner may do everything."""

    NONE = "none"
    """Nothing; ``n`` in xenstore-chmod."""
    READ = "read"
    """Read it, list its children, and watch it; ``r``."""
    WRITE = "write"
    """Write it, and create and remove children; ``w``."""
    BOTH = "both"
    """Read and write; ``b``."""


NodeAccessName: TypeAlias = Literal["none", "read", "write", "both"]
"""The names of the kinds of access, for type checkers."""


@dataclass(frozen=True, slots=True)
class NodePermissions(Record):
    """Who may do what with a node of xenstore, as ``xenstore-chmod``: ``NodePermissions(0, domains={5: "read"})``.

    A new node has the permissions of the node above it.

    Raises:
        InvalidArgument: A domid is not between 0 and 32751, or an access is not known.
    """

    owner: int
    """Domid of the owner, which may do everything, as may dom0."""
    others: NodeAccess | NodeAccessName = NodeAccess.NONE
    """What the domains that are not in `domains` may do. Default: nothing."""
    domains: Mapping[int, NodeAccess | NodeAccessName] = field(default_factory=dict, hash=False)
    """What certain domains may do, by domid. Default: no domain has an entry."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "owner", _domid(self.owner))
        object.__setattr__(self, "others", _access(self.others))
        object.__setattr__(self, "domains", _domains(self.domains))

    def to_dict(self) -> dict[str, Any]:
        """Return all fields as plain data for JSON; the domids in `domains` are text, as JSON requires."""
        domains = {str(domid): str(access) for domid, access in self.domains.items()}
        return {"owner": self.owner, "others": str(self.others), "domains": domains}


@dataclass(frozen=True, slots=True)
class NodeChange(Record):
    """A change of a watched node of xenstore, or of a node below it. It does not say what changed: read the node."""

    path: str
    """The node that changed: written, created, removed, or given other permissions. For a special watch, its name."""
    watched: str
    """The path that was given to `Xenstore.watch`."""
    lost: bool = False
    """Whether changes below `watched` may be missing before this one: read again everything that you know of it.

    The reader was too slow, or the connection to xenstore was lost for a while.
    """


def _domid(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= MOST_DOMID:
        message = f"{shown_number(value)} is not the number of a domain: it is from 0 to {MOST_DOMID}"
        raise InvalidArgument(message, operation="permissions")
    return value


def _domains(value: object) -> dict[int, NodeAccess]:
    if not isinstance(value, Mapping):
        message = f"domains={shown_number(value)}: give a mapping of domids to access, such as {{5: 'read'}}"
        raise InvalidArgument(message, operation="permissions")
    return {_domid(domid): _access(access) for domid, access in value.items()}


def _access(value: Any) -> NodeAccess:
    try:
        return NodeAccess(value)
    except ValueError:
        names = ", ".join(NodeAccess)
        raise InvalidArgument(f"{shown_number(value)} is not one of {names}", operation="permissions") from None
