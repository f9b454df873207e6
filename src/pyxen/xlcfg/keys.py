"""The keys of an xl configuration: every one that xl reads, up to Xen 4.22, with what is known about it.

This is the one table; loading, writing, `lint` and the documentation go by it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

__all__ = ["KEYS", "OLDEST", "Key", "release"]

HVM: Final = ("hvm",)
PV: Final = ("pv",)
PVH: Final = ("pvh",)
NOT_HVM: Final = ("pv", "pvh")
NOT_PV: Final = ("hvm", "pvh")
NOT_PVH: Final = ("hvm", "pv")

OLDEST: Final = "4.17"
"""The oldest Xen release that is told apart here."""


@dataclass(frozen=True, slots=True)
class Key:
    """One key.

    Attributes:
        name: The key.
        kind: What xl asks libxlutil for: ``string``, ``integer``, ``boolean``, ``list``, ``strings`` (a list of plain
            values), or two of these with ``|`` between.
        field: Where its value is in `pyxen.config.DomainConfig`, as a path; "" where it has no place of its own.
        guests: The guest types it means something to; empty for all.
        since: The Xen release it came with; None if that is 4.17 or older.
        instead: What took its place, "" where nothing did; None for a key that is not outdated.
    """

    name: str
    kind: str
    field: str = "="
    guests: tuple[str, ...] = ()
    since: str | None = None
    instead: str | None = None

    def __post_init__(self) -> None:
        if self.field == "=":
            object.__setattr__(self, "field", self.name)


def release(text: str) -> tuple[int, int]:
    """Return a Xen release as numbers: ``"4.20"`` and ``"4.20.1"`` are (4, 20).

    Raises:
        ValueError: It is none.
    """
    major, _, rest = text.partition(".")
    try:
        return int(major), int(rest.partition(".")[0])
    except ValueError:
        raise ValueError(f"{text!r} is no Xen release; write it like '4.20'") from None


_TABLE: Final = (
    Key("acpi", "boolean"),
    Key("acpi_firmware", "string", guests=HVM),
    Key("acpi_laptop_slate", "boolean", guests=HVM),
    Key("acpi_s3", "boolean", guests=HVM),
    Key("acpi_s4", "boolean", guests=HVM),
    Key("altp2m", "integer|string", guests=HVM),
    Key("altp2m_count", "integer", guests=HVM, since="4.21"),
    Key("altp2mhvm", "boolean", guests=HVM, instead="altp2m"),
    Key("apic", "boolean", guests=HVM),
    Key("arm_sci", "string", field="arm.sci", since="4.21"),
    Key("bios", "string", guests=HVM),
    Key("bios_path_override", "string", guests=HVM),
    Key("boot", "string", guests=HVM),
    Key("bootloader", "string", guests=NOT_HVM),
    Key("bootloader_args", "strings|string", guests=NOT_HVM),
    Key("bootloader_restrict", "boolean", guests=NOT_HVM, since="4.18"),
    Key("bootloader_user", "string", guests=NOT_HVM, since="4.18"),
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
    Key("device_model_stubdomain_override", "boolean", field="stubdomain.enable", guests=HVM),
    Key("device_model_stubdomain_seclabel", "string", field="stubdomain.seclabel", guests=HVM),
    Key("device_model_user", "string", field="device_model.user"),
    Key("device_model_version", "string", field="device_model.version"),
    Key("device_tree", "string"),
    Key("disk", "list", field="disks"),
    Key("display", "string", field="sdl.display", guests=NOT_PVH),
    Key("dm_restrict", "boolean", field="device_model.restrict"),
    Key("driver_domain", "boolean"),
    Key("dtdev", "list", field="dtdevs"),
    Key("e820_host", "boolean", guests=PV),
    Key("extra", "string", field="", instead="cmdline"),
    Key("extratime", "integer", field="scheduler.extratime"),
    Key("firmware", "string", field=""),
    Key("firmware_override", "string", guests=HVM),
    Key("gfx_passthru", "integer|string", guests=HVM),
    Key("gic_version", "string", field="arm.gic_version"),
    Key("hap", "boolean", guests=NOT_PV),
    Key("hdtype", "string", guests=HVM),
    Key("hpet", "boolean", guests=HVM),
    Key("hvm_pirq", "boolean", guests=HVM, since="4.19"),
    Key("init_seclabel", "string"),
    Key("iomem", "list"),
    Key("ioports", "list"),
    Key("irqs", "list"),
    Key("kernel", "string"),
    Key("keymap", "string", guests=NOT_PVH),
    Key("latency", "integer", field="scheduler.latency", instead=""),
    Key("llc_colors", "list", since="4.20"),
    Key("localtime", "boolean"),
    Key("max_event_channels", "integer"),
    Key("max_grant_frames", "integer"),
    Key("max_grant_version", "integer"),
    Key("max_maptrack_frames", "integer"),
    Key("maxmem", "integer"),
    Key("maxvcpus", "integer"),
    Key("mca_caps", "list", guests=HVM),
    Key("memory", "integer"),
    Key("mmio_hole", "integer", guests=HVM),
    Key("ms_vm_genid", "string", guests=HVM),
    Key("msr_relaxed", "boolean"),
    Key("name", "string"),
    Key("nestedhvm", "boolean", guests=NOT_PV),
    Key("nographic", "boolean", guests=HVM),
    Key("nomigrate", "boolean"),
    Key("nr_spis", "integer", field="arm.nr_spis", since="4.19"),
    Key("nx", "boolean", guests=HVM, instead="cpuid"),
    Key("on_crash", "string"),
    Key("on_poweroff", "string"),
    Key("on_reboot", "string"),
    Key("on_soft_reset", "string"),
    Key("on_watchdog", "string"),
    Key("oos", "boolean", guests=NOT_PV),
    Key("opengl", "boolean", field="sdl.opengl", guests=NOT_PVH),
    Key("p9", "list", field="p9s"),
    Key("pae", "boolean", guests=HVM),
    Key("passthrough", "string"),
    Key("pci", "list", field="pcis"),
    Key("pci_msitranslate", "integer", field=""),
    Key("pci_permissive", "integer", field=""),
    Key("pci_power_mgmt", "integer", field=""),
    Key("pci_seize", "integer", field=""),
    Key("period", "integer", field="scheduler.period"),
    Key("pool", "string"),
    Key("pvcalls", "list"),
    Key("pvshim", "boolean", field="pvshim.enable", guests=PVH),
    Key("pvshim_cmdline", "string", field="pvshim.cmdline", guests=PVH),
    Key("pvshim_extra", "string", field="pvshim.extra", guests=PVH),
    Key("pvshim_path", "string", field="pvshim.path", guests=PVH),
    Key("ramdisk", "string"),
    Key("rdm", "string", guests=HVM),
    Key("rdm_mem_boundary", "integer", guests=HVM),
    Key("root", "string", field="", instead="cmdline"),
    Key("rtc_timeoffset", "integer"),
    Key("sdl", "boolean", field="sdl.enable", guests=NOT_PVH),
    Key("seclabel", "string"),
    Key("serial", "strings|string", guests=HVM),
    Key("shadow_memory", "integer", guests=NOT_PV),
    Key("slice", "integer", field="scheduler.slice", instead=""),
    Key("smbios", "list", guests=HVM, since="4.18"),
    Key("smbios_firmware", "string", guests=HVM),
    Key("soundhw", "string", guests=HVM),
    Key("spice", "boolean", field="spice.enable", guests=HVM),
    Key("spice_clipboard_sharing", "boolean", field="spice.clipboard_sharing", guests=HVM),
    Key("spice_image_compression", "string", field="spice.image_compression", guests=HVM),
    Key("spice_streaming_video", "string", field="spice.streaming_video", guests=HVM),
    Key("spiceagent_mouse", "boolean", field="spice.agent_mouse", guests=HVM),
    Key("spicedisable_ticketing", "boolean", field="spice.disable_ticketing", guests=HVM),
    Key("spicehost", "string", field="spice.host", guests=HVM),
    Key("spicepasswd", "string", field="spice.passwd", guests=HVM),
    Key("spiceport", "integer", field="spice.port", guests=HVM),
    Key("spicetls_port", "integer", field="spice.tls_port", guests=HVM),
    Key("spiceusbredirection", "integer", field="spice.usbredirection", guests=HVM),
    Key("spicevdagent", "boolean", field="spice.vdagent", guests=HVM),
    Key("stdvga", "integer", field="", guests=HVM, instead="vga"),
    Key("stubdomain_cmdline", "string", field="stubdomain.cmdline", guests=HVM),
    Key("stubdomain_kernel", "string", field="stubdomain.kernel", guests=HVM),
    Key("stubdomain_memory", "integer", field="stubdomain.memory", guests=HVM),
    Key("stubdomain_ramdisk", "string", field="stubdomain.ramdisk", guests=HVM),
    Key("sve", "string", field="arm.sve", since="4.18"),
    Key("tee", "string"),
    Key("timer_mode", "integer|string", guests=NOT_PV),
    Key("trap_unmapped_accesses", "boolean", since="4.21"),
    Key("tsc_mode", "integer|string"),
    Key("type", "string"),
    Key("usb", "boolean", guests=HVM),
    Key("usbctrl", "list", field="usbctrls"),
    Key("usbdev", "list", field="usbdevs"),
    Key("usbdevice", "strings|string", guests=HVM),
    Key("usbversion", "integer", guests=HVM),
    Key("uuid", "string"),
    Key("vcpus", "integer"),
    Key("vdispl", "list", field="vdispls"),
    Key("vendor_device", "string", guests=HVM),
    Key("vfb", "list", field="vfbs"),
    Key("vga", "string", guests=HVM),
    Key("videoram", "integer", guests=HVM),
    Key("vif", "list", field="vifs"),
    Key("vif2", "list", field="", instead="vif"),
    Key("viridian", "list|boolean", guests=HVM),
    Key("virtio", "list", field="virtios", since="4.18"),
    Key("vkb", "list", field="vkbs"),
    Key("vkb_device", "boolean", guests=HVM),
    Key("vmtrace_buf_kb", "integer"),
    Key("vnc", "boolean", field="vnc.enable", guests=NOT_PVH),
    Key("vncdisplay", "integer", field="vnc.display", guests=NOT_PVH),
    Key("vnclisten", "string", field="vnc.listen", guests=NOT_PVH),
    Key("vncpasswd", "string", field="vnc.passwd", guests=NOT_PVH),
    Key("vncunused", "boolean", field="vnc.unused", guests=NOT_PVH),
    Key("vncviewer", "integer", field="", instead=""),
    Key("vnuma", "list"),
    Key("vpmu", "boolean"),
    Key("vpt_align", "boolean", guests=HVM),
    Key("vsnd", "list", field="vsnds"),
    Key("vtpm", "list", field="vtpms"),
    Key("vuart", "string", field="arm.vuart"),
    Key("xauthority", "string", field="sdl.xauthority", guests=NOT_PVH),
    Key("xen_platform_pci", "boolean", guests=HVM),
    Key("xen_platform_pci_bar_uc", "boolean", guests=HVM, since="4.21"),
    Key("xend_suspend_evtchn_compat", "boolean"),
    Key("xenstore_feature_mask", "integer", since="4.21"),
    Key("xenstore_quota", "list", since="4.22"),
)

KEYS: Final = {key.name: key for key in _TABLE}
"""Every key by its name."""
