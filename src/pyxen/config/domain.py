"""`DomainConfig`: everything that a toolstack needs to know to create a domain."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import KW_ONLY, dataclass, field
from typing import TYPE_CHECKING, Final

from pyxen.config.base import Coerced, Part, required, setting
from pyxen.config.canonical import canonical, resolve_cpus
from pyxen.config.channel import Channel
from pyxen.config.checks import (
    INT_MAX,
    UINT16_MAX,
    UINT32_MAX,
    filename,
    flag,
    integer,
    many,
    mebibytes,
    member,
    pairs,
    part,
    text,
    unique_id,
)
from pyxen.config.cpuid import CpuidPolicy, as_cpuid
from pyxen.config.cpuset import CpuSet, affinity, cpu_set
from pyxen.config.device_model import DeviceModel, Stubdomain
from pyxen.config.difference import ConfigDiff, diff
from pyxen.config.disk import Disk
from pyxen.config.enum_names import (
    ActionOnShutdownName,
    Altp2mModeName,
    BiosTypeName,
    DomainTypeName,
    GfxPassthruKindName,
    HdTypeName,
    McaCapName,
    PassthroughName,
    TeeTypeName,
    TimerModeName,
    TscModeName,
    VendorDeviceName,
    VgaInterfaceTypeName,
)
from pyxen.config.enums import (
    ActionOnShutdown,
    Altp2mMode,
    BiosType,
    DomainType,
    GfxPassthruKind,
    HdType,
    McaCap,
    Passthrough,
    TeeType,
    TimerMode,
    TscMode,
    VendorDevice,
    VgaInterfaceType,
)
from pyxen.config.genid import GenerationId, generation_id
from pyxen.config.graphics import Sdl, Spice, Vnc
from pyxen.config.media import Vdispl, Vsnd
from pyxen.config.p9 import P9
from pyxen.config.pci import Pci, Rdm, RdmRegion
from pyxen.config.platform import Arm, IomemRange, IoportRange, PvShim
from pyxen.config.pvcalls import Pvcalls
from pyxen.config.scheduler import Scheduler
from pyxen.config.smbios import Smbios
from pyxen.config.usb import UsbCtrl, UsbDev
from pyxen.config.validate import Problem, problems
from pyxen.config.vfb import Vfb, Vkb
from pyxen.config.vif import Vif
from pyxen.config.viridian import Viridian, as_viridian
from pyxen.config.virtio import Virtio
from pyxen.config.vnuma import VNode
from pyxen.config.vtpm import Vtpm
from pyxen.errors import ValidationError

if TYPE_CHECKING:
    import uuid as uuids

__all__ = ["DomainConfig"]

HVM: Final = ("hvm",)
PV: Final = ("pv",)
PVH: Final = ("pvh",)
HARDWARE: Final = ("hvm", "pvh")
NO_FIRMWARE: Final = ("pv", "pvh")

_MOST_VCPUS: Final = 8192

_Path = str | os.PathLike[str] | None
_GivenAffinity = CpuSet | str | Iterable[CpuSet | str | int | Iterable[int]] | None
_Names = Mapping[str, str] | Iterable[tuple[str, str]]


@dataclass(frozen=True, slots=True, repr=False, eq=False)
class DomainConfig(Part):
    """A domain, as an xl configuration file describes it; names and units are xl's, memory is in MiB.

    Fields that are None or empty are left to libxl. ``bool | None`` is libxl's defbool: True, False, or its default.
    """

    # -- What it is ---------------------------------------------------------------------------------------------------
    name: str = field(metadata=required(text))
    """Name, unique on the host. xl demands it."""
    _: KW_ONLY
    type: Coerced[DomainType, DomainType | DomainTypeName] = setting(DomainType.PV, member(DomainType))
    """``pv``, ``pvh`` or ``hvm``. Default ``pv``, as in xl on x86 (on Arm xl's is ``pvh``)."""
    uuid: Coerced[uuids.UUID | None, uuids.UUID | str | None] = setting(None, unique_id)
    """Unique id. Default: a random one at each creation."""
    domid: int | None = setting(None, integer(1, UINT32_MAX), key="")
    """Domid to create it under; 0xfffffffe is a random one. Default: the next free one."""
    pool: str | None = setting(None, text)
    """CPU pool, by name. Default ``Pool-0``."""
    poolid: int = setting(0, integer(0, UINT32_MAX), key="")
    """CPU pool, by number, where ``pool`` is None."""
    driver_domain: bool | None = setting(None, flag)
    """Whether it serves devices to other domains. Default: no."""
    seclabel: str | None = setting(None, text)
    """XSM label it runs under."""
    init_seclabel: str | None = setting(None, text)
    """XSM label it is built under, before it gets ``seclabel``."""
    ssidref: int = setting(0, integer(0, UINT32_MAX), key="")
    """The label it is created with, as a number; libxl works it out."""
    exec_ssidref: int = setting(0, integer(0, UINT32_MAX), key="")
    """The label it runs under after it was built, as a number; libxl works it out."""
    xsdata: Coerced[tuple[tuple[str, str], ...], _Names] = setting((), pairs(text), key="")
    """Further entries in the domain's folder of xenstore, by their path in it."""
    platformdata: Coerced[tuple[tuple[str, str], ...], _Names] = setting((), pairs(text), key="")
    """Further entries in ``platform`` of the domain's folder of xenstore."""

    # -- What it boots ------------------------------------------------------------------------------------------------
    kernel: Coerced[str | None, _Path] = setting(None, filename)
    """Kernel image on the host."""
    ramdisk: Coerced[str | None, _Path] = setting(None, filename)
    """Initial ramdisk on the host."""
    cmdline: str | None = setting(None, text)
    """Command line of the kernel; says all that xl.cfg's old ``root`` and ``extra`` said."""
    bootloader: Coerced[str | None, _Path] = setting(None, filename, guests=NO_FIRMWARE)
    """Program on the host that finds the kernel in the guest's disk, e.g. ``pygrub``."""
    bootloader_args: Coerced[tuple[str, ...], Iterable[str]] = setting((), many(text), guests=NO_FIRMWARE)
    """Arguments of the boot loader."""
    bootloader_restrict: bool | None = setting(None, flag, guests=NO_FIRMWARE, since="4.18")
    """Whether the boot loader runs without privileges. Default: no. Xen 4.18."""
    bootloader_user: str | None = setting(None, text, guests=NO_FIRMWARE, since="4.18")
    """User the restricted boot loader runs as. Xen 4.18."""
    boot: str | None = setting(None, text, guests=HVM)
    """Boot order: ``a`` floppy, ``c`` disk, ``d`` CD-ROM, ``n`` network, ``q`` … Default ``cda``."""
    device_tree: Coerced[str | None, _Path] = setting(None, filename)
    """Partial device tree added to the guest's; Arm. libxl does not check it: trust who wrote it."""
    bios: Coerced[BiosType | None, BiosType | BiosTypeName | None] = setting(None, member(BiosType), guests=HVM)
    """Firmware. Default ``seabios``. xl.cfg's ``firmware`` says this, ``firmware_override`` or, for PV, ``kernel``."""
    bios_path_override: Coerced[str | None, _Path] = setting(None, filename, guests=HVM)
    """File with the firmware. Default: the one that ``bios`` names in Xen's folder."""
    firmware_override: Coerced[str | None, _Path] = setting(None, filename, guests=HVM)
    """File loaded instead of hvmloader."""
    smbios_firmware: Coerced[str | None, _Path] = setting(None, filename, guests=HVM)
    """File with SMBIOS structures added to the guest's."""
    acpi_firmware: Coerced[str | None, _Path] = setting(None, filename, guests=HVM)
    """File with ACPI tables added to the guest's."""
    smbios: Coerced[tuple[Smbios, ...], Iterable[Smbios]] = setting((), many(part(Smbios)), guests=HVM, since="4.18")
    """Strings of the SMBIOS tables. Xen 4.18."""

    # -- Memory, in MiB -----------------------------------------------------------------------------------------------
    memory: float | None = setting(None, mebibytes)
    """Memory to start with. Default: ``maxmem``, or libxl's 32."""
    maxmem: float | None = setting(None, mebibytes)
    """Most that it can be given later. Default: the sum of ``vnuma``, or ``memory``."""
    videoram: float | None = setting(None, mebibytes)
    """Memory of the emulated graphics card. Default 8 (cirrus), 16 (stdvga, with current QEMU) or 128 (qxl)."""
    shadow_memory: float | None = setting(None, mebibytes, guests=HARDWARE)
    """Memory that Xen keeps for page tables. Default: 1 MiB for each vCPU and 8 KiB for each MiB of memory."""
    iommu_memory: float | None = setting(None, mebibytes, key="")
    """Memory that Xen keeps for IOMMU page tables. Default: libxl works it out."""
    mmio_hole: float | None = setting(None, mebibytes, guests=HVM)
    """Address space left free below 4 GiB for devices, 256 to 3840. Default: as needed."""
    rdm_mem_boundary: float | None = setting(None, mebibytes, guests=HVM)
    """Lowest address at which memory below 4 GiB may end to make room for ``rdm``. Default 2048."""
    slack_memory: float | None = setting(None, mebibytes, guests=PV, key="")
    """Memory kept beyond ``maxmem``, for what Xen adds. Default: none."""

    # -- CPUs ---------------------------------------------------------------------------------------------------------
    vcpus: int = setting(1, integer(1, _MOST_VCPUS))
    """Number of vCPUs to start with, 1 to 8192 (Xen has fewer for HVM and PVH). Default 1."""
    maxvcpus: int | None = setting(None, integer(1, _MOST_VCPUS))
    """Most vCPUs that it can be given later. Default: those of ``vnuma``, or ``vcpus``."""
    cpus: Coerced[CpuSet | tuple[CpuSet, ...] | None, _GivenAffinity] = setting(None, affinity)
    """CPUs it may run on: one set for all vCPUs (``"0-3,^1"``), or a list with one for each. Default: all CPUs."""
    cpus_soft: Coerced[CpuSet | tuple[CpuSet, ...] | None, _GivenAffinity] = setting(None, affinity)
    """CPUs it runs on preferably, in the same forms. Default: those of its NUMA placement."""
    numa_placement: bool | None = setting(None, flag, key="")
    """Whether libxl looks for NUMA nodes to put it on. Default: yes; but no, as in xl, when ``cpus`` is a list, or
    ``cpus_soft`` or a ``pnode`` of ``vnuma`` is given."""
    cpumap: Coerced[CpuSet | None, CpuSet | str | Iterable[int] | None] = setting(None, cpu_set, key="")
    """CPUs it may run on, in libxl's older form; ``cpus`` is the newer."""
    nodemap: Coerced[CpuSet | None, CpuSet | str | Iterable[int] | None] = setting(None, cpu_set, key="")
    """NUMA nodes of the host that its memory comes from. Default: those of its NUMA placement."""
    vnuma: Coerced[tuple[VNode, ...], Iterable[VNode]] = setting((), many(part(VNode)))
    """NUMA nodes that the guest sees. Default: none."""
    scheduler: Scheduler = setting(Scheduler(), part(Scheduler), key="")
    """Weight, cap and the like (xl.cfg ``cpu_weight``, ``cap`` …)."""
    llc_colors: Coerced[tuple[int, ...], Iterable[int]] = setting((), many(integer(0, UINT32_MAX)), since="4.20")
    """Colours of the last level cache that its memory may use; Arm, Xen 4.20. Default: all."""
    cpuid: Coerced[CpuidPolicy, CpuidPolicy | str | Iterable[str]] = setting(CpuidPolicy(), as_cpuid)
    """Changes to the CPU features that the guest sees, also in xl's notations, e.g. ``"host,tm=0"``; x86."""
    tsc_mode: Coerced[TscMode, TscMode | TscModeName] = setting(TscMode.DEFAULT, member(TscMode))
    """How it sees the time stamp counter; x86."""
    timer_mode: Coerced[TimerMode | None, TimerMode | TimerModeName | None] = setting(
        None, member(TimerMode), guests=HARDWARE
    )
    """How timer ticks that it missed are delivered. Default ``no_delay_for_missed_ticks``."""
    nestedhvm: bool | None = setting(None, flag, guests=HARDWARE)
    """Whether it can run hardware-assisted guests itself. Default: no."""
    hap: bool | None = setting(None, flag, guests=HARDWARE)
    """Whether hardware-assisted paging is used. Default: where the CPU can."""
    oos: bool | None = setting(None, flag, guests=HARDWARE)
    """Whether shadow page tables may be out of sync for a while. Default: yes."""
    altp2m: Coerced[Altp2mMode, Altp2mMode | Altp2mModeName] = setting(
        Altp2mMode.DISABLED, member(Altp2mMode), guests=HVM
    )
    """Who may use alternate memory maps: ``disabled``, ``mixed``, ``external``, ``limited``."""
    altp2mhvm: bool | None = setting(None, flag, guests=HVM)
    """Old form of ``altp2m="mixed"``."""
    altp2m_count: int | None = setting(None, integer(0, UINT16_MAX), guests=HVM, since="4.21")
    """Most alternate memory maps. Default 10. Xen 4.21."""
    viridian: Coerced[Viridian, Viridian | bool | None] = setting(Viridian(), as_viridian, guests=HVM)
    """Enlightenments for Windows; True is libxl's default groups. Default: none."""
    mca_caps: Coerced[tuple[McaCap, ...], Iterable[McaCap | McaCapName]] = setting((), many(member(McaCap)), guests=HVM)
    """Machine check capabilities shown to the guest; x86."""
    msr_relaxed: bool | None = setting(None, flag)
    """Whether reads of unknown model specific registers give 0 instead of a fault; x86. Default: no."""
    vpmu: bool | None = setting(None, flag)
    """Whether it has a performance monitoring unit. Default: no."""
    vmtrace_buf_kb: int = setting(0, integer(0, INT_MAX), unit="KiB")
    """Size of each vCPU's buffer for processor traces, in KiB, a power of two; 0 (default): no buffer."""

    # -- Platform -----------------------------------------------------------------------------------------------------
    acpi: bool | None = setting(None, flag)
    """Whether it has ACPI tables. Default: yes for HVM and PVH on x86, no on Arm."""
    acpi_s3: bool | None = setting(None, flag, guests=HVM)
    """Whether ACPI offers suspend to memory. Default: yes."""
    acpi_s4: bool | None = setting(None, flag, guests=HVM)
    """Whether ACPI offers hibernation. Default: yes."""
    acpi_laptop_slate: bool | None = setting(None, flag, guests=HVM)
    """Whether ACPI has the switch between laptop and slate mode. Default: no."""
    apic: bool | None = setting(None, flag, guests=HVM)
    """Whether it has an APIC. Default: yes."""
    pae: bool | None = setting(None, flag, guests=HVM)
    """Whether 32-bit guests may use PAE. Default: yes."""
    nx: bool | None = setting(None, flag, guests=HVM)
    """Whether the NX bit is offered. Default: yes. Old: ``cpuid`` says it better."""
    hpet: bool | None = setting(None, flag, guests=HVM)
    """Whether it has a high precision event timer. Default: yes."""
    vpt_align: bool | None = setting(None, flag, guests=HVM)
    """Whether its periodic timers are aligned with each other. Default: yes."""
    localtime: bool | None = setting(None, flag)
    """Whether its clock shows local time instead of UTC. Default: no."""
    rtc_timeoffset: int = setting(0, integer(-INT_MAX - 1, INT_MAX), unit="s")
    """How far its clock is ahead of UTC, in seconds. Default 0."""
    timeoffset: str | None = setting(None, text, guests=HVM, key="", unit="s")
    """The clock's offset as QEMU keeps it in xenstore, in seconds. Default: 0."""
    ms_vm_genid: Coerced[GenerationId | None, GenerationId | str | None] = setting(None, generation_id, guests=HVM)
    """Generation id for Windows: a uuid, or ``"generate"`` for a new one at each creation. Default: none."""
    xen_platform_pci: bool | None = setting(None, flag, guests=HVM)
    """Whether it has the PCI device by which PV drivers find Xen. Default: yes."""
    xen_platform_pci_bar_uc: bool | None = setting(None, flag, guests=HVM, since="4.21")
    """Whether that device's memory is mapped uncached. Default: yes. Xen 4.21."""
    hvm_pirq: bool | None = setting(None, flag, guests=HVM, since="4.19")
    """Whether its interrupts may come as event channels. Default: no. Xen 4.19."""
    vendor_device: Coerced[VendorDevice, VendorDevice | VendorDeviceName] = setting(
        VendorDevice.NONE, member(VendorDevice), guests=HVM
    )
    """A PCI device for a vendor's Windows drivers. Default: none."""
    e820_host: bool | None = setting(None, flag, guests=PV)
    """Whether it sees the host's memory map. Default: no; xl says yes where PCI devices are passed through."""
    pvshim: PvShim = setting(PvShim(), part(PvShim), guests=PVH)
    """A PV guest inside PVH by means of Xen as a shim."""
    arm: Arm = setting(Arm(), part(Arm), key="")
    """What only Arm guests have (xl.cfg ``gic_version``, ``vuart``, ``sve``, ``nr_spis``, ``arm_sci``)."""
    tee: Coerced[TeeType, TeeType | TeeTypeName] = setting(TeeType.NONE, member(TeeType))
    """Mediator to a trusted execution environment; Arm."""
    trap_unmapped_accesses: bool | None = setting(None, flag, since="4.21")
    """Whether accesses to unmapped addresses fault; Arm, Xen 4.21. Default: yes."""

    # -- Emulated devices ---------------------------------------------------------------------------------------------
    hdtype: Coerced[HdType, HdType | HdTypeName] = setting(HdType.IDE, member(HdType), guests=HVM)
    """Controller of the disks ``hda`` … : ``ide`` (default) or ``ahci``."""
    vga: Coerced[VgaInterfaceType | None, VgaInterfaceType | VgaInterfaceTypeName | None] = setting(
        None, member(VgaInterfaceType), guests=HVM
    )
    """Graphics card: ``cirrus`` (default), ``std`` (xl's ``stdvga``), ``qxl``, ``none``."""
    nographic: bool | None = setting(None, flag, guests=HVM)
    """Whether it has no screen at all. Default: it has one."""
    vnc: Vnc = setting(Vnc(), part(Vnc), guests=HVM)
    """VNC server. For PV guests xl makes a framebuffer of it: ``vfbs=[Vfb(vnc=Vnc(...))]`` here."""
    sdl: Sdl = setting(Sdl(), part(Sdl), guests=HVM)
    """Window on the host's screen. For PV guests: in ``vfbs``."""
    spice: Spice = setting(Spice(), part(Spice), guests=HVM)
    """SPICE server."""
    keymap: str | None = setting(None, text, guests=HVM)
    """Layout of the keyboard. Default ``en-us``. For PV guests: in ``vfbs``."""
    gfx_passthru: bool | None = setting(None, flag, guests=HVM)
    """Whether a graphics card passed through is the primary one. Default: no."""
    gfx_passthru_kind: Coerced[GfxPassthruKind, GfxPassthruKind | GfxPassthruKindName] = setting(
        GfxPassthruKind.DEFAULT, member(GfxPassthruKind), guests=HVM, key="gfx_passthru"
    )
    """Which kind of card that is. Default: libxl looks."""
    serial: Coerced[tuple[str, ...], Iterable[str]] = setting((), many(text), guests=HVM)
    """Serial ports, as QEMU's ``-serial`` takes them: ``pty``, ``file:/tmp/log`` …"""
    usb: bool | None = setting(None, flag, guests=HVM)
    """Whether it has an emulated USB controller. Default: where ``usbdevice`` needs one."""
    usbversion: int | None = setting(None, integer(1, 3), guests=HVM)
    """USB version of that controller, 1 to 3. Default: QEMU decides."""
    usbdevice: Coerced[tuple[str, ...], Iterable[str]] = setting((), many(text), guests=HVM)
    """Emulated USB devices: ``tablet``, ``mouse``, ``keyboard``, ``host:1.3`` …"""
    vkb_device: bool | None = setting(None, flag, guests=HVM)
    """Whether QEMU offers a paravirtual keyboard. Default: yes."""
    soundhw: str | None = setting(None, text, guests=HVM)
    """Sound card: ``ac97``, ``es1370``, ``hda``, ``sb16`` … Default: none."""

    # -- Device model -------------------------------------------------------------------------------------------------
    device_model: DeviceModel = setting(DeviceModel(), part(DeviceModel), key="")
    """Which device model runs, and how (xl.cfg ``device_model_*``)."""
    stubdomain: Stubdomain = setting(Stubdomain(), part(Stubdomain), guests=HVM, key="")
    """The domain it runs in, instead of dom0 (xl.cfg ``stubdomain_*``)."""

    # -- When it stops ------------------------------------------------------------------------------------------------
    on_poweroff: Coerced[ActionOnShutdown, ActionOnShutdown | ActionOnShutdownName] = setting(
        ActionOnShutdown.DESTROY, member(ActionOnShutdown)
    )
    """What the toolstack does when it powers off. Default ``destroy``."""
    on_reboot: Coerced[ActionOnShutdown, ActionOnShutdown | ActionOnShutdownName] = setting(
        ActionOnShutdown.RESTART, member(ActionOnShutdown)
    )
    """… when it reboots. Default ``restart``."""
    on_watchdog: Coerced[ActionOnShutdown, ActionOnShutdown | ActionOnShutdownName] = setting(
        ActionOnShutdown.DESTROY, member(ActionOnShutdown)
    )
    """… when its watchdog runs out. Default ``destroy``."""
    on_crash: Coerced[ActionOnShutdown, ActionOnShutdown | ActionOnShutdownName] = setting(
        ActionOnShutdown.DESTROY, member(ActionOnShutdown)
    )
    """… when it crashes. Default ``destroy``."""
    on_soft_reset: Coerced[ActionOnShutdown, ActionOnShutdown | ActionOnShutdownName] = setting(
        ActionOnShutdown.SOFT_RESET, member(ActionOnShutdown)
    )
    """… when it asks for a soft reset (kexec). Default ``soft_reset``."""

    # -- Limits and toolstack -----------------------------------------------------------------------------------------
    max_event_channels: int | None = setting(None, integer(1, UINT32_MAX))
    """Highest event channel. Default 1023."""
    max_grant_frames: int | None = setting(None, integer(0, INT_MAX), unit="pages")
    """Pages of grant entries. Default: libxl's, 64."""
    max_maptrack_frames: int | None = setting(None, integer(0, INT_MAX), unit="pages")
    """Pages of entries for foreign grants. Default: libxl's, 1024."""
    max_grant_version: int | None = setting(None, integer(0, INT_MAX))
    """Newest version of the grant table, 1 or 2. Default: the host's."""
    claim_mode: bool | None = setting(None, flag, key="")
    """Whether its memory is claimed before it is built (xl.conf ``claim_mode``). Default: no."""
    run_hotplug_scripts: bool | None = setting(None, flag, key="")
    """Whether libxl runs hotplug scripts itself (xl.conf ``run_hotplug_scripts``). Default: yes."""
    blkdev_start: str | None = setting(None, text, key="")
    """First name for disks that the toolstack attaches to itself (xl.conf ``blkdev_start``). Default ``xvda``."""
    nomigrate: bool | None = setting(None, flag)
    """Whether it may have CPU features that do not survive a migration: the invariant TSC. Default: no. It keeps nobody
    from trying `Domain.migrate` or `Domain.save`."""
    xend_suspend_evtchn_compat: bool | None = setting(None, flag)
    """Whether its event channel for suspending is left out, as in xend's time. Default: no."""
    xenstore_feature_mask: int | None = setting(None, integer(0, UINT32_MAX - 1), since="4.21")
    """Features of xenstore that it may see, as bits. Default: all. Xen 4.21."""
    xenstore_quota: Coerced[tuple[tuple[str, int], ...], Mapping[str, int] | Iterable[tuple[str, int]]] = setting(
        (), pairs(integer(0, UINT32_MAX)), since="4.22"
    )
    """Its quotas in xenstore, by name, e.g. ``{"nodes": 2000}``. Xen 4.22."""

    # -- Devices ------------------------------------------------------------------------------------------------------
    disks: Coerced[tuple[Disk, ...], Iterable[Disk]] = setting((), many(part(Disk)), key="disk")
    """Disks and CD-ROM drives."""
    vifs: Coerced[tuple[Vif, ...], Iterable[Vif]] = setting((), many(part(Vif)), key="vif")
    """Network interfaces."""
    vfbs: Coerced[tuple[Vfb, ...], Iterable[Vfb]] = setting((), many(part(Vfb)), key="vfb")
    """Paravirtual framebuffers."""
    vkbs: Coerced[tuple[Vkb, ...], Iterable[Vkb]] = setting((), many(part(Vkb)), key="vkb")
    """Paravirtual keyboards besides those of the framebuffers."""
    pcis: Coerced[tuple[Pci, ...], Iterable[Pci]] = setting((), many(part(Pci)), key="pci")
    """PCI devices passed through."""
    usbctrls: Coerced[tuple[UsbCtrl, ...], Iterable[UsbCtrl]] = setting((), many(part(UsbCtrl)), key="usbctrl")
    """USB controllers for ``usbdevs``."""
    usbdevs: Coerced[tuple[UsbDev, ...], Iterable[UsbDev]] = setting((), many(part(UsbDev)), key="usbdev")
    """USB devices of the host passed through."""
    channels: Coerced[tuple[Channel, ...], Iterable[Channel]] = setting((), many(part(Channel)), key="channel")
    """Byte streams between guest and host."""
    p9s: Coerced[tuple[P9, ...], Iterable[P9]] = setting((), many(part(P9)), key="p9")
    """Folders shared by 9pfs."""
    pvcalls: Coerced[tuple[Pvcalls, ...], Iterable[Pvcalls]] = setting((), many(part(Pvcalls)))
    """Sockets opened by another domain."""
    vtpms: Coerced[tuple[Vtpm, ...], Iterable[Vtpm]] = setting((), many(part(Vtpm)), key="vtpm")
    """Virtual TPMs."""
    vdispls: Coerced[tuple[Vdispl, ...], Iterable[Vdispl]] = setting((), many(part(Vdispl)), key="vdispl")
    """Paravirtual displays."""
    vsnds: Coerced[tuple[Vsnd, ...], Iterable[Vsnd]] = setting((), many(part(Vsnd)), key="vsnd")
    """Paravirtual sound cards."""
    virtios: Coerced[tuple[Virtio, ...], Iterable[Virtio]] = setting((), many(part(Virtio)), key="virtio", since="4.18")
    """Virtio devices served outside QEMU; Arm, Xen 4.18."""
    dtdevs: Coerced[tuple[str, ...], Iterable[str]] = setting((), many(text), key="dtdev")
    """Devices of the host's device tree passed through, by their paths; Arm."""
    passthrough: Coerced[Passthrough, Passthrough | PassthroughName] = setting(Passthrough.DEFAULT, member(Passthrough))
    """Whether devices can be passed through, now or later. Default: where the configuration has some."""
    rdm: Rdm = setting(Rdm(), part(Rdm), guests=HVM)
    """How its memory map treats the host's reserved device memory."""
    rdms: Coerced[tuple[RdmRegion, ...], Iterable[RdmRegion]] = setting((), many(part(RdmRegion)), key="")
    """Regions of reserved device memory; libxl's own, seen in the configuration of a running domain."""
    ioports: Coerced[tuple[IoportRange, ...], Iterable[IoportRange]] = setting((), many(part(IoportRange)))
    """I/O ports of the host given to the guest; x86."""
    irqs: Coerced[tuple[int, ...], Iterable[int]] = setting((), many(integer(0, UINT32_MAX)))
    """Interrupts of the host given to the guest."""
    iomem: Coerced[tuple[IomemRange, ...], Iterable[IomemRange]] = setting((), many(part(IomemRange)))
    """Device memory of the host given to the guest."""

    @property
    def effective_maxvcpus(self) -> int:
        """``maxvcpus`` as libxl gets it: the value set, or the vCPUs of ``vnuma``, or ``vcpus``."""
        return self.maxvcpus or sum(len(node.vcpus) for node in self.vnuma) or self.vcpus

    @property
    def effective_maxmem(self) -> float | None:
        """``maxmem`` as libxl gets it, in MiB: the value set, or the sum of ``vnuma``, or ``memory``."""
        if self.maxmem is not None:
            return self.maxmem
        return sum(node.size or 0 for node in self.vnuma) if self.vnuma else self.memory

    @property
    def effective_numa_placement(self) -> bool | None:
        """``numa_placement`` as libxl gets it: the value set, or False where xl switches it off, or None."""
        if self.numa_placement is not None:
            return self.numa_placement
        placed = any(node.pnode is not None for node in self.vnuma)
        return False if placed or isinstance(self.cpus, tuple) or self.cpus_soft is not None else None

    def canonical(self) -> DomainConfig:
        """Return the shortest configuration that means the same to libxl.

        Configurations that mean the same to libxl have equal canonical forms. A ``maxvcpus`` that equals ``vcpus``, or
        a vif's number that equals its place in the list, is left out. `pyxen.libxljson.loads` returns this form.
        """
        return canonical(self)

    def diff(self, other: DomainConfig) -> ConfigDiff:
        """Return what another configuration asks for that this one is not: ``domain.config().diff(wanted)``.

        Devices are matched by what identifies them: a vdev, a MAC address, a PCI address, a number. Settings that
        `other` leaves to libxl do not count, since whatever libxl chose is right. Neither does a value that only
        repeats libxl's own choice. CPU sets are compared as they are: see `resolve_cpus`.

        Args:
            other: The configuration to compare with.

        Returns:
            The difference; it is false if there is none.
        """
        return diff(self, other)

    def resolve_cpus(self, cpus: Iterable[int], nodes: Mapping[int, Iterable[int]] | None = None) -> DomainConfig:
        """Return the configuration with ``all`` and ``nodes:N`` in its CPU sets resolved for one host.

        Args:
            cpus: The host's CPUs.
            nodes: The CPUs of each NUMA node of the host, by its number.

        Raises:
            ValidationError: A set names a node that the host does not have.
        """
        return resolve_cpus(self, tuple(cpus), nodes or {})

    def problems(self) -> tuple[Problem, ...]:
        """Return the contradictions between settings, as `validate` would raise them."""
        return problems(self)

    def validate(self) -> None:
        """Check for settings that exclude each other, or that need another guest type.

        Raises:
            ValidationError: There are `problems`; it lists them all, each with the path of its field.
        """
        found = self.problems()
        if found:
            lines = tuple(map(str, found))
            raise ValidationError("\n".join(lines), path=found[0].path, problems=lines)
