"""The configuration of a simulated domain, as libxl would return it."""

from __future__ import annotations

from pyxen._common.defaults import without_foreign_settings
from pyxen.backends.memory.guests import Guest
from pyxen.backends.memory.needs import paging_kib
from pyxen.config import Disk, DomainConfig, Scheduler
from pyxen.units import kib_to_mib

__all__ = ["as_given", "config"]


def config(guest: Guest) -> DomainConfig:
    """Return a configuration as libxl does: in canonical form, and without settings of other guest types."""
    scheduler = guest.scheduler.replace(kind=guest.host.pools[guest.poolid].scheduler) if guest.domid else Scheduler()
    found = guest.config.canonical().replace(scheduler=scheduler)
    found = found.replace(disks=tuple(map(as_given, found.disks)))
    if found.shadow_memory is None and guest.paging_kib != paging_kib(found):
        found = found.replace(shadow_memory=kib_to_mib(guest.paging_kib))  # it stays when maxmem changes
    return without_foreign_settings(found).replace(domid=None)


def as_given(disk: Disk) -> Disk:
    """Return a disk without the backend that libxl chose for it, which it does not keep."""
    return disk.replace(backendtype=None)
