"""Documents to test with: the least that a domain needs, and more put into it."""

from __future__ import annotations

from pyxen import libvirtxml
from pyxen.config import DomainConfig

__all__ = ["hvm", "pv", "read", "read_hvm", "read_pv"]


def hvm(inside: str = "", devices: str = "", os: str = "") -> str:
    """Return the XML of an HVM guest."""
    return (
        f"<domain type='xen'>\n<name>web1</name>\n<memory unit='MiB'>512</memory>\n<os><type>hvm</type>{os}</os>\n"
        f"{inside}<devices>{devices}</devices>\n</domain>\n"
    )


def pv(inside: str = "", devices: str = "") -> str:
    """Return the XML of a PV guest."""
    return (
        "<domain type='xen'>\n<name>web1</name>\n<memory unit='MiB'>512</memory>\n"
        f"<os><type>linux</type><kernel>/boot/vmlinuz</kernel></os>\n{inside}<devices>{devices}</devices>\n</domain>\n"
    )


def read(text: str) -> DomainConfig:
    """Read a document that loses nothing."""
    return libvirtxml.loads(text)


def read_hvm(inside: str = "", devices: str = "", os: str = "") -> DomainConfig:
    """Read an HVM guest."""
    return read(hvm(inside, devices, os))


def read_pv(inside: str = "", devices: str = "") -> DomainConfig:
    """Read a PV guest."""
    return read(pv(inside, devices))
