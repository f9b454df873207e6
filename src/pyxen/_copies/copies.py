"""Copies of one guest: each with a name, a uuid, MAC addresses and disks of its own."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final
from uuid import UUID, uuid4

from pyxen._common.arguments import check_config, check_is, check_number
from pyxen._common.backend_domains import is_served_by_dom0
from pyxen._common.claims import Claim, ClaimSet
from pyxen._common.defaults import with_memory
from pyxen._common.overlays import BASE_FORMATS
from pyxen._common.preconditions import not_enough_memory
from pyxen._functions import check_answer, check_function
from pyxen._printable import shown_number
from pyxen.backends.base import Backend
from pyxen.config import Disk, DiskFormat, DomainConfig, Mac
from pyxen.errors import Error, InvalidArgument, OperationFailed
from pyxen.operation import Operation
from pyxen.units import mib_to_kib

__all__ = [
    "AT_ONCE",
    "Copier",
    "Copy",
    "balloons",
    "check_identity",
    "check_room",
    "checked_count",
    "discard",
    "honoured",
    "remove_files",
    "saved_config",
]

AT_ONCE: Final = min(8, 2 * (os.cpu_count() or 1))
"""How many guests are made or destroyed at a time: as many as is quickest."""

_MOST: Final = 4096
"""The most copies of one guest."""

_ONLY_ONE: Final = {"pcis": "PCI devices", "usbdevs": "USB devices", "vtpms": "virtual TPMs", "dtdevs": "devices"}
"""What only one guest can have at a time."""


@dataclass(frozen=True, slots=True)
class Copy:
    """One copy.

    Attributes:
        uuid: Its uuid.
        config: Its configuration.
        files: The files that were made for it.
    """

    uuid: UUID
    config: DomainConfig
    files: tuple[str, ...]


@dataclass
class Copier:
    """Makes copies of one guest.

    Attributes:
        backend: The host.
        verb: The verb that needs them, for errors.
        base: The configuration of the guest.
        disks: Returns the disks of a copy, from its configuration without disks of its own; None makes overlays.
        folder: Where overlays are made; None refuses disks that would need one.
        change: Changes the configuration of a copy; called last.
    """

    backend: Backend
    verb: str
    base: DomainConfig
    disks: Callable[[DomainConfig], Sequence[Disk]] | None = None
    folder: str | None = None
    change: Callable[[DomainConfig], DomainConfig] | None = None
    _macs: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        """Refuse a guest that can exist only once.

        Raises:
            InvalidArgument: It has a device that only one guest can have, or a disk that cannot be copied; or the
                folder is not absolute, and the host is elsewhere.
        """
        for name, function in (("disks", self.disks), ("change", self.change)):
            if function is not None:
                check_function(function, name, self.verb)
        for setting, what in _ONLY_ONE.items():
            if getattr(self.base, setting):
                raise self._refusal(f"{setting}: two guests cannot have the same {what}: attach them later")
        if self.disks is None:
            for disk in self.base.disks:
                self._check_disk(disk)
            if self.folder is not None and any(map(_is_written, self.base.disks)):
                self.folder = self.backend.absolute(self.folder)

    def _check_disk(self, disk: Disk) -> None:
        if not _is_written(disk):
            return
        if self.folder is None:
            raise self._refusal(
                f"{disk.vdev}: several guests cannot write to the same disk: give folder= for copy-on-write "
                "images, or disks=, or a disk that is readonly"
            )
        plain = disk.script is None and is_served_by_dom0(disk)
        if not plain or disk.format not in BASE_FORMATS or disk.specification not in {None, "xen"}:
            raise self._refusal(f"{disk.vdev}: QEMU in dom0 cannot make a copy-on-write image of it: give disks=")

    def _refusal(self, message: str) -> InvalidArgument:
        return InvalidArgument(message, operation=self.verb, domain=self.base.name)

    def make(self, name: str, claims: ClaimSet) -> Copy:
        """Make a copy and its files, which are claimed first.

        Args:
            name: The name of the copy.
            claims: The claims of the user.
        """
        uuid = uuid4()
        genid = None if self.base.ms_vm_genid is None else uuid4()
        vifs = [vif.replace(mac=self._new_mac(), vifname=None) for vif in self.base.vifs]
        config = self.base.replace(name=name, uuid=uuid, domid=None, ms_vm_genid=genid, vifs=vifs)
        overlays = {} if self.disks is not None else self._overlays(uuid)
        files = tuple(overlays.values())
        claims.add(Claim(uuid, files))
        try:
            config = config.replace(disks=self._disks(config, overlays))
            if self.change is not None:
                config = self.change(config)
                check_answer(config, "change", self.verb)
                check_config(config, self.verb)
                config = config.replace(uuid=uuid)
            config.validate()
        except BaseException:
            discard(self.backend, claims, uuid, files)
            raise
        return Copy(uuid, config, files)

    def _overlays(self, uuid: UUID) -> dict[str, str]:
        """Return the path of the overlay of each disk that needs one."""
        return {
            str(disk.vdev): os.path.join(
                self.folder or "", f"{uuid}-{re.sub(r'[^A-Za-z0-9]', '_', str(disk.vdev))}.qcow2"
            )
            for disk in self.base.disks
            if _is_written(disk)
        }

    def _disks(self, config: DomainConfig, overlays: dict[str, str]) -> list[Disk]:
        if self.disks is not None:
            given = self.disks(config)
            check_answer(given, "disks", self.verb)
            check_is(Iterable, given, self.verb, ", from disks: return a list of Disk")
            disks = list(given)
            for disk in disks:
                check_is(Disk, disk, self.verb, ", from disks")
            return disks
        made = []
        for disk in self.base.disks:
            path = overlays.get(str(disk.vdev))
            if path is None or disk.target is None:
                made.append(disk)
                continue
            self.backend.make_overlay(self.verb, disk.target, disk.format, path)
            made.append(disk.replace(target=path, format=DiskFormat.QCOW2, backendtype=None))
        return made

    def _new_mac(self) -> Mac:
        mac = Mac.random()
        while mac in self._macs:
            mac = Mac.random()
        self._macs.add(mac)
        return mac


def _is_written(disk: Disk) -> bool:
    return bool(disk.target) and not disk.cdrom and not disk.readonly


def checked_count(count: int, name: str, verb: str) -> int:
    """Return a number of guests.

    Raises:
        InvalidArgument: It is not a whole number from 1 to 4096.
    """
    check_number(count, verb)
    if not 1 <= count <= _MOST:
        raise InvalidArgument(f"{name}={count}: give a number from 1 to {_MOST}", operation=verb)
    return count


def check_identity(config: DomainConfig, verb: str) -> None:
    """Refuse a configuration with what only one guest can have.

    Raises:
        InvalidArgument: It has a uuid, a domid, or a vif with a MAC address or a name.
    """
    fixed = [name for name in ("uuid", "domid") if getattr(config, name) is not None]
    for number, vif in enumerate(config.vifs):
        fixed += [f"vifs[{number}].{name}" for name in ("mac", "vifname") if getattr(vif, name) is not None]
    if fixed:
        message = f"{fixed[0]} is set, and several guests cannot have the same: leave out {', '.join(fixed)}"
        raise InvalidArgument(message, operation=verb, domain=config.name)


def check_room(
    backend: Backend, operation: Operation[object], config: DomainConfig, number: int, autoballoon: bool | None
) -> None:
    """Refuse a number of guests for which the host cannot have enough memory.

    Args:
        backend: The host.
        operation: The operation that makes them.
        config: The configuration of each.
        number: How many there are to be.
        autoballoon: Whether dom0 gives up memory for them; None: perhaps.

    Raises:
        NotEnoughMemory: They need more than what is free; or where dom0 may give up memory, more than the host has.
    """
    info = backend.info()
    has = info.free_memory_kib if autoballoon is False else info.memory_kib
    needed = number * mib_to_kib(with_memory(config).memory or 0)
    if needed > has:
        raise not_enough_memory(operation, needed, has)


def remove_files(backend: Backend, files: Sequence[str]) -> None:
    """Remove files that were made for a copy that is gone, as far as that is possible."""
    for path in files:
        with contextlib.suppress(OSError):
            backend.remove_overlay(path)


def discard(backend: Backend, claims: ClaimSet, uuid: UUID, files: Sequence[str]) -> None:
    """Remove the files and the claim of a copy that is gone.

    If its host is lost, so are its claims. A claim that cannot be removed does no harm: its domain is gone.
    """
    remove_files(backend, files)
    with contextlib.suppress(Error, OSError):
        claims.drop(uuid)


def honoured(backend: Backend, config: DomainConfig) -> DomainConfig:
    """Return a configuration with the settings of xl.conf, if the host was opened with them."""
    conf = backend.xl_conf
    if conf is None:
        return config
    nodes = backend.topology().node_cpus if conf.has_masks(config.type) else {}
    return conf.applied(config, sorted(cpu for members in nodes.values() for cpu in members), nodes)


def saved_config(backend: Backend, path: str, verb: str) -> DomainConfig:
    """Return the configuration in a file of a saved guest; an error is that of the verb that needs it."""
    try:
        return backend.saved_config(path)
    except OperationFailed as error:
        error.operation, error.domain = verb, None
        raise


def balloons(backend: Backend, autoballoon: bool | None) -> bool | None:
    """Return whether dom0 gives up memory, as xl.conf says if the call does not.

    Raises:
        InvalidArgument: It is neither True, False nor None.
    """
    if autoballoon is not None and not isinstance(autoballoon, bool):
        raise InvalidArgument(f"autoballoon={shown_number(autoballoon)}: takes True, False or None")
    conf = backend.xl_conf
    return conf.autoballoon if autoballoon is None and conf is not None else autoballoon
