"""Settings that libvirt's XML holds and its Xen driver does not carry out."""

from __future__ import annotations

from typing import Final

from pyxen.config import DomainConfig, DomainType
from pyxen.losses import Loss, shown

__all__ = ["ignored"]

_REMEDY: Final = "xenlight:/// on the host itself carries it out"


def ignored(config: DomainConfig, domain_type: str) -> tuple[Loss, ...]:
    """Return the settings that a new domain does not get, though the XML has them and shows them later.

    Args:
        config: The configuration.
        domain_type: libvirt's type of the domain; other drivers than the Xen driver are not known so well.
    """
    if domain_type != "xen":
        return ()
    found = []
    if config.type is DomainType.HVM and config.hpet is False:
        reason = f"libvirt's Xen driver does not switch the HPET off: {_REMEDY}"
        found.append(Loss("hpet", shown(config.hpet), reason))
    if config.bootloader and len(config.bootloader_args) > 1:
        reason = f"libvirt's Xen driver gives the boot loader all arguments as a single one: {_REMEDY}"
        found.append(Loss("bootloader_args", shown(config.bootloader_args), reason))
    return tuple(found)
