"""The configuration of a running domain, from libvirt's XML."""

from __future__ import annotations

from typing import Final

from pyxen import libvirtxml
from pyxen.backends.libvirt.binding import VirDomain, number
from pyxen.config import DomainConfig

__all__ = ["config"]

_SECURE: Final = number("VIR_DOMAIN_XML_SECURE")


def config(domain: VirDomain) -> DomainConfig:
    """Return the current configuration of a domain, and warn of anything that the model cannot hold."""
    return libvirtxml.loads(domain.XMLDesc(_SECURE), on_loss="warn")
