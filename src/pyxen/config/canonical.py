"""The minimal form of a configuration and its form for one host: `canonical` and `resolve_cpus`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from itertools import takewhile
from typing import TYPE_CHECKING, Any, Final

from pyxen.config.cpuset import CpuSet
from pyxen.config.device_table import NUMBERED_BY_XL
from pyxen.config.disk import Disk
from pyxen.config.pci import Pci
from pyxen.config.usb import UsbDev
from pyxen.config.vfb import Vfb, Vkb
from pyxen.config.vif import Vif
from pyxen.config.vnuma import VNode
from pyxen.config.vtpm import Vtpm
from pyxen.errors import ValidationError

if TYPE_CHECKING:
    from pyxen.config.domain import DomainConfig

__all__ = ["canonical", "resolve_cpus"]

_Affinity = CpuSet | tuple[CpuSet, ...] | None


def canonical(config: DomainConfig) -> DomainConfig:
    """Implement `DomainConfig.canonical`."""
    changes = _plain_settings(config)
    for name, simple in _SIMPLE.items():
        devices = getattr(config, name)
        if devices:
            changes[name] = tuple(map(simple, devices))
    for name in NUMBERED_BY_XL:
        devices = changes.get(name, getattr(config, name))
        if devices:
            changes[name] = _unnumbered(devices)
    plain = config.replace(**changes)
    if plain.vfbs or plain.vkbs:
        plain = _keyboards(plain)
    return _placement(plain)


def _plain_settings(config: DomainConfig) -> dict[str, Any]:
    """Return the settings, apart from devices, that are written in a longer form than they need."""
    changes: dict[str, Any] = {}
    if config.maxvcpus is not None:
        changes["maxvcpus"] = _unless(config.maxvcpus, config.replace(maxvcpus=None).effective_maxvcpus)
    if config.maxmem is not None:
        changes["maxmem"] = _unless(config.maxmem, config.replace(maxmem=None).effective_maxmem)
    if config.cpumap is not None:
        changes["cpumap"] = config.cpumap or None
    if config.nodemap is not None:
        changes["nodemap"] = config.nodemap or None
    if config.mmio_hole is not None:
        changes["mmio_hole"] = config.mmio_hole or None
    if config.uuid and not config.uuid.int:
        changes["uuid"] = None
    if config.init_seclabel is not None and config.seclabel is None:
        changes |= {"seclabel": config.init_seclabel, "init_seclabel": None}
    if config.ms_vm_genid and config.ms_vm_genid != "generate" and not config.ms_vm_genid.int:
        changes["ms_vm_genid"] = None
    return changes


def _unless(value: Any, default: Any) -> Any:
    return None if value == default else value


def _unnumbered(devices: tuple[Any, ...], first: int = 0) -> tuple[Any, ...]:
    return tuple(
        device.replace(devid=None) if device.devid == index else device for index, device in enumerate(devices, first)
    )


def _disk(disk: Disk) -> Disk:
    if disk.readonly is None and disk.removable is None:
        return disk
    return disk.replace(readonly=_unless(disk.readonly, disk.cdrom), removable=_unless(disk.removable, disk.cdrom))


def _pci(pci: Pci) -> Pci:
    return pci.replace(vslot=pci.vslot or None)


def _usbdev(usbdev: UsbDev) -> UsbDev:
    if usbdev.hostbus is None and usbdev.hostaddr is None:
        return usbdev
    return usbdev.replace(hostbus=usbdev.hostbus or 0, hostaddr=usbdev.hostaddr or 0)


def _vif(vif: Vif) -> Vif:
    silent = vif.rate is not None and not vif.rate.bytes_per_interval and not vif.rate.interval_usecs
    nobody = vif.mac is not None and not vif.mac.strip("0:")
    if not silent and not nobody:
        return vif
    return vif.replace(rate=None if silent else vif.rate, mac=None if nobody else vif.mac)


def _vtpm(vtpm: Vtpm) -> Vtpm:
    return vtpm.replace(uuid=None) if vtpm.uuid and not vtpm.uuid.int else vtpm


_SIMPLE: Final[dict[str, Callable[[Any], Any]]] = {
    "disks": _disk,
    "vifs": _vif,
    "pcis": _pci,
    "vtpms": _vtpm,
    "usbdevs": _usbdev,
}
"""Functions that take out of a device what means nothing, by the fields of `DomainConfig`."""


def _keyboards(config: DomainConfig) -> DomainConfig:
    """Count keyboards that a framebuffer could have brought along as if it had, from the first framebuffer on."""
    brought = sum(vfb.keyboard for vfb in config.vfbs)
    vkbs = _unnumbered(config.vkbs, brought)
    spare = len(config.vfbs) - brought
    plain = min(spare, sum(1 for _ in takewhile(lambda vkb: vkb == Vkb(), vkbs)))
    total = brought + plain
    vfbs: Iterable[Vfb] = (vfb.replace(keyboard=index < total) for index, vfb in enumerate(config.vfbs))
    return config.replace(vfbs=tuple(vfbs), vkbs=vkbs[plain:])


def _placement(config: DomainConfig) -> DomainConfig:
    """Merge an affinity that all vCPUs share, and keep NUMA placement only if xl would not infer it."""
    if config.cpus is None and config.cpus_soft is None and config.numa_placement is None and not config.vnuma:
        return config
    placement = config.effective_numa_placement
    vcpus = config.effective_maxvcpus
    vnuma = tuple(_vnode(node, off=placement is False) for node in config.vnuma)
    plain = config.replace(
        cpus=_together(config.cpus, vcpus), cpus_soft=_together(config.cpus_soft, vcpus), vnuma=vnuma
    )
    concluded = plain.replace(numa_placement=None).effective_numa_placement
    return plain.replace(numa_placement=None if placement == concluded else True if placement is None else placement)


def _together(affinity: _Affinity, vcpus: int) -> _Affinity:
    if not isinstance(affinity, tuple):
        return affinity
    one_each = affinity[:vcpus]
    return one_each[0] if len(one_each) == vcpus and len(set(one_each)) == 1 else one_each


def _vnode(node: VNode, *, off: bool) -> VNode:
    distances = node.distances
    while distances and not distances[-1]:
        distances = distances[:-1]
    return node.replace(distances=distances, pnode=node.pnode or (0 if off else None))


def resolve_cpus(config: DomainConfig, cpus: tuple[int, ...], nodes: Mapping[int, Iterable[int]]) -> DomainConfig:
    """Implement `DomainConfig.resolve_cpus`."""
    changes: dict[str, Any] = {}
    for name in ("cpus", "cpus_soft", "cpumap"):
        affinity = getattr(config, name)
        try:
            if isinstance(affinity, CpuSet):
                changes[name] = affinity.resolve(cpus, nodes)
            elif affinity is not None:
                changes[name] = tuple(one.resolve(cpus, nodes) for one in affinity)
        except ValueError as error:
            raise ValidationError(f"{name}: {error}", path=name, problems=(f"{name}: {error}",)) from None
    return config.replace(**changes)
