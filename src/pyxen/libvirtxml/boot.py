"""``<os>`` and ``<bootloader>``: the guest type and its boot settings."""

from __future__ import annotations

from typing import Final

from pyxen.config import BiosType, DomainConfig, DomainType
from pyxen.libvirtxml.features import needs_32_bits
from pyxen.libvirtxml.node import Node
from pyxen.libvirtxml.read_state import XmlReadState
from pyxen.libvirtxml.schema_patterns import ABSOLUTE_PATH, fitting

__all__ = ["read", "write"]

_TYPES: Final = {
    "hvm": DomainType.HVM,
    "xen": DomainType.PV,
    "linux": DomainType.PV,
    "xenpvh": DomainType.PVH,
}
_TYPE_NAMES: Final = {
    DomainType.HVM: ("hvm", "xenfv"),
    DomainType.PV: ("linux", "xenpv"),
    DomainType.PVH: ("xenpvh", "xenpvh"),
}
"""libvirt's names of guest types, and its machine for each. The Xen driver writes ``linux`` instead of ``xen``."""

_32_BIT: Final = "i686"

_BOOT: Final = {"fd": "a", "hd": "c", "cdrom": "d", "network": "n"}
_BOOT_NAMES: Final = {letter: name for name, letter in _BOOT.items()}
_FILES: Final = {"kernel": "kernel", "initrd": "ramdisk"}
_ACPI_TYPES: Final = ("slic", "rawset")

PYGRUB: Final = "pygrub"
"""libvirt's boot loader for a PV guest with neither a kernel nor a boot loader; xl refuses such a guest."""

XL_BOOT_ORDER: Final = "cda"
"""libxl's default boot order. libvirt's default is ``c``, so XML must include the order."""


def read(domain: Node, found: XmlReadState) -> None:
    """Read the guest type and its boot settings."""
    os = domain.merged("os")
    guest = os.child("type") if os is not None else None
    bootloader = domain.child("bootloader")
    if guest is None and bootloader is None:
        raise (os or domain).wrong("it has no <type> of guest")
    if guest is not None:
        name = (guest.word() or "").strip()
        if name not in _TYPES:
            raise guest.wrong(f"{name!r} is not a guest type of Xen; use one of {', '.join(_TYPES)}")
        found.put("type", _TYPES[name], guest)
        guest.text = ""  # its attributes are left: they may be those of another hypervisor
    if bootloader is not None:
        found.put("bootloader", bootloader.word(), bootloader)
        if (arguments := domain.child("bootloader_args")) is not None:
            found.put("bootloader_args", (arguments.word() or "").split(), arguments)
    if os is not None:
        _read_os(os, found)
    fields = found.fields
    if fields.get("type", DomainType.PV) is DomainType.PV and not fields.get("kernel") and not fields.get("bootloader"):
        fields["bootloader"] = PYGRUB


def _read_os(os: Node, found: XmlReadState) -> None:
    for tag, field in _FILES.items():
        if (node := os.child(tag)) is not None:
            found.put(field, node.word(), node)
    if (cmdline := os.child("cmdline")) is not None:
        found.put("cmdline", cmdline.word(), cmdline)
    acpi = os.merged("acpi")
    if not found.is_hvm:
        _drop_disk_boot(os)
        return
    _read_firmware(os, found)
    table = acpi.child("table") if acpi is not None else None
    if table is not None and table.attributes.get("type") in _ACPI_TYPES:
        table.get("type")
        found.put("acpi_firmware", table.word(), table)


def _drop_disk_boot(os: Node) -> None:
    """Ignore a boot order of only the disk: virt-install writes it for every guest, and libvirt ignores it too."""
    if all(boot.attributes.get("dev") == "hd" for boot in os.named("boot")):
        for boot in os.all("boot"):
            boot.drop()


def _read_firmware(os: Node, found: XmlReadState) -> None:
    firmware, loader = os.get("firmware"), os.child("loader")
    if firmware == "efi":
        found.put("bios", BiosType.OVMF, os)
    if loader is not None:
        is_flash = loader.get("type") == "pflash"
        loader.get("readonly")
        if loader.attributes.get("secure") == "no":
            loader.get("secure")
        if loader.attributes.get("format") == "raw":
            loader.get("format")
        path = loader.word()  # for a ROM it is the path of hvmloader, which libxl finds on its own
        if is_flash or firmware == "efi":
            found.put("bios", BiosType.OVMF, loader)
            found.put("bios_path_override", path, loader)
    devices = [boot.get("dev") or "hd" for boot in os.all("boot")]
    for device in devices:
        if device not in _BOOT:
            raise os.wrong(f"{device!r} is not a valid boot device; use one of {', '.join(_BOOT)}")
    found.put("boot", "".join(_BOOT[device] for device in devices) or "c", os)


def write(config: DomainConfig, domain: Node, *, is_xen: bool) -> None:
    """Write the guest type and its boot settings."""
    guest = config.type
    if guest is not DomainType.HVM and config.bootloader and _is_bootloader(config.bootloader):
        domain.add("bootloader", config.bootloader)
        if config.bootloader_args:
            domain.add("bootloader_args", " ".join(config.bootloader_args))
    os = domain.add("os")
    name, machine = _TYPE_NAMES[guest]
    arch = _32_BIT if is_xen and needs_32_bits(config) else None
    os.add("type", name if is_xen or name != "linux" else "xen", arch=arch, machine=machine if is_xen else None)
    if guest is DomainType.HVM and config.bios is BiosType.OVMF:
        _write_firmware(config, os)
    for tag, field in _FILES.items():
        if path := fitting(getattr(config, field), ABSOLUTE_PATH):
            os.add(tag, path)
    if config.cmdline:
        os.add("cmdline", config.cmdline)
    if guest is DomainType.HVM:
        _write_boot_order(config, os)


def _is_bootloader(path: str) -> bool:
    # Xen finds a bare name in its own folder, but libvirt's schema accepts only pygrub.
    return path == PYGRUB or ABSOLUTE_PATH.fullmatch(path) is not None


def _write_boot_order(config: DomainConfig, os: Node) -> None:
    for letter in XL_BOOT_ORDER if config.boot is None else config.boot:
        if letter in _BOOT_NAMES:
            os.add("boot", dev=_BOOT_NAMES[letter])
    if table := fitting(config.acpi_firmware, ABSOLUTE_PATH):
        # Every release of libvirt knows "slic"; the more fitting "rawset" came with 11.2.
        os.add("acpi").add("table", table, type="slic")


def _write_firmware(config: DomainConfig, os: Node) -> None:
    if path := fitting(config.bios_path_override, ABSOLUTE_PATH):
        os.add("loader", path, readonly="yes", type="pflash")
    else:
        os.set(firmware="efi")
