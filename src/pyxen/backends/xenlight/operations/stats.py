"""Resource usage of domains: CPU time from Xen, traffic of devices from dom0's kernel and from QEMU."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple
from uuid import UUID

from pyxen._common.shortage import shortage
from pyxen.backends.xenlight.hypervisor import Hypervisor, Vcpu
from pyxen.backends.xenlight.operations.backend_devices import (
    BackendDevice,
    backend_devices,
    disk_counters,
    host_interfaces,
    kernel_state,
    vif_stats,
)
from pyxen.backends.xenlight.operations.qemu_disks import Counters, qemu_disks
from pyxen.config import DiskBackend
from pyxen.errors import OperationFailed
from pyxen.records.info import DomainInfo
from pyxen.records.stats import DeviceState, DiskStats, DomainStats, VifStats

__all__ = ["StatsReader"]

_SECTOR: Final = 512  # bytes, whatever the disk's own sector size
_BACKENDS: Final = "/local/domain/0/backend"
_QDISK: Final = "qdisk"
_DISKS: Final = {"vbd": DiskBackend.PHY, _QDISK: DiskBackend.QDISK, "tap": DiskBackend.TAP}
"""What serves a disk, by the kinds of the devices."""

_COUNTERS: Final = ("rd_req", "rd_sect", "wr_req", "wr_sect", "f_req", "ds_req", "oo_req")
"""The kernel's counters of a disk."""

_STATES: Final = {str(number): state for number, state in enumerate(DeviceState)}
"""States by what xenstore has for them."""

_Key = tuple[BackendDevice, UUID]
"""A device of one domain: domids are reused."""


class _Counted(NamedTuple):
    """What Xen and this domain's kernel have counted."""

    vcpus: list[list[Vcpu]]
    """The vCPUs of each domain."""
    vifs: dict[int, list[VifStats]]
    """The vifs, by domid."""
    disks: dict[BackendDevice, list[int]]
    """The `_COUNTERS` of the kernel's disks."""


class StatsReader:
    """Reads the statistics of domains, in a number of round trips that does not depend on how many there are.

    Xen and the kernel are asked first, at the moment that the statistics have: QEMU and xenstored may take seconds.
    """

    def __init__(self, hypervisor: Hypervisor) -> None:
        self._hypervisor = hypervisor
        self._vdevs: dict[_Key, str] = {}  # from the last pass; they cannot change while a disk is attached

    def all(self) -> tuple[DomainStats, ...]:
        """Return the statistics of all domains, sorted by domid."""
        with shortage(OperationFailed, "cannot read statistics"):
            moment, infos = self._hypervisor.domains_at()
            devices = backend_devices()
            counted = self._counted(infos, devices)
            disks, self._vdevs = self._disks(_disks_of(infos, devices), counted, self._vdevs)
            return _stats(moment, infos, counted, disks)

    def one(self, info: DomainInfo) -> DomainStats:
        """Return the statistics of a domain."""
        with shortage(OperationFailed, "cannot read statistics"):
            devices = backend_devices()
            moment = time.monotonic_ns()
            now = self._hypervisor.glance_at(info.domid)  # its info was followed by a look into xenstore
            if now is not None and now.uuid == info.uuid:
                info = dataclasses.replace(info, cpu_time_ns=now.cpu_time_ns)
            counted = self._counted([info], devices)
            disks, _ = self._disks(_disks_of([info], devices), counted, {})
            (stats,) = _stats(moment, [info], counted, disks)
            return stats

    def _counted(self, infos: Sequence[DomainInfo], devices: Mapping[int, Sequence[BackendDevice]]) -> _Counted:
        """Ask Xen and the kernel for what they count, which takes no longer than they need."""
        vcpus = self._hypervisor.vcpus(infos)
        interfaces = host_interfaces()
        own = {info.domid: devices.get(info.domid, ()) for info in infos}
        disks = [device for each in own.values() for device in each if device.kind in _DISKS and device.kind != _QDISK]
        counters = {device: disk_counters(device, _COUNTERS) for device in disks}
        vifs = {
            domid: [vif_stats(device, interfaces) for device in each if device.kind == "vif"]
            for domid, each in own.items()
        }
        return _Counted(vcpus, vifs, counters)

    def _disks(
        self, keys: Sequence[_Key], counted: _Counted, known: Mapping[_Key, str]
    ) -> tuple[dict[_Key, DiskStats], dict[_Key, str]]:
        """Return the statistics of disks, and their vdevs; those that are known are not read."""
        qemus = qemu_disks({device.domid for device, _ in keys if device.kind == _QDISK})
        vdevs = self._names(keys, known)
        states = self._states([device for device, _ in keys])
        errors = self._errors([device for device, state in states.items() if state is not DeviceState.CONNECTED])
        disks = {}
        for key in keys:
            device = key[0]
            vdev = vdevs.get(key, str(device.devid))
            if device.kind == _QDISK:
                qemu = qemus.get(device.domid)
                disk = _of_qemu(vdev, None if qemu is None else qemu.counters(vdev, device.devid))
            else:
                disk = _of_kernel(vdev, device, counted.disks[device])
            disks[key] = dataclasses.replace(disk, state=states[device], error=errors.get(device))
        return disks, vdevs

    def _states(self, devices: Sequence[BackendDevice]) -> dict[BackendDevice, DeviceState]:
        """Return the states of disks: the kernel knows its own, and xenstore has those of QEMU's."""
        states = {device: kernel_state(device) for device in devices if device.kind != _QDISK}
        of_qemu = [device for device in devices if device.kind == _QDISK]
        numbers = self._hypervisor.read_all([f"{_BACKENDS}/{_node(device)}/state" for device in of_qemu])
        read = zip(of_qemu, numbers, strict=True)
        return states | {device: _STATES.get(number or "", DeviceState.UNKNOWN) for device, number in read}

    def _names(self, keys: Sequence[_Key], known: Mapping[_Key, str]) -> dict[_Key, str]:
        """Return the vdevs of disks, without those that xenstore does not have; those that are known are not read."""
        unknown = [key for key in keys if key not in known]
        names = self._hypervisor.read_all([f"{_BACKENDS}/{_node(device)}/dev" for device, _ in unknown])
        found = {key: name for key, name in zip(unknown, names, strict=True) if name is not None}
        return {key: known[key] for key in keys if key in known} | found

    def _errors(self, devices: Sequence[BackendDevice]) -> dict[BackendDevice, str]:
        """Return what backends report of devices that are not connected."""
        paths = [f"/local/domain/0/error/backend/{_node(device)}/error" for device in devices]
        paths += [f"{_BACKENDS}/{_node(device)}/hotplug-error" for device in devices]
        texts = self._hypervisor.read_all(paths)
        both = zip(devices, texts[: len(devices)], texts[len(devices) :], strict=True)
        return {device: first or second or "" for device, first, second in both if first or second}


def _disks_of(infos: Sequence[DomainInfo], devices: Mapping[int, Sequence[BackendDevice]]) -> list[_Key]:
    return [(device, info.uuid) for info in infos for device in devices.get(info.domid, ()) if device.kind in _DISKS]


def _node(device: BackendDevice) -> str:
    return f"{device.kind}/{device.domid}/{device.devid}"


def _stats(
    moment: int, infos: Sequence[DomainInfo], counted: _Counted, disks: Mapping[_Key, DiskStats]
) -> tuple[DomainStats, ...]:
    by_domain: dict[tuple[int, UUID], list[DiskStats]] = {(info.domid, info.uuid): [] for info in infos}
    for (device, uuid), disk in disks.items():
        by_domain[device.domid, uuid].append(disk)
    return tuple(
        DomainStats(
            info=info,
            monotonic_ns=moment,
            vcpu_times_ns=tuple(vcpu.time_ns for vcpu in vcpus),
            vcpus_online=tuple(vcpu.online for vcpu in vcpus),
            disks=tuple(sorted(by_domain[info.domid, info.uuid], key=lambda disk: disk.vdev)),
            vifs=tuple(sorted(counted.vifs[info.domid], key=lambda vif: vif.devid)),
        )
        for info, vcpus in zip(infos, counted.vcpus, strict=True)
    )


def _of_kernel(vdev: str, device: BackendDevice, counters: Sequence[int]) -> DiskStats:
    reads, read_sectors, writes, written_sectors, flushes, discards, out_of = counters
    return DiskStats(
        vdev=vdev,
        read_requests=reads,
        read_bytes=read_sectors * _SECTOR,
        write_requests=writes,
        write_bytes=written_sectors * _SECTOR,
        flush_requests=flushes,
        discard_requests=discards,
        out_of_requests=out_of,
        backend=_DISKS[device.kind],
    )


def _of_qemu(vdev: str, counters: Counters | None) -> DiskStats:
    if counters is None:
        return DiskStats(vdev, None, None, None, None, backend=DiskBackend.QDISK)
    return DiskStats(vdev, **counters._asdict(), backend=DiskBackend.QDISK)
