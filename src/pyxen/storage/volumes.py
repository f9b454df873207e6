"""Records of LVM: a volume, a volume group."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from pyxen.config import Disk
from pyxen.errors import StorageError
from pyxen.records.base import Record
from pyxen.storage.reports import Row

__all__ = ["GROUP_FIELDS", "VOLUME_FIELDS", "Volume", "VolumeGroupInfo", "group_of", "volume_of"]

VOLUME_FIELDS: Final = (
    "lv_name,vg_name,lv_uuid,lv_path,lv_size,lv_layout,pool_lv,origin,lv_active,lv_device_open,data_percent"
)
GROUP_FIELDS: Final = "vg_name,vg_uuid,vg_size,vg_free,vg_extent_size,pv_count,lv_count,snap_count"


@dataclass(frozen=True, slots=True, kw_only=True)
class Volume(Record):
    """A snapshot of a logical volume, as ``lvs`` shows it."""

    name: str
    """Its name in the group."""
    group: str
    """The name of its volume group."""
    uuid: str
    """LVM's id of it."""
    path: str | None
    """Its block device, e.g. ``/dev/vg0/web1``; None for a thin pool, which is no disk."""
    size_bytes: int
    """Its size, in bytes; that of a thin volume is virtual, and that of another snapshot is its space for changes."""
    pool: str | None
    """The thin pool that it is in; None for a volume with space of its own."""
    snapshot_of: str | None
    """The volume that it is a snapshot of; None if it is none, or if that volume was removed."""
    is_pool: bool
    """Whether it is a thin pool."""
    active: bool
    """Whether the kernel has its device."""
    open: bool
    """Whether the kernel has its device open: a guest, a mount, a program, or a volume of a pool uses it."""
    written_percent: float | None
    """How full a pool, a thin volume or a snapshot is, from 0 to 100; None for others."""
    used_by: tuple[str, ...] = ()
    """The names of the domains that have it as a disk, running or stored; empty if no host was given."""

    def disk(self, vdev: str = "xvda", **settings: Any) -> Disk:
        """Return a disk of a domain that is this volume.

        Args:
            vdev: Its name in the guest.
            **settings: Further settings of `Disk`, e.g. ``readonly=True``.

        Raises:
            StorageError: It is a thin pool.
        """
        if self.path is None:
            raise StorageError(f"{self.group}/{self.name} is a thin pool, and no disk: create a volume in it")
        return Disk(self.path, vdev=vdev, **settings)


@dataclass(frozen=True, slots=True, kw_only=True)
class VolumeGroupInfo(Record):
    """A snapshot of a volume group, as ``vgs`` shows it."""

    name: str
    """Its name."""
    uuid: str
    """LVM's id of it."""
    size_bytes: int
    """Its size, in bytes."""
    free_bytes: int
    """The space that no volume has, in bytes."""
    extent_bytes: int
    """The unit in which volumes get space, in bytes; sizes are rounded up to it."""
    disks: int
    """The number of its physical volumes."""
    volumes: int
    """The number of its logical volumes, with snapshots and pools."""
    snapshots: int
    """The number of its snapshots that are not thin."""


def volume_of(row: Row) -> Volume:
    """Return a volume from a row of ``lvs``.

    Raises:
        StorageError: It lacks a field.
    """
    with _complete():
        percent = row.get("data_percent", "")
        return Volume(
            name=row["lv_name"],
            group=row["vg_name"],
            uuid=row["lv_uuid"],
            path=row["lv_path"] or None,
            size_bytes=int(row["lv_size"]),
            pool=row["pool_lv"] or None,
            snapshot_of=row["origin"] or None,
            is_pool="pool" in row["lv_layout"].split(","),
            active=row["lv_active"] == "active",
            open=row["lv_device_open"] == "open",
            written_percent=float(percent) if percent else None,
        )


def group_of(row: Row) -> VolumeGroupInfo:
    """Return a volume group from a row of ``vgs``.

    Raises:
        StorageError: It lacks a field.
    """
    with _complete():
        return VolumeGroupInfo(
            name=row["vg_name"],
            uuid=row["vg_uuid"],
            size_bytes=int(row["vg_size"]),
            free_bytes=int(row["vg_free"]),
            extent_bytes=int(row["vg_extent_size"]),
            disks=int(row["pv_count"]),
            volumes=int(row["lv_count"]),
            snapshots=int(row["snap_count"]),
        )


@contextlib.contextmanager
def _complete() -> Iterator[None]:
    """Report a row that lacks a field."""
    try:
        yield
    except (LookupError, ValueError) as error:
        raise StorageError(f"the report of LVM lacks a field, or has another form: {error}") from error
