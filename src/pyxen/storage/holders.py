"""The domains of a host that have a block device as a disk."""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterable, Iterator

from pyxen._common.backend_domains import is_served_by_dom0
from pyxen.config import Disk
from pyxen.domain import Domain
from pyxen.errors import DomainNotFound, NotFound
from pyxen.features import Feature
from pyxen.host import Host
from pyxen.storage.volumes import Volume

__all__ = ["Holders", "disks_of"]


class Holders:
    """The domains that have disks.

    Args:
        disks: The disks of all domains of a host, each with the name of its domain.
    """

    def __init__(self, disks: Iterable[tuple[str, Disk]]) -> None:
        self._targets: list[tuple[str, str]] = []
        self._devices: list[tuple[int, str]] = []
        for name, disk in disks:
            if disk.target and is_served_by_dom0(disk):  # other domains have volume groups of their own
                path = disk.target if disk.target.startswith("/") else f"/dev/{disk.target}"  # as the block script
                path = os.path.normpath(f"/{path.lstrip('/')}")  # POSIX keeps two slashes in front
                self._targets.append((path, name))
                device = _device(path)
                if device is not None:
                    self._devices.append((device, name))

    def of(self, volume: Volume) -> tuple[str, ...]:
        """Return the names of the domains that have a volume as a disk."""
        if volume.path is None:
            return ()
        mapped = "-".join(part.replace("-", "--") for part in (volume.group, volume.name))
        paths = {volume.path, f"/dev/{volume.group}/{volume.name}", f"/dev/mapper/{mapped}"}
        device = _device(volume.path)
        found = [name for path, name in self._targets if path in paths]
        found += [name for number, name in self._devices if number == device]
        return tuple(dict.fromkeys(found))


def _device(path: str) -> int | None:
    """Return the number of a block device; None if there is none."""
    with contextlib.suppress(OSError, ValueError):
        found = os.stat(path)
        return found.st_rdev if stat.S_ISBLK(found.st_mode) else None
    return None


def disks_of(host: Host) -> Iterator[tuple[str, Disk]]:
    """Yield the disks of all domains, those that are stored and do not run, too, each with the name of its domain.

    Raises:
        OperationFailed: The host does not answer.
    """
    for domain in host.domains:
        name = domain.name or f"domid {domain.domid}"
        with contextlib.suppress(DomainNotFound):
            for disk in _disks_of_domain(host, domain):
                yield name, disk
    if host.supports(Feature.DEFINE):
        for stored in host.defined():
            with contextlib.suppress(NotFound, DomainNotFound):
                for disk in host.defined_config(stored.name).disks:
                    yield stored.name, disk


def _disks_of_domain(host: Host, domain: Domain) -> Iterator[Disk]:
    if host.supports(Feature.LIVE_DEVICES):
        yield from (live.config for live in domain.disks.list())
    else:
        yield from domain.config().disks
