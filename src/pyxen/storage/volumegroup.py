"""A volume group of LVM as a collection of volumes."""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import Iterable, Iterator, Sized
from dataclasses import replace
from typing import Final

from pyxen._common.arguments import check_bools
from pyxen._durations import timeout_of
from pyxen.config import Disk
from pyxen.errors import Error, InvalidArgument, NotFound, StorageError, VolumeInUse
from pyxen.host import Host
from pyxen.records.base import html_table
from pyxen.storage.arguments import check_name, size_of
from pyxen.storage.holders import Holders, disks_of
from pyxen.storage.reports import OPTIONS, Row, read_report
from pyxen.storage.tools import call
from pyxen.storage.volumes import GROUP_FIELDS, VOLUME_FIELDS, Volume, VolumeGroupInfo, group_of, volume_of

__all__ = ["TIMEOUT", "VolumeGroup", "volume_groups"]

_PACKAGE: Final = "lvm2"
TIMEOUT: Final = 60.0
"""Seconds for each of LVM's tools; they wait for each other."""


_UNCHANGED: Final = ("matches existing size", "No size change")
"""What older and newer releases of LVM say of a volume that has the size already."""


class VolumeGroup(Iterable[Volume], Sized):
    """A volume group: its volumes by name, ``group["web1"]``. Each lookup asks LVM; nothing is cached.

    Args:
        name: Its name, e.g. ``vg0``.
        host: The host whose domains are asked which volumes they have, so that none is removed or shrunk that a domain
            holds. Without it, only the kernel is asked whether the volume is open.
        timeout: Seconds for each of LVM's tools.

    Raises:
        InvalidArgument: The name or `timeout` is not valid.
    """

    def __init__(self, name: str, *, host: Host | None = None, timeout: float = TIMEOUT) -> None:
        self.name = check_name(name, "volume group", "VolumeGroup")
        self._host = host
        self._timeout = timeout_of(timeout, operation="VolumeGroup")

    def __repr__(self) -> str:
        return f"<VolumeGroup: {self.name}>"

    def _repr_html_(self) -> str:
        rows = [(each.name, each.size_bytes, each.pool, ", ".join(each.used_by)) for each in self.volumes()]
        return html_table(["name", "size_bytes", "pool", "used_by"], rows)

    def __getitem__(self, name: str) -> Volume:
        """Return a volume.

        Raises:
            NotFound: There is no such volume, or no such group. It is a LookupError.
            ToolMissing: LVM is not installed.
            StorageError: LVM refused.
        """
        return self._volume(name, "volume")

    def get(self, name: str) -> Volume | None:
        """Return a volume; None if there is none. Errors as `volumes`."""
        return next((each for each in self.volumes() if each.name == name), None)

    def __contains__(self, name: object) -> bool:
        """Tell whether there is a volume with this name."""
        return any(each.name == name for each in self._listed())

    def __iter__(self) -> Iterator[Volume]:
        return iter(self.volumes())

    def __len__(self) -> int:
        return len(self._listed())

    def volumes(self) -> tuple[Volume, ...]:
        """Return all volumes, ordered by name, and which domains have them.

        Raises:
            NotFound: There is no such group.
            ToolMissing: LVM is not installed.
            StorageError: LVM refused.
            OperationFailed: The host does not answer.
        """
        volumes = self._listed()
        holders = Holders(self._disks())
        return tuple(replace(each, used_by=holders.of(each)) for each in volumes)

    def info(self) -> VolumeGroupInfo:
        """Return sizes and numbers of the group. Errors as `volumes`."""
        (row,) = self._report("vgs", "vg", GROUP_FIELDS, "info")
        return group_of(row)

    def create(self, name: str, size: int | str, *, pool: str | None = None) -> Volume:
        """Create a volume, as ``lvcreate -L``. Old signatures of file systems at its beginning are wiped.

        Args:
            name: Its name.
            size: Its size in bytes, or a text such as ``20G``; it is rounded up to whole extents.
            pool: A thin pool of the group that it gets its space from, as it writes.

        Raises:
            InvalidArgument: The name or the size is not valid, or `pool` is no thin pool.
            VolumeExists: The name is taken.
            NotEnoughSpace: The group is full.
            NotFound: There is no such group or pool.
            ToolMissing: LVM is not installed.
            OperationTimeout: LVM did not end in time; nothing is left.
            StorageError: LVM refused.
        """
        verb = "create volume"
        size_bytes = size_of(size, verb)
        check_name(name, "volume", verb)
        if pool is None:
            how = ["--wipesignatures", "y", "--zero", "y", "--size", f"{size_bytes}b"]
        else:
            if not self._volume(pool, verb).is_pool:
                raise InvalidArgument(f"{pool} is no thin pool: create one with create_pool", operation=verb)
            how = ["--virtualsize", f"{size_bytes}b", "--thinpool", pool]
        return self._make(name, [*how, self.name], verb)

    def create_pool(self, name: str, size: int | str) -> Volume:
        """Create a thin pool, as ``lvcreate --type thin-pool``. Arguments and errors as `create`."""
        verb = "create pool"
        size_bytes = size_of(size, verb)
        check_name(name, "volume", verb)
        return self._make(name, ["--type", "thin-pool", "--size", f"{size_bytes}b", self.name], verb)

    def snapshot(self, name: str, snapshot: str, *, size: int | str | None = None) -> Volume:
        """Create a snapshot of a volume, as ``lvcreate -s``. It is a volume that can be written.

        A running guest has written part of its files only: pause it or shut it down before, for a clean copy.

        Args:
            name: The volume.
            snapshot: The name of the snapshot.
            size: The space for what either of them writes from now on, as for `create`; a snapshot that is full is
                lost. A snapshot of a thin volume takes it from the pool, and needs none.

        Raises:
            InvalidArgument: A size is needed and missing, or given and not needed; or the volume is a pool.
        """
        verb = "snapshot"
        volume = self._volume(name, verb)
        if volume.is_pool:
            raise InvalidArgument(f"{name} is a thin pool: take snapshots of its volumes", operation=verb)
        if (volume.pool is None) == (size is None):
            need = "give it a size, for what is written from now on" if size is None else "leave the size out"
            raise InvalidArgument(f"the snapshot of a {'thin ' * bool(volume.pool)}volume: {need}", operation=verb)
        check_name(snapshot, "volume", verb)
        # Thin snapshots are not activated unless they are told to be.
        how = ["--setactivationskip", "n"] if size is None else ["--size", f"{size_of(size, verb)}b"]
        return self._make(snapshot, ["--snapshot", *how, f"{self.name}/{name}"], verb)

    def resize(self, name: str, size: int | str, *, shrink: bool = False) -> Volume:
        """Change the size of a volume, as ``lvresize``. It can grow while a guest uses it.

        The guest's file system is not resized: do that in the guest. libxl does not tell it of the new size.

        Args:
            name: The volume.
            size: The new size, as for `create`.
            shrink: Allow the volume to become smaller. What is behind the new end is lost.

        Raises:
            InvalidArgument: It would become smaller, and `shrink` is False.
            StorageError: It would become smaller, since another program has made it larger meanwhile.
            VolumeInUse: It would become smaller, and is in use.
        """
        verb = "resize"
        size_bytes = size_of(size, verb)
        check_bools(verb, shrink=shrink)
        volume = self._volume(name, verb)
        tool = "lvextend"  # it refuses to shrink one that another program has made larger since then
        if size_bytes < volume.size_bytes:
            tool = "lvresize"
            if not shrink:
                message = f"{name} has {volume.size_bytes} bytes, and what is behind byte {size_bytes} would be lost"
                raise InvalidArgument(f"{message}: shrink=True does it all the same", operation=verb)
            self._check_unused(volume, verb)
        try:
            self._call(tool, "--yes", "--size", f"{size_bytes}b", f"{self.name}/{name}", verb=verb, subject=name)
        except StorageError as error:
            if not any(words in error.message for words in _UNCHANGED):
                raise
            return volume
        found = replace(self._named(name, verb), used_by=volume.used_by)
        if found.size_bytes < size_bytes:  # its exit status was lost
            raise StorageError(f"LVM has not changed the size of {self.name}/{name}", operation=verb)
        return found

    def remove(self, name: str) -> None:
        """Remove a volume, as ``lvremove``. Its content is lost.

        Raises:
            VolumeInUse: A domain has it as a disk, the kernel has it open, it has snapshots, or it is a pool that has
                volumes.
            NotFound: There is no such volume, or no such group.
        """
        verb = "remove volume"
        check_name(name, "volume", verb)
        others = self._listed()
        volume = self._among(others, name, verb)
        inside = [each.name for each in others if each.pool == name]
        thick = [each.name for each in others if each.snapshot_of == name and each.pool is None]
        if inside or thick:
            what = f"is the pool of {', '.join(inside)}" if inside else f"has the snapshots {', '.join(thick)}"
            message = f"{self.name}/{name} {what}: LVM would remove them, too. Remove them first"
            raise VolumeInUse(message, operation=verb)
        self._check_unused(volume, verb)
        status = self._call("lvremove", "--yes", f"{self.name}/{name}", verb=verb, subject=name)
        if status is None and name in self:
            raise StorageError(f"LVM has not removed {self.name}/{name}", operation=verb)

    def _disks(self) -> Iterable[tuple[str, Disk]]:
        """Return the disks of all domains, each with the name of its domain."""
        return () if self._host is None else disks_of(self._host)

    def _check_unused(self, volume: Volume, verb: str) -> None:
        if volume.used_by:
            message = f"{volume.group}/{volume.name} is a disk of {', '.join(volume.used_by)}: detach it first"
            raise VolumeInUse(message, operation=verb)
        if volume.open and not volume.is_pool:  # one without volumes is open for a moment
            message = (
                f"the kernel has {volume.group}/{volume.name} open: it is mounted, or a program or a guest uses it"
            )
            raise VolumeInUse(message, operation=verb)

    def _make(self, name: str, how: list[str], verb: str) -> Volume:
        """Create a volume. It has a tag of its own while it is made, so that what is left of it is known."""
        tag = f"pyxen-{uuid.uuid4().hex}"
        try:
            self._call("lvcreate", "--yes", "--addtag", tag, "--name", name, *how, verb=verb, subject=name)
            self._call("lvchange", "--deltag", tag, f"{self.name}/{name}", verb=verb, subject=name)
        except BaseException:
            with contextlib.suppress(Error):  # the error that is being raised says more
                if self._report("lvs", "lv", "lv_name", verb, "--select", f"lv_tags={tag}"):
                    self._call("lvremove", "--yes", f"@{tag}", verb=verb, subject=name)
            raise
        return self._named(name, verb)

    def _volume(self, name: str, verb: str) -> Volume:
        check_name(name, "volume", verb)
        return self._among(self._listed(), name, verb)

    def _among(self, volumes: tuple[Volume, ...], name: str, verb: str) -> Volume:
        """Return a volume, and which domains have it."""
        found = self._named(name, verb, volumes)
        return replace(found, used_by=Holders(self._disks()).of(found))

    def _named(self, name: str, verb: str, volumes: tuple[Volume, ...] | None = None) -> Volume:
        known = self._listed() if volumes is None else volumes
        found = next((each for each in known if each.name == name), None)
        if found is None:
            names = ", ".join(each.name for each in known) or "none"
            raise NotFound(f"{self.name} has no volume {name}; it has {names}", operation=verb)
        return found

    def _listed(self) -> tuple[Volume, ...]:
        rows = self._report("lvs", "lv", VOLUME_FIELDS, "list volumes")
        return tuple(sorted(map(volume_of, rows), key=lambda each: each.name))

    def _report(self, tool: str, kind: str, fields: str, verb: str, *more: str) -> list[Row]:
        output = call(
            *(tool, *OPTIONS, "--options", fields, *more, self.name),
            verb=verb,
            subject=self.name,
            package=_PACKAGE,
            timeout=self._timeout,
        )
        return read_report(output.stdout, kind)

    def _call(self, *command: str, verb: str, subject: str) -> int | None:
        full = f"{self.name}/{subject}"
        output = call(*command, verb=verb, subject=full, package=_PACKAGE, timeout=self._timeout, changes=True)
        return output.status


def volume_groups(*, timeout: float = TIMEOUT) -> tuple[VolumeGroupInfo, ...]:
    """Return the volume groups of this machine, ordered by name, as ``vgs``.

    Args:
        timeout: Seconds for LVM.

    Raises:
        InvalidArgument: `timeout` is not valid.
        ToolMissing: LVM is not installed.
        StorageError: LVM refused, for example because this user is not root.
    """
    command = ("vgs", *OPTIONS, "--options", GROUP_FIELDS)
    verb = "list volume groups"
    seconds = timeout_of(timeout, operation=verb)
    output = call(*command, verb=verb, subject="LVM", package=_PACKAGE, timeout=seconds)
    return tuple(sorted(map(group_of, read_report(output.stdout, "vg")), key=lambda each: each.name))
