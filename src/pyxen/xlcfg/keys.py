"""The keys of an xl configuration: every one that xl reads, up to Xen 4.22, with what is known about it.

Loading, writing, `lint` and the documentation use this table. The guest types of a key, and the release that it came
with, are those of its setting in the model; a key says its own only where xl differs from libxl.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from pyxen.config import DomainConfig
from pyxen.config.base import Part, fields_of, settings_of
from pyxen.config.releases import OLDEST, release

__all__ = ["KEYS", "OLDEST", "Key", "release"]

HVM: Final = ("hvm",)
PV: Final = ("pv",)
PVH: Final = ("pvh",)
NOT_HVM: Final = ("pv", "pvh")
NOT_PVH: Final = ("hvm", "pv")


_OF_SETTING: Final = ("=",)
"""Stands for the guest types of the setting that a key is for."""


@dataclass(frozen=True, slots=True)
class Key:
    """One key.

    Attributes:
        name: The key.
        kind: What xl asks libxlutil for: ``string``, ``integer``, ``boolean``, ``list``, ``strings`` (a list of plain
            values), or two of these with ``|`` between.
        field: Where its value is in `pyxen.config.DomainConfig`, as a path; "" where it has no place of its own.
        guests: The guest types it means something to; empty for all. Default: those of the setting.
        since: The Xen release it came with; None if that is 4.17 or older. Default: that of the setting.
        until: The last Xen release on which it does something; None if the newest does. Default: that of the setting.
        instead: What took its place, "" where nothing did; None for a key that is not outdated.
    """

    name: str
    kind: str
    field: str = "="
    guests: tuple[str, ...] = _OF_SETTING
    since: str | None = None
    until: str | None = None
    instead: str | None = None

    def __post_init__(self) -> None:
        if self.field == "=":
            object.__setattr__(self, "field", self.name)
        guests, since, until = _setting(self.field)
        if self.guests is _OF_SETTING:
            object.__setattr__(self, "guests", guests)
        if self.since is None:
            object.__setattr__(self, "since", since)
        if self.until is None:
            object.__setattr__(self, "until", until)


def _setting(field: str) -> tuple[tuple[str, ...], str | None, str | None]:
    """Return the guest types of a setting of the model, the release it came with, and the last on which it works."""
    kind: type[Part] = DomainConfig
    guests: frozenset[str] = frozenset()
    since: str | None = None
    until: str | None = None
    for name in field.split(".") if field else ():
        known = settings_of(kind)[name]
        guests, since, until = known.guests or guests, known.since or since, known.until or until
        fields = fields_of(kind)
        inner = fields.defaults[fields.names.index(name)]
        kind = type(inner) if isinstance(inner, Part) else kind
    return tuple(sorted(map(str, guests))), since, until


_TABLE: Final = (
    Key("acpi", "boolean"),
    Key("acpi_firmware", "string"),
    Key("acpi_laptop_slate", "boolean"),
    Key("acpi_s3", "boolean"),
    Key("acpi_s4", "boolean"),
    Key("altp2m", "integer|string"),
    Key("altp2m_count", "integer"),
    Key("altp2mhvm", "boolean", instead="altp2m"),
    Key("apic", "boolean"),
    Key("arm_sci", "string", field="arm.sci"),
    Key("bios", "string"),
    Key("bios_path_override", "string"),
    Key("boot", "string"),
    Key("bootloader", "string"),
    Key("bootloader_args", "strings|string"),
    Key("bootloader_restrict", "boolean"),
    Key("bootloader_user", "string"),
    Key("builder", "string", field="", instead="type"),
    Key("cap", "integer", field="scheduler.cap"),
    Key("channel", "list", field="channels"),
    Key("cmdline", "string"),
    Key("cpu_weight", "integer", field="scheduler.weight"),
    Key("cpuid", "list|string"),
    Key("cpus", "list|string"),
    Key("cpus_soft", "list|string"),
    Key("device_model", "string", field="", instead="device_model_override"),
    Key("device_model_args", "strings", field="device_model.args"),
    Key("device_model_args_hvm", "strings", field="device_model.args_hvm", guests=HVM),
    Key("device_model_args_pv", "strings", field="device_model.args_pv", guests=NOT_HVM),
    Key("device_model_override", "string", field="device_model.path"),
    Key("device_model_stubdomain_override", "boolean", field="stubdomain.enable"),
    Key("device_model_stubdomain_seclabel", "string", field="stubdomain.seclabel"),
    Key("device_model_user", "string", field="device_model.user"),
    Key("device_model_version", "string", field="device_model.version"),
    Key("device_tree", "string"),
    Key("disk", "list", field="disks"),
    Key("display", "string", field="sdl.display", guests=NOT_PVH),
    Key("dm_restrict", "boolean", field="device_model.restrict"),
    Key("driver_domain", "boolean"),
    Key("dtdev", "list", field="dtdevs"),
    Key("e820_host", "boolean"),
    Key("extra", "string", field="", instead="cmdline"),
    Key("extratime", "integer", field="scheduler.extratime"),
    Key("firmware", "string", field=""),
    Key("firmware_override", "string"),
    Key("gfx_passthru", "integer|string"),
    Key("gic_version", "string", field="arm.gic_version"),
    Key("hap", "boolean"),
    Key("hdtype", "string"),
    Key("hpet", "boolean"),
    Key("hvm_pirq", "boolean"),
    Key("init_seclabel", "string"),
    Key("iomem", "list"),
    Key("ioports", "list"),
    Key("irqs", "list"),
    Key("kernel", "string"),
    Key("keymap", "string", guests=NOT_PVH),
    Key("latency", "integer", field="scheduler.latency", instead=""),
    Key("llc_colors", "list"),
    Key("localtime", "boolean"),
    Key("max_event_channels", "integer"),
    Key("max_grant_frames", "integer"),
    Key("max_grant_version", "integer"),
    Key("max_maptrack_frames", "integer"),
    Key("maxmem", "integer"),
    Key("maxvcpus", "integer"),
    Key("mca_caps", "list"),
    Key("memory", "integer"),
    Key("mmio_hole", "integer"),
    Key("ms_vm_genid", "string"),
    Key("msr_relaxed", "boolean"),
    Key("name", "string"),
    Key("nestedhvm", "boolean"),
    Key("nographic", "boolean"),
    Key("nomigrate", "boolean"),
    Key("nr_spis", "integer", field="arm.nr_spis"),
    Key("nx", "boolean", instead=""),
    Key("on_crash", "string"),
    Key("on_poweroff", "string"),
    Key("on_reboot", "string"),
    Key("on_soft_reset", "string"),
    Key("on_watchdog", "string"),
    Key("oos", "boolean"),
    Key("opengl", "boolean", field="sdl.opengl", guests=NOT_PVH),
    Key("p9", "list", field="p9s"),
    Key("pae", "boolean"),
    Key("passthrough", "string"),
    Key("pci", "list", field="pcis"),
    Key("pci_msitranslate", "integer", field=""),
    Key("pci_permissive", "integer", field=""),
    Key("pci_power_mgmt", "integer", field=""),
    Key("pci_seize", "integer", field=""),
    Key("period", "integer", field="scheduler.period"),
    Key("pool", "string"),
    Key("pvcalls", "list"),
    Key("pvshim", "boolean", field="pvshim.enable"),
    Key("pvshim_cmdline", "string", field="pvshim.cmdline"),
    Key("pvshim_extra", "string", field="pvshim.extra"),
    Key("pvshim_path", "string", field="pvshim.path"),
    Key("ramdisk", "string"),
    Key("rdm", "string"),
    Key("rdm_mem_boundary", "integer"),
    Key("root", "string", field="", instead="cmdline"),
    Key("rtc_timeoffset", "integer"),
    Key("sdl", "boolean", field="sdl.enable", guests=NOT_PVH),
    Key("seclabel", "string"),
    Key("serial", "strings|string"),
    Key("shadow_memory", "integer"),
    Key("slice", "integer", field="scheduler.slice", instead=""),
    Key("smbios", "list"),
    Key("smbios_firmware", "string"),
    Key("soundhw", "string"),
    Key("spice", "boolean", field="spice.enable"),
    Key("spice_clipboard_sharing", "boolean", field="spice.clipboard_sharing"),
    Key("spice_image_compression", "string", field="spice.image_compression"),
    Key("spice_streaming_video", "string", field="spice.streaming_video"),
    Key("spiceagent_mouse", "boolean", field="spice.agent_mouse"),
    Key("spicedisable_ticketing", "boolean", field="spice.disable_ticketing"),
    Key("spicehost", "string", field="spice.host"),
    Key("spicepasswd", "string", field="spice.passwd"),
    Key("spiceport", "integer", field="spice.port"),
    Key("spicetls_port", "integer", field="spice.tls_port"),
    Key("spiceusbredirection", "integer", field="spice.usbredirection"),
    Key("spicevdagent", "boolean", field="spice.vdagent"),
    Key("stdvga", "integer", field="", guests=HVM, instead="vga"),
    Key("stubdomain_cmdline", "string", field="stubdomain.cmdline"),
    Key("stubdomain_kernel", "string", field="stubdomain.kernel"),
    Key("stubdomain_memory", "integer", field="stubdomain.memory"),
    Key("stubdomain_ramdisk", "string", field="stubdomain.ramdisk"),
    Key("sve", "string", field="arm.sve"),
    Key("tee", "string"),
    Key("timer_mode", "integer|string"),
    Key("trap_unmapped_accesses", "boolean"),
    Key("tsc_mode", "integer|string"),
    Key("type", "string"),
    Key("usb", "boolean"),
    Key("usbctrl", "list", field="usbctrls"),
    Key("usbdev", "list", field="usbdevs"),
    Key("usbdevice", "strings|string"),
    Key("usbversion", "integer"),
    Key("uuid", "string"),
    Key("vcpus", "integer"),
    Key("vdispl", "list", field="vdispls"),
    Key("vendor_device", "string"),
    Key("vfb", "list", field="vfbs", guests=NOT_HVM),
    Key("vga", "string"),
    Key("videoram", "integer", guests=HVM),
    Key("vif", "list", field="vifs"),
    Key("vif2", "list", field="", instead="vif"),
    Key("viridian", "list|boolean"),
    Key("virtio", "list", field="virtios"),
    Key("vkb", "list", field="vkbs"),
    Key("vkb_device", "boolean"),
    Key("vmtrace_buf_kb", "integer"),
    Key("vnc", "boolean", field="vnc.enable", guests=NOT_PVH),
    Key("vncdisplay", "integer", field="vnc.display", guests=NOT_PVH),
    Key("vnclisten", "string", field="vnc.listen", guests=NOT_PVH),
    Key("vncpasswd", "string", field="vnc.passwd", guests=NOT_PVH),
    Key("vncunused", "boolean", field="vnc.unused", guests=NOT_PVH),
    Key("vncviewer", "integer", field="", instead=""),
    Key("vnuma", "list"),
    Key("vpmu", "boolean"),
    Key("vpt_align", "boolean"),
    Key("vsnd", "list", field="vsnds"),
    Key("vtpm", "list", field="vtpms"),
    Key("vuart", "string", field="arm.vuart"),
    Key("xauthority", "string", field="sdl.xauthority", guests=NOT_PVH),
    Key("xen_platform_pci", "boolean"),
    Key("xen_platform_pci_bar_uc", "boolean"),
    Key("xend_suspend_evtchn_compat", "boolean"),
    Key("xenstore_feature_mask", "integer"),
    Key("xenstore_quota", "list"),
)

KEYS: Final = {key.name: key for key in _TABLE}
"""Every key by its name."""
