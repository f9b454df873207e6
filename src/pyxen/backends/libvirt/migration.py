"""Migration of domains to other hosts."""

from __future__ import annotations

from typing import Final

from pyxen.backends.libvirt.binding import VirDomain, number
from pyxen.backends.libvirt.connection import connect

__all__ = ["migrate"]

_MIGRATE_LIVE: Final = number("VIR_MIGRATE_LIVE")
_MIGRATE_PAUSED: Final = number("VIR_MIGRATE_PAUSED")
_MIGRATE_KEPT: Final = number("VIR_MIGRATE_PERSIST_DEST") | number("VIR_MIGRATE_UNDEFINE_SOURCE")


def migrate(domain: VirDomain, destination: str, *, paused: bool) -> None:
    """Migrate a domain to another libvirt host: the two daemons talk to each other, and pyxen talks to both."""
    there = connect(destination)
    try:
        with there.use() as connection:
            flags = _MIGRATE_LIVE | (_MIGRATE_PAUSED if paused else 0)
            if domain.isPersistent():
                flags |= _MIGRATE_KEPT
            domain.migrate3(connection, {}, flags)
    finally:
        there.close()
