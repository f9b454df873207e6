"""The configuration of a running domain, as libvirt tells it."""

from __future__ import annotations

from typing import Final

from pyxen import libvirtxml
from pyxen.backends.libvirt.binding import VirDomain, number
from pyxen.config import DomainConfig

__all__ = ["config"]

_SECURE: Final = number("VIR_DOMAIN_XML_SECURE")


def config(domain: VirDomain) -> DomainConfig:
    """Return the configuration of a domain as it is now; what the model cannot hold is warned of."""
    return libvirtxml.loads(domain.XMLDesc(_SECURE), on_loss="warn")
