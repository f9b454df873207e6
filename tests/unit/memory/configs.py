"""Configurations for a host in memory."""

from __future__ import annotations

from typing import Any

from pyxen import DomainConfig

__all__ = ["config"]


def config(name: str = "web1", **settings: Any) -> DomainConfig:
    """Return a configuration that a host in memory can create."""
    if settings.get("type") != "hvm":
        settings.setdefault("kernel", "/boot/vmlinuz")
    return DomainConfig(name, **{"type": "pvh", "memory": 64, **settings})
