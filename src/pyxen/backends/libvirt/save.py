"""Save, restore and core dump of domains."""

from __future__ import annotations

import errno
import os
import re
import threading
from collections.abc import Collection, Hashable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, Final
from urllib.parse import urlsplit
from uuid import UUID

from pyxen._common.shortage import REMEDY, is_shortage
from pyxen._common.whole_file import planted
from pyxen.backends.base import DomainRef
from pyxen.backends.libvirt.binding import Connection, VirDomain, VirError, number
from pyxen.backends.libvirt.error_map import broke_the_link, is_errno, unsupported
from pyxen.backends.libvirt.lifecycle import destroy_if_there
from pyxen.errors import FileMissing, InvalidArgument, OperationFailed, ParseError

__all__ = ["core_dump", "restore", "save", "uuid_in", "why_not_restored"]

_ACTIVE: Final = number("VIR_CONNECT_LIST_DOMAINS_ACTIVE")
_START_PAUSED: Final = number("VIR_DOMAIN_SAVE_PAUSED")
_LIFECYCLE: Final = number("VIR_DOMAIN_EVENT_ID_LIFECYCLE")
_RESTORED: Final = (number("VIR_DOMAIN_EVENT_STARTED"), number("VIR_DOMAIN_EVENT_STARTED_RESTORED"))

_UUID: Final = re.compile(rb"<uuid>\s*([0-9a-fA-F-]{36})\s*</uuid>")
_LONGEST_HEAD: Final = 1024 * 1024
_TO_REPORT: Final = 5.0  # seconds that libvirt has to report a domain that it has restored


def save(domain: VirDomain, ref: DomainRef, path: str, uri: str) -> None:
    """Save a domain to a file on the host, and end it; a failed save leaves no file."""
    with _writing("save", ref, path, uri):
        domain.save(path)


def core_dump(domain: VirDomain, ref: DomainRef, path: str, uri: str) -> None:
    """Write a domain's memory to a file on the host; a failed dump leaves no file."""
    with _writing("core_dump", ref, path, uri):
        domain.coreDump(path, 0)


@contextmanager
def _writing(verb: str, domain: DomainRef, path: str, uri: str) -> Iterator[None]:
    """Remove the partial file of a failed write, if the host is this machine and the file did not exist before.

    The daemon writes as root, and follows links. Before it is asked, this looks whether another user put one there; one
    that appears later is followed.
    """
    is_here = not urlsplit(uri).netloc
    found = planted(path) if is_here else None
    if found is not None:
        message = f"cannot write {path}: another user put {found} into a folder where everybody writes"
        raise InvalidArgument(message, operation=verb, domain=domain.domid, domid=domain.domid)
    was_there = os.path.lexists(path)
    try:
        yield
    except VirError as error:
        if broke_the_link(error):
            raise  # the daemon may still be writing, and end the domain then: the file is all that stays of it
        if is_here and not was_there:
            with suppress(OSError):  # the file does not exist, or this user cannot remove it
                os.unlink(path)
        cannot = is_errno(error, errno.ENOENT, errno.EACCES, errno.ENOTDIR, errno.EISDIR, errno.EROFS)
        if cannot or (is_here and not os.path.isdir(os.path.dirname(path))):  # libxl does not explain a failed dump
            message = f"cannot write {path} on the host: {error}"
            raise InvalidArgument(message, operation=verb, domain=domain.domid, domid=domain.domid) from None
        raise


def uuid_in(path: str, uri: str) -> UUID | None:
    """Return the uuid of the domain in a file that libvirt saved, from the XML at its start; None if unreadable."""
    if urlsplit(uri).netloc or not os.path.isfile(path):  # on another host, or a pipe, which must not be read twice
        return None
    try:
        with open(path, "rb") as file:
            found = _UUID.search(file.read(_LONGEST_HEAD))
    except OSError as error:
        if is_shortage(error):
            raise OperationFailed(f"{path} cannot be read: {error}: {REMEDY}", operation="restore") from error
        return None
    return None if found is None else UUID(found[1].decode())


def restore(
    connection: Connection,
    path: str,
    xml: str | None,
    wanted: UUID | None,
    others: Collection[Hashable],
    *,
    paused: bool,
    listen: bool,
) -> DomainRef:
    """Create a domain from a file on the host.

    libvirt does not return the new domain. It is found by its uuid. If this is unknown, it is the domain that libvirt
    reports as restored, or the only new one.

    Args:
        connection: The connection.
        path: The file.
        xml: What the domain is to be instead of what the file says.
        wanted: The uuid of the domain in the file, if it is known.
        others: The uuids of domains that this process asks for meanwhile.
        paused: Whether the domain is to be paused.
        listen: Whether to find out what libvirt reports. A connection has one listener, so nobody else may listen.
    """
    before = {ref.uuid for ref in _active(connection)}
    suspend = False
    with _reported(connection, listen=listen and wanted is None) as reported:
        try:
            connection.restoreFlags(path, xml, _START_PAUSED if paused else 0)
        except VirError as error:
            if not paused or xml is not None or not unsupported(error):
                raise
            connection.restoreFlags(path, xml, 0)  # the test driver cannot start a domain paused
            suspend = True
        if wanted is not None:
            found = [ref for ref in _active(connection) if ref.uuid == wanted]
        else:
            told = reported.others_than({*before, *others})
            found = [ref for ref in _active(connection) if ref.uuid not in {*before, *others}]
            found = [ref for ref in found if ref.uuid in told] if told else found
    ref = _only(found, path)
    if suspend:
        try:
            connection.lookupByUUIDString(str(ref.uuid)).suspend()
        except VirError:
            destroy_if_there(connection, ref)
            raise
    return ref


def _only(found: Collection[DomainRef], path: str) -> DomainRef:
    if len(found) > 1:
        which = ", ".join(f"{ref.domid} ({ref.uuid})" for ref in found)
        message = f"{path} was restored, but several domains have appeared: look which of them it is: {which}"
        raise OperationFailed(message, operation="restore", domain=path)
    for ref in found:
        return ref
    raise OperationFailed(f"{path} was restored, but its domain has already ended", operation="restore", domain=path)


class _Reports:
    """The domains that libvirt reports as restored."""

    def __init__(self) -> None:
        self._uuids: set[UUID] = set()
        self._changed = threading.Condition()
        self.are_made = False

    def on_event(self, _: Connection, domain: VirDomain, event: int, detail: int, __: Any) -> None:
        """Note a report; called on the thread of libvirt's loop."""
        if (event, detail) == _RESTORED:
            with self._changed:
                self._uuids.add(UUID(domain.UUIDString()))
                self._changed.notify_all()

    def others_than(self, known: Collection[Hashable]) -> set[UUID]:
        """Return the uuids of the domains that were reported, without those that are known; wait for one."""
        with self._changed:
            if self.are_made:
                self._changed.wait_for(lambda: self._uuids.difference(known), _TO_REPORT)
            return self._uuids.difference(known)


@contextmanager
def _reported(connection: Connection, *, listen: bool) -> Iterator[_Reports]:
    """Yield what libvirt reports meanwhile."""
    reports = _Reports()
    callback = None
    if listen:
        with suppress(VirError):  # a driver without events
            callback = connection.domainEventRegisterAny(None, _LIFECYCLE, reports.on_event, None)
            reports.are_made = True
    try:
        yield reports
    finally:
        if callback is not None:
            with suppress(VirError):  # the link broke
                connection.domainEventDeregisterAny(callback)


def why_not_restored(path: str, error: Exception) -> Exception | None:
    """Return the exception if the file is the reason that a restore failed; else None."""
    if broke_the_link(error):
        return None
    if is_errno(error, errno.ENOENT):
        missing = FileMissing(f"no such file on the host: {path} (libvirt: {error})", operation="restore")
        missing.filename = path
        return missing
    if re.search(r"magic|header|image version|corrupt", str(error)):
        return ParseError(f"not a domain saved by libvirt: {error}", source=path)
    return None


def _active(connection: Connection) -> set[DomainRef]:
    return {DomainRef(domain.ID(), UUID(domain.UUIDString())) for domain in connection.listAllDomains(_ACTIVE)}
