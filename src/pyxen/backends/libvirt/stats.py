"""CPU, memory, disk and network statistics of a domain."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable
from typing import Final, TypeVar

from lxml import etree

from pyxen.backends.libvirt.binding import Connection, VirDomain, VirError, number
from pyxen.backends.libvirt.devices import devices_of
from pyxen.backends.libvirt.inspect import DomainReader, is_unanswered, of_each_active
from pyxen.config import DiskBackend
from pyxen.records.stats import DiskStats, DomainStats, VifStats

__all__ = ["all_stats", "stats"]

T = TypeVar("T")

_OFFLINE: Final = number("VIR_VCPU_OFFLINE")


_BACKENDS: Final = {"phy": DiskBackend.PHY, "qemu": DiskBackend.QDISK, "tap": DiskBackend.TAP}
"""What serves a disk, by libvirt's names."""


def all_stats(connection: Connection, reader: DomainReader) -> tuple[DomainStats, ...]:
    """Return the statistics of all active domains.

    libvirt's Xen driver has no bulk statistics, so each domain is asked for.
    """
    found = of_each_active(connection, functools.partial(stats, reader=reader))
    return tuple(sorted(found, key=lambda each: each.info.domid))


def stats(domain: VirDomain, reader: DomainReader) -> DomainStats:
    """Return a domain's statistics, without devices that the driver has no statistics for."""
    info, moment = reader.one(domain), time.monotonic_ns()
    disks, vifs = [], []
    for (field, name), element in devices_of(domain.XMLDesc(0)).items():
        target = _target(element)
        if field == "disks" and target:
            counts = _asked(functools.partial(domain.blockStats, target))
            if counts is not None:
                known = (count if count >= 0 else None for count in counts[:4])
                disks.append(DiskStats(target, *known, backend=_backend(element)))
        elif field == "vifs" and isinstance(name, int) and target:
            counts = _asked(functools.partial(domain.interfaceStats, target))
            if counts is not None:
                vifs.append(VifStats(name, *(max(count, 0) for count in counts[:8])))
    asked = _asked(domain.vcpus)
    vcpus = [] if asked is None else sorted(asked[0])
    return DomainStats(
        info=info,
        monotonic_ns=moment,
        vcpu_times_ns=tuple(used for _, _, used, _ in vcpus),
        vcpus_online=tuple(state != _OFFLINE for _, state, _, _ in vcpus),
        disks=tuple(sorted(disks, key=lambda disk: disk.vdev)),
        vifs=tuple(vifs),
    )


def _target(element: etree._Element) -> str:
    target = element.find("target")
    return "" if target is None else target.get("dev", "")


def _backend(disk: etree._Element) -> DiskBackend | None:
    driver = disk.find("driver")
    return None if driver is None else _BACKENDS.get(driver.get("name", ""))


def _asked(ask: Callable[[], T]) -> T | None:
    """Return what libvirt tells; None if the driver has no such statistics."""
    try:
        return ask()
    except VirError as error:
        if is_unanswered(error):
            raise
        return None
