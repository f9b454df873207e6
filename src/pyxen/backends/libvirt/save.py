"""Save, restore and core dump of domains."""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Final
from urllib.parse import urlsplit
from uuid import UUID

from pyxen._common.shortage import REMEDY, is_shortage
from pyxen.backends.base import DomainRef
from pyxen.backends.libvirt.binding import Connection, VirDomain, VirError, number
from pyxen.backends.libvirt.error_map import is_errno, unsupported
from pyxen.backends.libvirt.lifecycle import destroy_if_there
from pyxen.errors import FileMissing, InvalidArgument, OperationFailed, ParseError

__all__ = ["core_dump", "restore", "save", "uuid_in", "why_not_restored"]

_ACTIVE: Final = number("VIR_CONNECT_LIST_DOMAINS_ACTIVE")
_START_PAUSED: Final = number("VIR_DOMAIN_SAVE_PAUSED")

_UUID: Final = re.compile(rb"<uuid>\s*([0-9a-fA-F-]{36})\s*</uuid>")
_LONGEST_HEAD: Final = 1024 * 1024


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
    """Remove the partial file of a failed write, if the host is this machine and the file did not exist before."""
    is_here = not urlsplit(uri).netloc
    was_there = os.path.lexists(path)
    try:
        yield
    except VirError as error:
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


def restore(connection: Connection, path: str, xml: str | None, wanted: UUID | None, *, paused: bool) -> DomainRef:
    """Create a domain from a file on the host.

    libvirt does not return the new domain: it is found by its uuid, or as the one that was not there before.
    """
    before = _active(connection)
    flags = _START_PAUSED if paused else 0
    suspend = False
    try:
        connection.restoreFlags(path, xml, flags)
    except VirError as error:
        if not paused or xml is not None or not unsupported(error):
            raise
        connection.restoreFlags(path, xml, 0)  # the test driver cannot start a domain paused
        suspend = True
    new = _active(connection) - before
    ref = next((ref for ref in new if wanted is None or ref.uuid == wanted), None)
    if ref is None:
        raise OperationFailed(
            f"{path} was restored, but its domain has already ended", operation="restore", domain=path
        )
    if suspend:
        try:
            connection.lookupByUUIDString(str(ref.uuid)).suspend()
        except VirError:
            destroy_if_there(connection, ref)
            raise
    return ref


def why_not_restored(path: str, error: Exception) -> Exception | None:
    """Return the exception if the file is the reason that a restore failed; else None."""
    if is_errno(error, errno.ENOENT):
        missing = FileMissing(f"no such file on the host: {path} (libvirt: {error})", operation="restore", domain=path)
        missing.filename = path
        return missing
    if re.search(r"magic|header|image version|corrupt", str(error)):
        return ParseError(f"not a domain saved by libvirt: {error}", source=path)
    return None


def _active(connection: Connection) -> set[DomainRef]:
    return {DomainRef(domain.ID(), UUID(domain.UUIDString())) for domain in connection.listAllDomains(_ACTIVE)}
