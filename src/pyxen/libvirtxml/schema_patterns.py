"""Patterns from libvirt's schema. A value that does not match is left out of the XML, and reported as a loss."""

from __future__ import annotations

import ipaddress
import re
from typing import Final

__all__ = [
    "ABSOLUTE_PATH",
    "CPU_SET",
    "DEVICE",
    "DISK",
    "DNS_NAME",
    "HOST",
    "LINE",
    "MODEL",
    "fitting",
    "is_address",
]

ABSOLUTE_PATH: Final = re.compile(r"/[^\n\r]+")
LINE: Final = re.compile(r"[^\n\r]+")
DEVICE: Final = re.compile(r"[a-zA-Z0-9_.\-\\:/]+")
DISK: Final = re.compile(r"(?:ioemu:)?(?:fd|hd|sd|vd|xvd|ubd)[a-zA-Z0-9_]+")
MODEL: Final = re.compile(r"[a-zA-Z0-9_-]+")
DNS_NAME: Final = re.compile(r"[a-zA-Z0-9.-]+")
HOST: Final = re.compile(r"[a-zA-Z0-9.-]+|[0-9a-fA-F:]+:[0-9a-fA-F:.]*")
CPU_SET: Final = re.compile(r"[0-9]+(?:-[0-9]+)?(?:,[0-9]+(?:-[0-9]+)?)*")


def fitting(value: str | None, words: re.Pattern[str]) -> str | None:
    """Return the value if libvirt's schema accepts it; else None."""
    return value if value is not None and words.fullmatch(value) else None


def is_address(text: str) -> bool:
    """Whether a text is an IPv4 or IPv6 address without a zone."""
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return "%" not in text
