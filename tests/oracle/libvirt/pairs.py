"""All in which two documents of a pair of libvirt's own tests may differ."""

from __future__ import annotations

from collections.abc import Callable

from pyxen.config import DiskBackend, DomainConfig, DomainType, Rate, VgaInterfaceType
from pyxen.libvirtxml import normal

__all__ = ["BY_ITS_CONVERTER", "BY_ITS_DRIVER", "BY_XEND", "as_converted", "as_run", "as_xend"]

# XML and libxl's JSON: what libvirt's driver makes of a configuration before libxl gets it


def _free_display(ours: DomainConfig, _theirs: DomainConfig) -> DomainConfig:
    """The driver looks for a free display itself; the first is that of port 5900."""
    vfbs = [vfb.replace(vnc=vfb.vnc.replace(unused=False)) if vfb.vnc.unused else vfb for vfb in ours.vfbs]
    vnc = ours.vnc.replace(unused=False) if ours.vnc.unused else ours.vnc
    return ours.replace(vnc=vnc, vfbs=vfbs)


def _framebuffers(ours: DomainConfig, theirs: DomainConfig) -> DomainConfig:
    """The driver gives HVM guests, too, a framebuffer for each <graphics>: the same screen once more."""
    if ours.type is not DomainType.HVM or not theirs.vfbs:
        return ours
    assert [vfb.vnc for vfb in theirs.vfbs] == [ours.vnc]
    return ours.replace(vfbs=theirs.vfbs)


def _shadow_memory(ours: DomainConfig, theirs: DomainConfig) -> DomainConfig:
    """The driver works it out; the tests' harness says 1234 KiB."""
    assert theirs.shadow_memory == 1234 / 1024
    return ours.replace(shadow_memory=theirs.shadow_memory)


def _soft_reset(ours: DomainConfig, theirs: DomainConfig) -> DomainConfig:
    """The driver does not set it, and 0 is destroy."""
    assert theirs.on_soft_reset == "destroy"
    return ours.replace(on_soft_reset="destroy")


def _removable(ours: DomainConfig, _theirs: DomainConfig) -> DomainConfig:
    """The driver calls every disk removable."""
    return ours.replace(disks=[disk.replace(removable=True) for disk in ours.disks])


def _managed(ours: DomainConfig, _theirs: DomainConfig) -> DomainConfig:
    """The driver takes managed devices from theirs itself, and so asks libxl not to."""
    return ours.replace(pcis=[pci.replace(seize=False) for pci in ours.pcis])


def _placement(ours: DomainConfig, theirs: DomainConfig) -> DomainConfig:
    """The driver leaves NUMA placement on; libxl's JSON does not show node 0, and that for older releases no node."""
    if not ours.vnuma:
        return ours
    vnuma = [
        node.replace(pnode=(node.pnode and other.pnode) or None)
        for node, other in zip(ours.vnuma, theirs.vnuma, strict=True)
    ]
    return ours.replace(numa_placement=theirs.numa_placement, vnuma=vnuma)


def _netfront(ours: DomainConfig, theirs: DomainConfig) -> DomainConfig:
    """The driver hands on its own name for "no emulated card" as the model of one."""
    vifs = [
        vif.replace(model="netfront") if other.model == "netfront" else vif
        for vif, other in zip(ours.vifs, theirs.vifs, strict=True)
    ]
    return ours.replace(vifs=vifs)


_Change = Callable[[DomainConfig, DomainConfig], DomainConfig]

BY_ITS_DRIVER: tuple[_Change, ...] = (
    _free_display,
    _framebuffers,
    _shadow_memory,
    _soft_reset,
    _removable,
    _managed,
    _placement,
    _netfront,
)
"""All that libvirt's driver adds to a document, or has otherwise than xl."""


def as_run(ours: DomainConfig, theirs: DomainConfig) -> DomainConfig:
    """Return what a document says with what the driver adds; `theirs` is what the driver handed on."""
    return _changed(ours, theirs, BY_ITS_DRIVER)


# XML and xl.cfg: what libvirt's converter makes of one of them


def _rate(xml: DomainConfig, _cfg: DomainConfig) -> DomainConfig:
    """The converter takes xl's KB for 1024 bytes."""
    vifs = [vif.replace(rate=Rate(vif.rate.bytes_per_interval * 1000 // 1024)) if vif.rate else vif for vif in xml.vifs]
    return xml.replace(vifs=vifs)


def _backend(xml: DomainConfig, cfg: DomainConfig) -> DomainConfig:
    """The converter has QEMU serve a disk for which nobody is named."""
    disks = [
        disk.replace(backendtype=None) if other.backendtype is None and disk.backendtype is DiskBackend.QDISK else disk
        for disk, other in zip(xml.disks, cfg.disks, strict=True)
    ]
    return xml.replace(disks=disks)


def _crash(xml: DomainConfig, cfg: DomainConfig) -> DomainConfig:
    """The converter takes on_crash for restart where it is not said; where it is said it is as it is said."""
    return xml.replace(on_crash=cfg.on_crash) if xml.on_crash == "restart" else xml


def _no_screen(xml: DomainConfig, cfg: DomainConfig) -> DomainConfig:
    """The converter writes no card for a guest without a viewer; xl gives it one."""
    if xml.nographic and not cfg.nographic and cfg.vnc.enable is False:
        return xml.replace(nographic=False, vga=VgaInterfaceType.CIRRUS, videoram=8)
    return xml


def _firmware(xml: DomainConfig, _cfg: DomainConfig) -> DomainConfig:
    """The tests' harness has its own words for the folder of Xen's firmware."""
    path = xml.bios_path_override or ""
    return xml.replace(bios_path_override=None) if path.startswith("/LIBXL_FIRMWARE_DIR/") else xml


BY_ITS_CONVERTER: tuple[_Change, ...] = (_rate, _backend, _crash, _no_screen, _firmware)
"""All in which a document differs from the xl configuration that libvirt's converter made it of."""


def as_converted(xml: DomainConfig, cfg: DomainConfig) -> DomainConfig:
    """Return what a document says without what the converter put in; `cfg` is what the xl configuration says."""
    return _changed(xml, cfg, BY_ITS_CONVERTER)


# XML and a configuration of xend's time: what xm read otherwise than xl


def _prefix(xml: DomainConfig, cfg: DomainConfig) -> DomainConfig:
    """The prefix of a disk said who serves it; xl passes over it, and finds that out itself."""
    disks = [
        disk if other.backendtype else disk.replace(backendtype=None)
        for disk, other in zip(xml.disks, cfg.disks, strict=True)
    ]
    return xml.replace(disks=disks)


def _nic_type(xml: DomainConfig, cfg: DomainConfig) -> DomainConfig:
    """Xend had the type netfront, which xl does not know."""
    vifs = [vif.replace(type=other.type) for vif, other in zip(xml.vifs, cfg.vifs, strict=True)]
    return xml.replace(vifs=vifs)


def _bootargs(xml: DomainConfig, cfg: DomainConfig) -> DomainConfig:
    """The arguments of the boot loader had another key."""
    return xml if cfg.bootloader_args else xml.replace(bootloader_args=())


def _sounds(xml: DomainConfig, cfg: DomainConfig) -> DomainConfig:
    """The model holds the first of several sound cards."""
    first = (cfg.soundhw or "").split(",")[0]
    return xml.replace(soundhw=cfg.soundhw) if xml.soundhw == first else xml


BY_XEND: tuple[_Change, ...] = (*BY_ITS_CONVERTER, _prefix, _nic_type, _bootargs, _sounds)
"""All in which a document differs from what xl reads in the configuration for xm that it was made of."""


def as_xend(xml: DomainConfig, cfg: DomainConfig) -> DomainConfig:
    """Return what a document says as xl reads xm's configurations; `cfg` is what xl reads."""
    return _changed(xml, cfg, BY_XEND)


def _changed(ours: DomainConfig, theirs: DomainConfig, changes: tuple[_Change, ...]) -> DomainConfig:
    ours, theirs = normal(ours), normal(theirs)
    for change in changes:
        ours = change(ours, theirs)
    return ours
