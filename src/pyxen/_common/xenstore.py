"""Checks and errors of xenstore, the same for every backend."""

from __future__ import annotations

import errno
import os
import re
from typing import Final

from pyxen._common.arguments import check_is
from pyxen._printable import quoted, shown_number
from pyxen.errors import (
    InvalidArgument,
    NodeNotFound,
    OperationFailed,
    XenstoreConflict,
    XenstoreDenied,
    XenstoreError,
    XenstoreQuota,
)
from pyxen.records.xenstore import NodeAccess, NodePermissions

__all__ = [
    "MOST_TRIES",
    "SPECIAL",
    "check_path",
    "check_permissions",
    "check_tries",
    "check_watched",
    "encoded",
    "refused",
    "shown_permissions",
    "stored_permissions",
]

SPECIAL: Final = frozenset({"@introduceDomain", "@releaseDomain"})
"""The names that are not nodes, and that can be watched."""

MOST_TRIES: Final = 1000
"""The most attempts to commit one transaction."""

_PAYLOAD: Final = 4096  # bytes of a request: path, NUL, value; xenstored hangs up on a longer one
_LONGEST: Final = 3072  # XENSTORE_ABS_PATH_MAX
_LONGEST_RELATIVE: Final = 2048  # XENSTORE_REL_PATH_MAX
_FOREIGN: Final = re.compile(r"[^A-Za-z0-9_@/-]")
_LETTERS: Final = {NodeAccess.NONE: "n", NodeAccess.READ: "r", NodeAccess.WRITE: "w", NodeAccess.BOTH: "b"}
_ACCESS: Final = {letter: access for access, letter in _LETTERS.items()}


def check_path(path: object, verb: str) -> str:
    """Return a node's path, if xenstore accepts it.

    Raises:
        InvalidArgument: It is not text, is too long, or is not a path of xenstore.
    """
    check_is(str, path, verb, ", as the path of a node")
    text = str(path)
    foreign = _FOREIGN.search(text)
    if not text:
        problem = "the path is empty"
    elif foreign:
        problem = f"{quoted(text)}: a path has letters, digits and - / _ @ only, and not {foreign[0]!r}"
    elif text.startswith("@"):
        names = ", ".join(sorted(SPECIAL))
        problem = f"{quoted(text)} is not a node: names with @ in front can only be watched ({names})"
    elif text.endswith("/") and text != "/":
        problem = f"{quoted(text)}: a path has no / at its end"
    elif "//" in text:
        problem = f"{quoted(text)}: a path has no two / in a row"
    elif len(text) > (_LONGEST if text.startswith("/") else _LONGEST_RELATIVE):
        problem = f"the path has {len(text)} bytes, and {_LONGEST} are the most ({_LONGEST_RELATIVE} if it is relative)"
    else:
        return text
    raise InvalidArgument(problem, operation=f"xenstore.{verb}")


def check_watched(path: object) -> str:
    """Return a path, or a special name, that can be watched; see `check_path`."""
    return path if isinstance(path, str) and path in SPECIAL else check_path(path, "watch")


def encoded(path: str, value: object) -> bytes:
    """Return a value as bytes, if it fits into a request.

    Raises:
        InvalidArgument: It is neither text nor bytes, or is too long.
    """
    if isinstance(value, str):
        try:
            data = value.encode(errors="surrogateescape")
        except UnicodeEncodeError as error:
            message = f"{path}: the value cannot be written as UTF-8 ({error.reason}): give bytes"
            raise InvalidArgument(message, operation="xenstore.write") from None
    elif isinstance(value, bytes | bytearray | memoryview):
        data = bytes(value)
    else:
        given, shown = type(value).__name__, shown_number(value)
        message = f"{path}: the value is {given}, not text or bytes: convert it, as in str({shown})"
        raise InvalidArgument(message, operation="xenstore.write")
    most = _PAYLOAD - len(path) - 1
    if len(data) > most:
        message = f"{path}: the value has {len(data)} bytes, and {most} are the most that fit with this path"
        raise InvalidArgument(message, operation="xenstore.write")
    return data


def check_permissions(path: str, permissions: object) -> NodePermissions:
    """Return permissions for a node, if they fit into a request.

    Raises:
        InvalidArgument: They are something else, or too many.
    """
    if not isinstance(permissions, NodePermissions):
        message = f"takes NodePermissions(0, domains={{5: 'read'}}) or the like, not {type(permissions).__name__}"
        raise InvalidArgument(message, operation="xenstore.set_permissions")
    if len(path) + sum(len(entry) + 1 for entry in stored_permissions(permissions)) >= _PAYLOAD:
        message = f"{path}: entries for {len(permissions.domains)} domains are too many: use `others`"
        raise InvalidArgument(message, operation="xenstore.set_permissions")
    return permissions


def check_tries(tries: object) -> int:
    """Return a number of attempts.

    Raises:
        InvalidArgument: It is not a whole number from 1 to `MOST_TRIES`.
    """
    if isinstance(tries, bool) or not isinstance(tries, int) or not 1 <= tries <= MOST_TRIES:
        message = f"tries={shown_number(tries)}: give a whole number from 1 to {MOST_TRIES}"
        raise InvalidArgument(message, operation="xenstore.transaction")
    return tries


def stored_permissions(permissions: NodePermissions) -> list[str]:
    """Return permissions as xenstore keeps them: the first entry is the owner's, with the access of all others."""
    entries = [(permissions.owner, permissions.others), *permissions.domains.items()]
    return [f"{_LETTERS[NodeAccess(access)]}{domid}" for domid, access in entries]


def shown_permissions(entries: list[str]) -> NodePermissions:
    """Return permissions that xenstore keeps; of several entries for one domain, the first counts."""
    owner, *others = entries
    domains: dict[int, NodeAccess] = {}
    for entry in others:
        domains.setdefault(int(entry[1:]), _ACCESS[entry[0]])
    return NodePermissions(int(owner[1:]), _ACCESS[owner[0]], domains)


def refused(number: int, verb: str, path: str) -> OperationFailed:
    """Return the exception for a request that xenstore refused with this errno."""
    operation, code = f"xenstore.{verb}", -number
    reason = os.strerror(number)
    match number:
        case errno.ENOENT:
            return NodeNotFound(f"{path}: there is no such node", path=path, operation=operation, code=code)
        case errno.EINVAL:
            message = f"{path}: xenstore does not accept the path or the value"
            return InvalidArgument(message, operation=operation, code=code)
        case errno.EACCES | errno.EPERM:
            message = f"{path}: this domain may not do that; dom0 may"
            return XenstoreDenied(message, path=path, operation=operation, code=code)
        case errno.ENOSPC | errno.E2BIG | errno.EDQUOT:
            message = (
                f"{path}: a quota of xenstore is used up ({reason}): remove nodes, end watches, or raise the quota"
            )
            return XenstoreQuota(message, path=path, operation=operation, code=code)
        case errno.EAGAIN | errno.EBUSY:
            message = f"{path}: others changed the same nodes meanwhile: try again"
            return XenstoreConflict(message, path=path, operation=operation, code=code)
        case _:
            return XenstoreError(f"{path}: xenstore refuses: {reason}", path=path, operation=operation, code=code)
