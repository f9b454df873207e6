"""The enumerations of libxl, by libxl's names; each member is also the string that libxl's JSON has for it.

Where libxl has a member for "not set" (``UNKNOWN``, ``INVALID``), the model uses None instead.
xl's own spellings are accepted (``"qemu-xen"``, ``"coredump-destroy"``, ``"ioemu"``, ``"stdvga"``), in any case.
"""

from __future__ import annotations

from enum import IntEnum, StrEnum
from typing import Final, Self

__all__ = [
    "ActionOnShutdown",
    "Altp2mMode",
    "ArmSciType",
    "BiosType",
    "ChannelConnection",
    "DeviceModelVersion",
    "DiskBackend",
    "DiskFormat",
    "DiskSpecification",
    "DomainType",
    "GfxPassthruKind",
    "GicVersion",
    "HdType",
    "LibxlEnum",
    "McaCap",
    "NicType",
    "P9Type",
    "Passthrough",
    "RdmReservePolicy",
    "RdmReserveStrategy",
    "SchedulerKind",
    "SmbiosType",
    "SveType",
    "TeeType",
    "TimerMode",
    "TscMode",
    "UsbCtrlType",
    "VendorDevice",
    "VgaInterfaceType",
    "ViridianEnlightenment",
    "VirtioTransport",
    "VkbBackend",
    "VsndPcmFormat",
    "VsndStreamType",
    "VuartType",
]

# xl.cfg's names for members, where they differ from libxl's.
XL_NAMES: Final = {
    "ActionOnShutdown": {"rename_restart": "restart_rename"},
    "NicType": {"ioemu": "vif_ioemu"},
    "VgaInterfaceType": {"stdvga": "std"},
}


class LibxlEnum(StrEnum):
    """An enumeration of libxl; ``Kind("name")`` takes libxl's and xl's spellings, in any case."""

    @classmethod
    def _missing_(cls, value: object) -> Self | None:
        if not isinstance(value, str):
            return None
        name = value.lower().replace("-", "_")
        name = XL_NAMES.get(cls.__name__, {}).get(name, name)
        return next((member for member in cls if member.value == name), None)


class DomainType(LibxlEnum):
    """How a domain runs (xl.cfg ``type``)."""

    PV = "pv"
    """Paravirtualised: needs a kernel that knows Xen, no hardware virtualisation."""
    PVH = "pvh"
    """Hardware virtualisation without emulated devices: kernel booted directly or by a boot loader."""
    HVM = "hvm"
    """Fully virtualised, with firmware and emulated devices (QEMU)."""


class ActionOnShutdown(LibxlEnum):
    """What the toolstack does when a domain has stopped (xl.cfg ``on_poweroff`` and so on)."""

    DESTROY = "destroy"
    """Remove the domain."""
    RESTART = "restart"
    """Remove it and create it again from the same configuration."""
    RESTART_RENAME = "restart_rename"
    """Keep the old domain for inspection under another name, and create a new one."""
    PRESERVE = "preserve"
    """Keep the domain, stopped, for inspection."""
    COREDUMP_DESTROY = "coredump_destroy"
    """Write a core dump, then destroy."""
    COREDUMP_RESTART = "coredump_restart"
    """Write a core dump, then restart."""
    SOFT_RESET = "soft_reset"
    """Reset the domain's state and keep its memory (for kexec inside the guest)."""


class RdmReserveStrategy(LibxlEnum):
    """Which reserved device memory regions of the host a guest's memory map leaves free."""

    IGNORE = "ignore"
    HOST = "host"


class RdmReservePolicy(LibxlEnum):
    """What a conflict with a reserved device memory region causes: failure, or a warning."""

    STRICT = "strict"
    RELAXED = "relaxed"


class ChannelConnection(LibxlEnum):
    """What a channel is connected to in the backend domain."""

    PTY = "pty"
    SOCKET = "socket"


class DeviceModelVersion(LibxlEnum):
    """Which family of device model: upstream QEMU, or the old fork that libxl no longer runs."""

    QEMU_XEN_TRADITIONAL = "qemu_xen_traditional"
    QEMU_XEN = "qemu_xen"


class DiskFormat(LibxlEnum):
    """How the data of a disk's target are laid out."""

    QCOW = "qcow"
    QCOW2 = "qcow2"
    VHD = "vhd"
    RAW = "raw"
    EMPTY = "empty"
    QED = "qed"


class DiskBackend(LibxlEnum):
    """Who serves a disk: the kernel's blkback, blktap, QEMU, or something libxl only describes in xenstore."""

    PHY = "phy"
    TAP = "tap"
    QDISK = "qdisk"
    STANDALONE = "standalone"


class DiskSpecification(LibxlEnum):
    """Protocol of a disk: Xen's own block protocol, or virtio."""

    XEN = "xen"
    VIRTIO = "virtio"


class VirtioTransport(LibxlEnum):
    """How a virtio device is attached."""

    MMIO = "mmio"


class NicType(LibxlEnum):
    """Kind of network interface: emulated card with a paravirtual twin (xl's ``ioemu``), or paravirtual only."""

    VIF_IOEMU = "vif_ioemu"
    VIF = "vif"


class P9Type(LibxlEnum):
    """Who serves a 9pfs share (Xen 4.19)."""

    QEMU = "qemu"
    XEN_9PFSD = "xen_9pfsd"


class TscMode(LibxlEnum):
    """How a guest sees the time stamp counter."""

    DEFAULT = "default"
    ALWAYS_EMULATE = "always_emulate"
    NATIVE = "native"
    NATIVE_PARAVIRT = "native_paravirt"


class TimerMode(LibxlEnum):
    """How timer ticks that a guest missed are delivered."""

    DELAY_FOR_MISSED_TICKS = "delay_for_missed_ticks"
    NO_DELAY_FOR_MISSED_TICKS = "no_delay_for_missed_ticks"
    NO_MISSED_TICKS_PENDING = "no_missed_ticks_pending"
    ONE_MISSED_TICK_PENDING = "one_missed_tick_pending"


class GfxPassthruKind(LibxlEnum):
    """Which graphics adaptor is passed through: found by libxl, or an Intel one for sure."""

    DEFAULT = "default"
    IGD = "igd"


class BiosType(LibxlEnum):
    """Firmware of an HVM guest."""

    ROMBIOS = "rombios"
    SEABIOS = "seabios"
    OVMF = "ovmf"


class SchedulerKind(LibxlEnum):
    """A scheduler of the hypervisor."""

    SEDF = "sedf"
    CREDIT = "credit"
    CREDIT2 = "credit2"
    ARINC653 = "arinc653"
    RTDS = "rtds"
    NULL = "null"


class VgaInterfaceType(LibxlEnum):
    """The emulated graphics card (xl calls ``STD`` ``"stdvga"``)."""

    CIRRUS = "cirrus"
    STD = "std"
    NONE = "none"
    QXL = "qxl"


class VendorDevice(LibxlEnum):
    """A PCI device that a vendor's Windows drivers look for."""

    NONE = "none"
    XENSERVER = "xenserver"


class HdType(LibxlEnum):
    """Controller of the emulated hard disks."""

    IDE = "ide"
    AHCI = "ahci"


class Passthrough(LibxlEnum):
    """Whether, and with which page tables, devices can be passed through."""

    DEFAULT = "default"
    DISABLED = "disabled"
    ENABLED = "enabled"
    SYNC_PT = "sync_pt"
    SHARE_PT = "share_pt"


class Altp2mMode(LibxlEnum):
    """Who may use alternate guest-physical memory maps."""

    DISABLED = "disabled"
    MIXED = "mixed"
    EXTERNAL = "external"
    LIMITED = "limited"


class VuartType(LibxlEnum):
    """An emulated serial port on Arm."""

    SBSA_UART = "sbsa_uart"


class GicVersion(LibxlEnum):
    """Version of the emulated interrupt controller on Arm."""

    DEFAULT = "default"
    V2 = "v2"
    V3 = "v3"


class TeeType(LibxlEnum):
    """Mediator to a trusted execution environment (``FFA`` from Xen 4.18)."""

    NONE = "none"
    OPTEE = "optee"
    FFA = "ffa"


class SveType(LibxlEnum):
    """Vector length of Arm's SVE, in bits; ``HW`` is the most that the machine has (Xen 4.18)."""

    HW = "hw"
    DISABLED = "disabled"
    BITS_128 = "128"
    BITS_256 = "256"
    BITS_384 = "384"
    BITS_512 = "512"
    BITS_640 = "640"
    BITS_768 = "768"
    BITS_896 = "896"
    BITS_1024 = "1024"
    BITS_1152 = "1152"
    BITS_1280 = "1280"
    BITS_1408 = "1408"
    BITS_1536 = "1536"
    BITS_1664 = "1664"
    BITS_1792 = "1792"
    BITS_1920 = "1920"
    BITS_2048 = "2048"


class ArmSciType(LibxlEnum):
    """Access of an Arm guest to the system control firmware (Xen 4.21)."""

    NONE = "none"
    SCMI_SMC = "scmi_smc"


class McaCap(LibxlEnum):
    """A machine check capability shown to the guest."""

    LMCE = "lmce"


class VkbBackend(LibxlEnum):
    """Who serves a virtual keyboard."""

    QEMU = "qemu"
    LINUX = "linux"


class UsbCtrlType(LibxlEnum):
    """Kind of USB controller."""

    AUTO = "auto"
    PV = "pv"
    DEVICEMODEL = "devicemodel"
    QUSB = "qusb"


class VsndStreamType(LibxlEnum):
    """Direction of a sound stream: playback or capture."""

    P = "p"
    C = "c"


class VsndPcmFormat(LibxlEnum):
    """Sample format of a sound stream, by ALSA's names."""

    S8 = "s8"
    U8 = "u8"
    S16_LE = "s16_le"
    S16_BE = "s16_be"
    U16_LE = "u16_le"
    U16_BE = "u16_be"
    S24_LE = "s24_le"
    S24_BE = "s24_be"
    U24_LE = "u24_le"
    U24_BE = "u24_be"
    S32_LE = "s32_le"
    S32_BE = "s32_be"
    U32_LE = "u32_le"
    U32_BE = "u32_be"
    F32_LE = "f32_le"
    F32_BE = "f32_be"
    F64_LE = "f64_le"
    F64_BE = "f64_be"
    IEC958_SUBFRAME_LE = "iec958_subframe_le"
    IEC958_SUBFRAME_BE = "iec958_subframe_be"
    MU_LAW = "mu_law"
    A_LAW = "a_law"
    IMA_ADPCM = "ima_adpcm"
    MPEG = "mpeg"
    GSM = "gsm"


class SmbiosType(LibxlEnum):
    """A string of the SMBIOS tables (Xen 4.18)."""

    BIOS_VENDOR = "bios_vendor"
    BIOS_VERSION = "bios_version"
    SYSTEM_MANUFACTURER = "system_manufacturer"
    SYSTEM_PRODUCT_NAME = "system_product_name"
    SYSTEM_VERSION = "system_version"
    SYSTEM_SERIAL_NUMBER = "system_serial_number"
    BASEBOARD_MANUFACTURER = "baseboard_manufacturer"
    BASEBOARD_PRODUCT_NAME = "baseboard_product_name"
    BASEBOARD_VERSION = "baseboard_version"
    BASEBOARD_SERIAL_NUMBER = "baseboard_serial_number"
    BASEBOARD_ASSET_TAG = "baseboard_asset_tag"
    BASEBOARD_LOCATION_IN_CHASSIS = "baseboard_location_in_chassis"
    ENCLOSURE_MANUFACTURER = "enclosure_manufacturer"
    ENCLOSURE_SERIAL_NUMBER = "enclosure_serial_number"
    ENCLOSURE_ASSET_TAG = "enclosure_asset_tag"
    BATTERY_MANUFACTURER = "battery_manufacturer"
    BATTERY_DEVICE_NAME = "battery_device_name"
    OEM = "oem"


class ViridianEnlightenment(IntEnum):
    """A group of Hyper-V enlightenments; the number is its bit in libxl's maps."""

    BASE = 0
    FREQ = 1
    TIME_REF_COUNT = 2
    REFERENCE_TSC = 3
    HCALL_REMOTE_TLB_FLUSH = 4
    APIC_ASSIST = 5
    CRASH_CTL = 6
    SYNIC = 7
    STIMER = 8
    HCALL_IPI = 9
    EX_PROCESSOR_MASKS = 10
    NO_VP_LIMIT = 11
    CPU_HOTPLUG = 12
