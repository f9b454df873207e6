"""Names and uuids of domains, which are unique: the check of a new one.

Xen and libxl would give a uuid twice.

libxl reads the names of all domains, one after the other, before it gives one. See cffi_build/names.h for how it is
told that this was done.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from typing import Any, Final
from uuid import UUID

from pyxen._common.preconditions import name_being_made, name_taken, uuid_being_made, uuid_taken
from pyxen.backends.xenlight.libxl.binding import c_text, ffi, lib
from pyxen.backends.xenlight.libxl.context import Context
from pyxen.errors import ConnectFailed, OperationFailed
from pyxen.operation import Operation
from pyxen.records.info import DomainState

__all__ = ["check_alone", "check_uuid", "free_name", "reserved_name", "reserved_uuid"]

_RESERVED: Final[set[str | UUID]] = set()
"""The names and uuids of the domains that this process makes. What one host gives, another must not give, either."""

os.register_at_fork(after_in_child=_RESERVED.clear)  # what the parent makes, the child does not


@contextlib.contextmanager
def reserved_name(context: Context, operation: Operation[Any], name: str) -> Iterator[bool]:
    """Refuse a name that another domain has or gets. In the block, this process gives it to no other one.

    Yields:
        Whether the name is known to be free. If not, because xenstore or Xen do not answer, libxl has to look.
    """
    if name in _RESERVED:
        raise name_being_made(operation, name)
    _RESERVED.add(name)
    try:
        yield _is_free(context, operation, name)
    finally:
        _RESERVED.discard(name)


@contextlib.contextmanager
def reserved_uuid(operation: Operation[Any], identity: UUID) -> Iterator[None]:
    """Refuse a uuid that another domain gets. In the block, this process gives it to no other one."""
    if identity in _RESERVED:
        raise uuid_being_made(operation, identity)
    _RESERVED.add(identity)
    try:
        yield
    finally:
        _RESERVED.discard(identity)


def check_uuid(context: Context, operation: Operation[Any], identity: UUID) -> set[int]:
    """Refuse a uuid that a domain has, and return the domids of domains with it that are dying."""
    holders = context.hypervisor.with_uuid(identity)
    other = next((info for info in holders if info.state is not DomainState.DYING), None)
    if other is not None:
        raise uuid_taken(operation, context.hypervisor.domain(other.domid) or other)
    return {info.domid for info in holders}


@contextlib.contextmanager
def free_name(context: Context, operation: Operation[Any], name: str, domid: int | None = None) -> Iterator[None]:
    """Refuse a name that another domain than `domid` has. In the block, libxl does not look for one again."""
    if name in _RESERVED:
        raise name_being_made(operation, name)
    known = ffi.new("char[]", c_text(name)) if _is_free(context, operation, name, domid) else ffi.NULL
    lib.pyxen_name_is_free(known)
    try:
        yield
    finally:
        lib.pyxen_name_is_free(ffi.NULL)


def check_alone(
    context: Context, operation: Operation[Any], domid: int, name: str | None, identity: UUID | None
) -> None:
    """Refuse a name or a uuid that another domain has got from another program while it was given to this one."""
    if name is not None:
        _is_free(context, operation, name, domid)
    if identity is None:
        return
    try:
        holders = context.hypervisor.with_uuid(identity)
    except OperationFailed:  # Xen does not list its domains: it was free before
        return
    other = next((info for info in holders if info.domid != domid and info.state is not DomainState.DYING), None)
    if other is not None:
        raise uuid_taken(operation, other)


def _is_free(context: Context, operation: Operation[Any], name: str, domid: int | None = None) -> bool:
    try:
        holders = context.hypervisor.named(name)
    except (ConnectFailed, OperationFailed):
        return False
    other = next((holder for holder in holders if holder != domid), None)
    if other is not None:
        raise name_taken(operation, other, name)
    return True
