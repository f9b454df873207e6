"""The configuration of a simulated domain, as libxl would return it."""

from __future__ import annotations

from collections.abc import Iterable

from pyxen._common.defaults import without_foreign_settings
from pyxen.backends.memory.guests import Guest
from pyxen._common.needs import paging_kib
from pyxen.config import Disk, DomainConfig, Scheduler
from pyxen.config.vdev import vdev_number
from pyxen.units import kib_to_mib

__all__ = ["as_given", "config", "kept_config"]


def config(guest: Guest) -> DomainConfig:
    """Return a configuration as libxl does: in canonical form, and without settings of other guest types."""
    scheduler = guest.scheduler.replace(kind=guest.host.pools[guest.poolid].scheduler) if guest.domid else Scheduler()
    found = kept_config(guest).canonical().replace(scheduler=scheduler)
    if found.shadow_memory is None and guest.paging_kib != paging_kib(found):
        found = found.replace(shadow_memory=kib_to_mib(guest.paging_kib))  # it stays when maxmem changes
    return without_foreign_settings(found).replace(domid=None)


def kept_config(guest: Guest) -> DomainConfig:
    """Return what libxl keeps of a configuration, which is also what it sends and saves."""
    return guest.config.replace(disks=as_given(guest, guest.config.disks))


def as_given(guest: Guest, disks: Iterable[Disk]) -> tuple[Disk, ...]:
    """Return disks without the backends that libxl chose for them: it keeps only those that were asked for."""
    asked = guest.asked_backends
    return tuple(disk.replace(backendtype=asked.get(vdev_number(disk.vdev or "") or 0)) for disk in disks)
