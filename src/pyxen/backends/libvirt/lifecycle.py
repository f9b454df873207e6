"""The lifecycle of a domain, from create to destroy, as blocking calls."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Final
from urllib.parse import urlsplit
from uuid import UUID

from pyxen import libvirtxml
from pyxen._common.host_files import files_of_config, missing_file
from pyxen._common.preconditions import gone
from pyxen.backends.base import DomainRef
from pyxen.backends.libvirt.binding import Connection, VirDomain, VirError, number
from pyxen.backends.libvirt.error_map import broke_the_link, is_code, is_gone, unsupported
from pyxen.backends.libvirt.ignored_settings import ignored
from pyxen.backends.libvirt.inspect import DomainReader
from pyxen.backends.libvirt.unanswered import meet
from pyxen.config import DomainConfig
from pyxen.errors import DomainExists, DomainNotFound, FileMissing, InvalidState
from pyxen.losses import report
from pyxen.records.info import DomainInfo, DomainState

__all__ = [
    "as_xml",
    "create",
    "destroy_if_there",
    "explain",
    "find",
    "info_if_there",
    "pause",
    "save_if_there",
    "secrets_of",
    "start",
    "stays_after_poweroff",
    "unpause",
]

_PAUSED: Final = number("VIR_DOMAIN_START_PAUSED")


def find(connection: Connection, verb: str, domain: DomainRef) -> VirDomain:
    """Return an active domain.

    Raises:
        DomainNotFound: The domain is gone.
    """
    try:
        found = connection.lookupByUUIDString(str(domain.uuid))
    except VirError as error:
        if not is_code(error, "NO_DOMAIN"):
            raise
    else:
        if found.ID() == domain.domid:
            return found
    raise gone(verb, domain.domid, domain.uuid, ", or not libvirt's")


def info_if_there(connection: Connection, reader: DomainReader, domain: DomainRef) -> DomainInfo | None:
    """Return information about a domain; None if it is gone."""
    try:
        return reader.one(find(connection, "info", domain))
    except DomainNotFound:
        return None
    except VirError as error:
        if is_gone(error) or is_code(error, "OPERATION_INVALID"):
            return None
        raise


def stays_after_poweroff(domain: VirDomain) -> bool:
    """Tell whether libvirt keeps a domain when its guest powers off."""
    return "<on_poweroff>preserve</on_poweroff>" in domain.XMLDesc(0)


def as_xml(config: DomainConfig, domain_type: str) -> str:
    """Return a configuration as libvirt's XML, and warn of what libvirt's Xen driver then does not carry out.

    Raises:
        ValidationError: Settings conflict.
        LossyConversion: libvirt's XML cannot express all of it.
    """
    config.validate()
    text = libvirtxml.dumps(config, domain_type=domain_type)
    report(ignored(config, domain_type), "warn")
    return text


def secrets_of(config: DomainConfig) -> tuple[str, ...]:
    """Return the passwords in a configuration."""
    found = [config.vnc.passwd, config.spice.passwd, *(vfb.vnc.passwd for vfb in config.vfbs)]
    return tuple(passwd for passwd in found if passwd)


def create(connection: Connection, xml: str, *, paused: bool) -> DomainRef:
    """Create a transient domain: libvirt forgets it when it ends."""
    try:
        domain = connection.createXML(xml, _PAUSED if paused else 0)
    except VirError as error:
        if not paused or not unsupported(error):
            raise
        domain = connection.createXML(xml, 0)  # the test driver cannot start a domain paused
        try:
            domain.suspend()
        except VirError:
            domain.destroy()
            raise
    return DomainRef(domain.ID(), UUID(domain.UUIDString()))


def start(
    connection: Connection, domain: VirDomain, undo: Callable[[Connection, DomainRef], None], *, paused: bool
) -> DomainRef:
    """Start a defined domain; `undo` ends it if it cannot be paused."""
    if domain.ID() >= 0:
        message = f"{domain.name()} is already running, as domain {domain.ID()}"
        raise DomainExists(message, operation="start", domain=domain.name(), domid=domain.ID())
    suspend = False
    try:
        domain.createWithFlags(_PAUSED if paused else 0)
    except VirError as error:
        if not paused or not unsupported(error):
            raise
        domain.createWithFlags(0)  # the test driver cannot start a domain paused
        suspend = True
    ref = DomainRef(connection.lookupByUUIDString(domain.UUIDString()).ID(), UUID(domain.UUIDString()))
    if suspend:
        try:
            domain.suspend()
        except VirError:
            undo(connection, ref)
            raise
    return ref


def destroy_if_there(connection: Connection, domain: DomainRef) -> None:
    """Destroy a domain, unless it is already gone."""
    _end_if_there(connection, domain, lambda found: found.destroy())


def save_if_there(connection: Connection, domain: DomainRef) -> None:
    """End a defined domain with a managed save, unless it is already gone."""
    _end_if_there(connection, domain, lambda found: found.managedSave(0))


def _end_if_there(connection: Connection, domain: DomainRef, end: Callable[[VirDomain], object]) -> None:
    try:
        end(find(connection, "destroy", domain))
    except DomainNotFound:
        pass
    except VirError as error:
        if not is_code(error, "NO_DOMAIN", "OPERATION_INVALID"):
            raise


def pause(domain: VirDomain, reader: DomainReader) -> None:
    """Pause a domain; nothing happens if it is already paused."""
    if reader.one(domain).state is not DomainState.PAUSED:
        domain.suspend()


def unpause(domain: VirDomain, reader: DomainReader) -> None:
    """Unpause a domain; nothing happens if it is not paused."""
    if reader.one(domain).state is DomainState.PAUSED:
        domain.resume()


def explain(connection: Connection, uri: str, config: DomainConfig, verb: str, error: Exception) -> Exception | None:
    """Return a specific exception for a failed create that libvirt's error code does not explain; None if unknown."""
    if broke_the_link(error):
        return None
    if is_code(error, "OPERATION_FAILED", "DOM_EXIST", "OPERATION_INVALID"):
        for other in _namesakes(connection, config):
            try:
                meet(UUID(other.UUIDString()), verb)
            except InvalidState as going:  # the name is taken all the same, for a moment
                return DomainExists(going.message, operation=verb, domain=config.name)
            if other.ID() < 0:  # it is defined, or about to start
                continue
            message = f"domain {other.ID()} already has the name {other.name()!r} and the uuid {other.UUIDString()}"
            return DomainExists(f"{message} (libvirt: {error})", operation=verb, domain=config.name)
    if is_code(error, "OPERATION_FAILED", "INTERNAL_ERROR", "SYSTEM_ERROR") and not urlsplit(uri).netloc:
        missing = missing_file(files_of_config(config))
        if missing is not None:
            found = FileMissing(f"no such file on the host: {missing} (libvirt: {error})", operation=verb)
            found.domain, found.filename = config.name, missing
            return found
    return None


def _namesakes(connection: Connection, config: DomainConfig) -> Collection[VirDomain]:
    found = []
    for look, key in ((connection.lookupByName, config.name), (connection.lookupByUUIDString, str(config.uuid))):
        try:
            domain = look(key)
        except VirError as error:
            if broke_the_link(error):
                raise
            continue
        found.append(domain)
    return found
