"""CPU, memory, disk and network statistics of a domain."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import TypeVar

from lxml import etree

from pyxen.backends.libvirt.binding import VirDomain, VirError
from pyxen.backends.libvirt.devices import devices_of
from pyxen.backends.libvirt.error_map import is_code
from pyxen.backends.libvirt.inspect import DomainReader
from pyxen.info import DiskStats, DomainStats, VifStats

__all__ = ["stats"]

T = TypeVar("T")


def stats(domain: VirDomain, reader: DomainReader) -> DomainStats:
    """Return a domain's statistics, without devices that the driver has no statistics for."""
    info = reader.one(domain)
    disks, vifs = [], []
    for (field, name), element in devices_of(domain.XMLDesc(0)).items():
        target = _target(element)
        if field == "disks" and target:
            counts = _asked(functools.partial(domain.blockStats, target))
            if counts is not None:
                disks.append(DiskStats(target, *(max(count, 0) for count in counts[:4])))
        elif field == "vifs" and isinstance(name, int) and target:
            counts = _asked(functools.partial(domain.interfaceStats, target))
            if counts is not None:
                vifs.append(VifStats(name, *(max(count, 0) for count in counts[:8])))
    times = _asked(domain.vcpus)
    return DomainStats(
        cpu_time_ns=info.cpu_time_ns,
        vcpu_times_ns=() if times is None else tuple(time for _, _, time, _ in sorted(times[0])),
        memory_kib=info.memory_kib,
        disks=tuple(sorted(disks, key=lambda disk: disk.vdev)),
        vifs=tuple(vifs),
    )


def _target(element: etree._Element) -> str:
    target = element.find("target")
    return "" if target is None else target.get("dev", "")


def _asked(ask: Callable[[], T]) -> T | None:
    try:
        return ask()
    except VirError as error:
        if is_code(error, "NO_DOMAIN", "NO_CONNECT", "INVALID_CONN"):
            raise
        return None
