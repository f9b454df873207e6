"""The minimal form of a configuration and its form for one host: `canonical` and `resolve_cpus`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import takewhile
from typing import TYPE_CHECKING, Any

from pyxen.config.cpuset import CpuSet
from pyxen.config.device_table import NUMBERED_BY_XL
from pyxen.config.disk import Disk
from pyxen.config.pci import Pci
from pyxen.config.usb import UsbDev
from pyxen.config.vfb import Vfb, Vkb
from pyxen.config.vif import Vif
from pyxen.config.vnuma import VNode
from pyxen.errors import ValidationError

if TYPE_CHECKING:
    from pyxen.config.domain import DomainConfig

__all__ = ["canonical", "resolve_cpus"]

_Affinity = CpuSet | tuple[CpuSet, ...] | None


def canonical(config: DomainConfig) -> DomainConfig:
    """Implement `DomainConfig.canonical`."""
    changes: dict[str, Any] = {
        "maxvcpus": _unless(config.maxvcpus, config.replace(maxvcpus=None).effective_maxvcpus),
        "maxmem": _unless(config.maxmem, config.replace(maxmem=None).effective_maxmem),
        "disks": tuple(map(_disk, config.disks)),
        "pcis": tuple(map(_pci, config.pcis)),
        "usbdevs": tuple(map(_usbdev, config.usbdevs)),
        "cpumap": config.cpumap or None,
        "nodemap": config.nodemap or None,
        "mmio_hole": config.mmio_hole or None,
        "uuid": config.uuid if config.uuid and config.uuid.int else None,
    }
    if config.init_seclabel is not None and config.seclabel is None:
        changes |= {"seclabel": config.init_seclabel, "init_seclabel": None}
    if config.ms_vm_genid and config.ms_vm_genid != "generate" and not config.ms_vm_genid.int:
        changes["ms_vm_genid"] = None
    plain = config.replace(**changes)
    plain = plain.replace(**{name: _unnumbered(getattr(plain, name)) for name in NUMBERED_BY_XL})
    plain = plain.replace(
        vifs=tuple(map(_vif, plain.vifs)),
        vtpms=tuple(vtpm.replace(uuid=None) if vtpm.uuid and not vtpm.uuid.int else vtpm for vtpm in plain.vtpms),
    )
    return _placement(_keyboards(plain))


def _unless(value: Any, default: Any) -> Any:
    return None if value == default else value


def _unnumbered(devices: tuple[Any, ...], first: int = 0) -> tuple[Any, ...]:
    return tuple(
        device.replace(devid=None) if device.devid == index else device for index, device in enumerate(devices, first)
    )


def _disk(disk: Disk) -> Disk:
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
    return vif.replace(rate=None if silent else vif.rate, mac=None if nobody else vif.mac)


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
