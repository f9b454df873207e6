"""Defined domains, which libvirt calls persistent."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final
from uuid import UUID

from pyxen import libvirtxml
from pyxen.backends.libvirt.binding import Connection, VirDomain, VirError, number
from pyxen.backends.libvirt.error_map import is_code, unsupported
from pyxen.backends.libvirt.lifecycle import as_xml
from pyxen.backends.libvirt.unanswered import meet
from pyxen.config import DomainConfig
from pyxen.errors import DomainExists, DomainNotFound, InvalidState
from pyxen.records.info import DefinedDomain

__all__ = ["config", "define", "defined", "has_managed_save", "kept", "undefine"]

_PERSISTENT: Final = number("VIR_CONNECT_LIST_DOMAINS_PERSISTENT")
_INACTIVE: Final = number("VIR_DOMAIN_XML_INACTIVE") | number("VIR_DOMAIN_XML_SECURE")
_DOM0: Final = UUID(int=0)


def define(connection: Connection, config: DomainConfig, domain_type: str, autostart: bool | None) -> DefinedDomain:
    """Define a domain; this replaces the definition with the same uuid or name."""
    named = _look(connection.lookupByName, config.name)
    if named is not None:
        meet(UUID(named.UUIDString()), "define")
    uuid = config.uuid or (UUID(named.UUIDString()) if named is not None else None)
    if named is not None and UUID(named.UUIDString()) != uuid:
        message = f"a domain with this name has the uuid {named.UUIDString()}: leave the uuid out, or undefine that one"
        raise DomainExists(message, operation="define", domain=config.name)
    xml = as_xml(config.replace(uuid=uuid), domain_type)
    before = None if uuid is None else _look(connection.lookupByUUIDString, str(uuid))
    if before is not None and before.name() != config.name:
        domain = _define_renamed(connection, before, xml, config.name)
    else:
        domain = connection.defineXML(xml)
    if autostart is not None:
        domain.setAutostart(autostart)
    return _shown(domain)


def _define_renamed(connection: Connection, before: VirDomain, xml: str, name: str) -> VirDomain:
    """Redefine a domain under another name, which libvirt cannot do in one step."""
    if before.ID() >= 0:
        message = f"the domain with this uuid is running as {before.name()!r} and cannot be renamed"
        raise DomainExists(message, operation="define", domain=name, domid=before.ID())
    old, autostart = before.XMLDesc(_INACTIVE), before.autostart()
    undefine(before)
    try:
        domain = connection.defineXML(xml)
    except VirError:
        connection.defineXML(old).setAutostart(autostart)
        raise
    if autostart:
        domain.setAutostart(autostart)
    return domain


def kept(connection: Connection, verb: str, uuid: UUID) -> VirDomain:
    """Return a defined domain.

    Raises:
        DomainNotFound: No domain is defined with this uuid.
    """
    found = _look(connection.lookupByUUIDString, str(uuid))
    if found is None or not found.isPersistent() or uuid == _DOM0:
        raise DomainNotFound(f"no domain is defined with the uuid {uuid}", operation=verb, domain=str(uuid))
    return found


def config(domain: VirDomain) -> DomainConfig:
    """Return the configuration that is stored, which may differ from that of the running domain."""
    return libvirtxml.loads(domain.XMLDesc(_INACTIVE), on_loss="warn")


def undefine(domain: VirDomain) -> None:
    """Remove a definition; if the domain runs, it continues to run.

    Raises:
        InvalidState: libvirt keeps a managed save of the domain, which would be lost.
    """
    if has_managed_save(domain):
        remedy = "start it, or remove the save with host.libvirt.remove_managed_save"
        message = f"libvirt keeps a managed save of {domain.name()!r}: {remedy}"
        raise InvalidState(message, operation="undefine", domain=domain.name())
    domain.undefineFlags(0)


def defined(connection: Connection) -> list[DefinedDomain]:
    """Return the defined domains by name, without dom0, which libvirt lists among them."""
    found = []
    for domain in connection.listAllDomains(_PERSISTENT):
        try:
            if UUID(domain.UUIDString()) != _DOM0:
                found.append(_shown(domain))
        except VirError as error:
            if not is_code(error, "NO_DOMAIN"):
                raise
    return sorted(found, key=lambda shown: shown.name)


def has_managed_save(domain: VirDomain) -> bool:
    """Tell whether libvirt keeps a managed save of a domain, with which its next start goes on."""
    try:
        return bool(domain.hasManagedSaveImage(0))
    except VirError as error:
        if not unsupported(error):
            raise
        return False


def _look(look: Callable[[str], VirDomain], key: str) -> VirDomain | None:
    try:
        return look(key)
    except VirError as error:
        if is_code(error, "NO_DOMAIN"):
            return None
        raise


def _shown(domain: VirDomain) -> DefinedDomain:
    domid = domain.ID()
    return DefinedDomain(
        name=domain.name(),
        uuid=UUID(domain.UUIDString()),
        autostart=bool(domain.autostart()),
        domid=domid if domid >= 0 else None,
    )
