"""Tables of libxl's structs for a domain's own settings."""

from __future__ import annotations

from typing import Final

from pyxen.config.device_table import KINDS
from pyxen.config.enums import (
    ActionOnShutdown,
    Altp2mMode,
    ArmSciType,
    BiosType,
    DeviceModelVersion,
    DomainType,
    GfxPassthruKind,
    GicVersion,
    HdType,
    Passthrough,
    RdmReservePolicy,
    RdmReserveStrategy,
    SchedulerKind,
    SveType,
    TeeType,
    TimerMode,
    TscMode,
    VendorDevice,
    VgaInterfaceType,
    VuartType,
)
from pyxen.config.vfb import Vkb
from pyxen.libxljson import device_tables
from pyxen.libxljson.special_values import BITS, FLAGS, GENERATION_ID, MANY, ONE, PATHS, QUOTA
from pyxen.libxljson.table import Boxed, Items, Nested, Numbered, Row, Table
from pyxen.libxljson.value_kinds import (
    BITMAP,
    DEFBOOL,
    HOLE,
    MEMORY,
    PAIRS,
    TEXT,
    TEXTS,
    UINT32,
    UINT32S,
    UUID,
    Choice,
    Number,
)

__all__ = ["BUILD_INFO", "BY_TYPE", "CONFIG", "CREATE_INFO"]

_UNSAID: Final = Number(absent=-1, default=None)  # a signed number that libxl sets to -1
_UNSAID32: Final = Number(absent=2**32 - 1, default=None, bits=32)  # an unsigned number that libxl sets to its maximum

CREATE_INFO: Final = Table(
    Row("type", "type", Choice(DomainType, absent="invalid")),
    Row("hap", "hap", DEFBOOL),
    Row("oos", "oos", DEFBOOL),
    Row("ssidref", "ssidref", UINT32),
    Row("name", "name", TEXT),
    Row("domid", "domid", Number(default=None, bits=32)),
    Row("uuid", "uuid", UUID),
    Row("xsdata", "xsdata", PAIRS),
    Row("platformdata", "platformdata", PAIRS),
    Row("poolid", "poolid", UINT32),
    Row("pool_name", "pool", TEXT),
    Row("run_hotplug_scripts", "run_hotplug_scripts", DEFBOOL),
    Row("driver_domain", "driver_domain", DEFBOOL),
    Row("passthrough", "passthrough", Choice(Passthrough, absent="default")),
    Row("xend_suspend_evtchn_compat", "xend_suspend_evtchn_compat", DEFBOOL),
)

_SCHEDULER: Final = Table(
    Row("sched", "kind", Choice(SchedulerKind)),
    Row("weight", "weight", _UNSAID),
    Row("cap", "cap", _UNSAID),
    Row("period", "period", _UNSAID),
    Row("budget", "budget", _UNSAID),
    Row("extratime", "extratime", _UNSAID),
    Row("slice", "slice", _UNSAID),
    Row("latency", "latency", _UNSAID),
)

_ARM: Final = Table(
    Row("gic_version", "gic_version", Choice(GicVersion, absent="default")),
    Row("vuart", "vuart", Choice(VuartType)),
    Row("sve_vl", "sve", Choice(SveType, absent="disabled")),
    Row("nr_spis", "nr_spis", _UNSAID32),
    Row("arm_sci", "sci", Boxed("type", Choice(ArmSciType, absent="none"))),
)

BUILD_INFO: Final = Table(
    Row("cpumap", "cpumap", BITMAP),
    Row("nodemap", "nodemap", BITMAP),
    Row("tsc_mode", "tsc_mode", Choice(TscMode, absent="default")),
    Row("target_memkb", "memory", MEMORY),
    Row("video_memkb", "videoram", MEMORY),
    Row("shadow_memkb", "shadow_memory", MEMORY),
    Row("iommu_memkb", "iommu_memory", MEMORY),
    Row("rtc_timeoffset", "rtc_timeoffset", Number(signed_bits=32)),
    Row("exec_ssidref", "exec_ssidref", UINT32),
    Row("localtime", "localtime", DEFBOOL),
    Row("disable_migrate", "nomigrate", DEFBOOL),
    Row("cpuid", "cpuid", device_tables.CPUID),
    Row("blkdev_start", "blkdev_start", TEXT),
    Row("vnuma_nodes", "vnuma", Items(device_tables.VNODE)),
    Row("max_grant_frames", "max_grant_frames", _UNSAID32),
    Row("max_maptrack_frames", "max_maptrack_frames", _UNSAID32),
    Row("max_grant_version", "max_grant_version", _UNSAID),
    Row("device_model_version", "device_model.version", Choice(DeviceModelVersion)),
    Row("device_model_stubdomain", "stubdomain.enable", DEFBOOL),
    Row("stubdomain_memkb", "stubdomain.memory", MEMORY),
    Row("stubdomain_kernel", "stubdomain.kernel", TEXT),
    Row("stubdomain_cmdline", "stubdomain.cmdline", TEXT),
    Row("stubdomain_ramdisk", "stubdomain.ramdisk", TEXT),
    Row("device_model", "device_model.path", TEXT),
    Row("device_model_ssidref", "stubdomain.ssidref", UINT32),
    Row("device_model_ssid_label", "stubdomain.seclabel", TEXT),
    Row("device_model_user", "device_model.user", TEXT),
    Row("extra", "device_model.args", TEXTS),
    Row("extra_pv", "device_model.args_pv", TEXTS),
    Row("extra_hvm", "device_model.args_hvm", TEXTS),
    Row("sched_params", "scheduler", Nested(_SCHEDULER)),
    Row("ioports", "ioports", Items(device_tables.IOPORTS)),
    Row("irqs", "irqs", UINT32S),
    Row("iomem", "iomem", Items(device_tables.IOMEM)),
    Row("llc_colors", "llc_colors", UINT32S),
    Row("claim_mode", "claim_mode", DEFBOOL),
    Row("event_channels", "max_event_channels", Number(default=None, bits=32)),
    Row("kernel", "kernel", TEXT),
    Row("cmdline", "cmdline", TEXT),
    Row("ramdisk", "ramdisk", TEXT),
    Row("device_tree", "device_tree", TEXT),
    Row("acpi", "acpi", DEFBOOL),
    Row("bootloader", "bootloader", TEXT),
    Row("bootloader_args", "bootloader_args", TEXTS),
    Row("bootloader_restrict", "bootloader_restrict", DEFBOOL),
    Row("bootloader_user", "bootloader_user", TEXT),
    Row("timer_mode", "timer_mode", Choice(TimerMode)),
    Row("nested_hvm", "nestedhvm", DEFBOOL),
    Row("apic", "apic", DEFBOOL),
    Row("dm_restrict", "device_model.restrict", DEFBOOL),
    Row("tee", "tee", Choice(TeeType, absent="none")),
    Row("arch_arm", "arm", Nested(_ARM)),
    Row("arch_x86", "msr_relaxed", Boxed("msr_relaxed", DEFBOOL)),
    Row("altp2m", "altp2m", Choice(Altp2mMode, absent="disabled")),
    Row("altp2m_count", "altp2m_count", _UNSAID32),
    Row("vmtrace_buf_kb", "vmtrace_buf_kb", UINT32),
    Row("vpmu", "vpmu", DEFBOOL),
    Row("trap_unmapped_accesses", "trap_unmapped_accesses", DEFBOOL),
    Row("xenstore_feature_mask", "xenstore_feature_mask", _UNSAID32),
    Row("xenstore_quota", "xenstore_quota", QUOTA),
)

_HVM: Final = Table(
    Row("firmware", "firmware_override", TEXT),
    Row("bios", "bios", Choice(BiosType)),
    Row("pae", "pae", DEFBOOL),
    Row("apic", "apic", DEFBOOL, old=True),
    Row("acpi", "acpi", DEFBOOL, old=True),
    Row("acpi_s3", "acpi_s3", DEFBOOL),
    Row("acpi_s4", "acpi_s4", DEFBOOL),
    Row("acpi_laptop_slate", "acpi_laptop_slate", DEFBOOL),
    Row("nx", "nx", DEFBOOL),
    Row("viridian", "viridian.defaults", DEFBOOL),
    Row("viridian_enable", "viridian.enable", BITS),
    Row("viridian_disable", "viridian.disable", BITS),
    Row("timeoffset", "timeoffset", TEXT),
    Row("hpet", "hpet", DEFBOOL),
    Row("vpt_align", "vpt_align", DEFBOOL),
    Row("mmio_hole_memkb", "mmio_hole", HOLE),
    Row("timer_mode", "timer_mode", Choice(TimerMode), old=True),
    Row("nested_hvm", "nestedhvm", DEFBOOL, old=True),
    Row("altp2m", "altp2mhvm", DEFBOOL),
    Row("system_firmware", "bios_path_override", TEXT),
    Row("smbios_firmware", "smbios_firmware", TEXT),
    Row("smbios", "smbios", Items(device_tables.SMBIOS)),
    Row("acpi_firmware", "acpi_firmware", TEXT),
    Row("hdtype", "hdtype", Choice(HdType, absent="ide")),
    Row("nographic", "nographic", DEFBOOL),
    Row("vga", "vga", Boxed("kind", Choice(VgaInterfaceType))),
    Row("vnc", "vnc", Nested(device_tables.VNC)),
    Row("keymap", "keymap", TEXT),
    Row("sdl", "sdl", Nested(device_tables.SDL)),
    Row("spice", "spice", Nested(device_tables.SPICE)),
    Row("gfx_passthru", "gfx_passthru", DEFBOOL),
    Row("gfx_passthru_kind", "gfx_passthru_kind", Choice(GfxPassthruKind, absent="default")),
    Row("serial", "serial", ONE),
    Row("serial_list", "serial", MANY),
    Row("boot", "boot", TEXT),
    Row("usb", "usb", DEFBOOL),
    Row("usbversion", "usbversion", Number(default=None)),
    Row("usbdevice", "usbdevice", ONE),
    Row("usbdevice_list", "usbdevice", MANY),
    Row("vkb_device", "vkb_device", DEFBOOL),
    Row("soundhw", "soundhw", TEXT),
    Row("xen_platform_pci", "xen_platform_pci", DEFBOOL),
    Row("xen_platform_pci_bar_uc", "xen_platform_pci_bar_uc", DEFBOOL),
    Row("vendor_device", "vendor_device", Choice(VendorDevice, absent="none")),
    Row("ms_vm_genid", "ms_vm_genid", GENERATION_ID),
    Row(
        "rdm",
        "rdm",
        Nested(
            Table(
                Row("strategy", "strategy", Choice(RdmReserveStrategy, absent="ignore")),
                Row("policy", "policy", Choice(RdmReservePolicy, absent="invalid")),
            )
        ),
    ),
    Row("rdm_mem_boundary_memkb", "rdm_mem_boundary", MEMORY),
    Row("mca_caps", "mca_caps", FLAGS),
    Row("pirq", "hvm_pirq", DEFBOOL),
)

_PV: Final = Table(
    Row("kernel", "kernel", TEXT, old=True),
    Row("slack_memkb", "slack_memory", MEMORY),
    Row("bootloader", "bootloader", TEXT, old=True),
    Row("bootloader_args", "bootloader_args", TEXTS, old=True),
    Row("cmdline", "cmdline", TEXT, old=True),
    Row("ramdisk", "ramdisk", TEXT, old=True),
    Row("e820_host", "e820_host", DEFBOOL),
)

_PVH: Final = Table(
    Row("pvshim", "pvshim.enable", DEFBOOL),
    Row("pvshim_path", "pvshim.path", TEXT),
    Row("pvshim_cmdline", "pvshim.cmdline", TEXT),
    Row("pvshim_extra", "pvshim.extra", TEXT),
)

BY_TYPE: Final = {DomainType.HVM: _HVM, DomainType.PV: _PV, DomainType.PVH: _PVH}

_ACTION: Final = Choice(ActionOnShutdown, absent="destroy")

_DEVICE_LISTS: Final = {True: Numbered, False: Items}

CONFIG: Final = Table(
    *(
        Row(kind.member, kind.field, _DEVICE_LISTS[kind.numbered_by == "xl"](device_tables.DEVICES[kind.part]))
        for kind in KINDS
        if kind.part is not Vkb  # framebuffers bring keyboards too
    ),
    Row("rdms", "rdms", Items(device_tables.RDM_REGION)),
    Row("dtdevs", "dtdevs", PATHS),
    *(
        Row(key, key, _ACTION, missing=ActionOnShutdown.DESTROY)
        for key in ("on_poweroff", "on_reboot", "on_watchdog", "on_crash", "on_soft_reset")
    ),
)
