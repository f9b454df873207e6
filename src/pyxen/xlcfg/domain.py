"""What the keys of an xl configuration mean: from settings to a `DomainConfig`, as xl reads them.

A key that xl warns of and ignores, or passes over in silence, is noted and left out; what xl refuses is refused.
The differences on purpose are listed in `pyxen.xlcfg.deviations`.
"""

from __future__ import annotations

import re
import uuid
from typing import Any, Final

from pyxen.config import (
    ActionOnShutdown,
    Altp2mMode,
    Arm,
    ArmSciType,
    BiosType,
    DeviceModel,
    DeviceModelVersion,
    DomainConfig,
    DomainType,
    GfxPassthruKind,
    GicVersion,
    HdType,
    LibxlEnum,
    McaCap,
    Passthrough,
    PvShim,
    Scheduler,
    Sdl,
    Spice,
    Stubdomain,
    SveType,
    TeeType,
    TimerMode,
    TscMode,
    VendorDevice,
    VgaInterfaceType,
    Vnc,
    VuartType,
)
from pyxen.errors import ValidationError
from pyxen.xlcfg import devicelists
from pyxen.xlcfg.cpuid import read_cpuid, read_xend_cpuid
from pyxen.xlcfg.cpus import read_colors, read_cpus, read_vnode
from pyxen.xlcfg.keys import HVM, KEYS, Key
from pyxen.xlcfg.platform import read_iomem, read_ioports, read_irq, read_smbios, read_viridian
from pyxen.xlcfg.source import Source
from pyxen.xlcfg.specs import SpecError, member, unsigned

__all__ = ["ACTIONS", "FIRMWARE_FOLDER", "read_domain"]

FIRMWARE_FOLDER: Final = "/usr/lib/xen/boot"
"""Where Xen's firmware is by default; xl has the folder it was built with, Debian's ``/usr/lib/xen-4.NN/boot``."""

ACTIONS: Final = {one.replace("_", "-"): one for one in ActionOnShutdown} | {
    "rename-restart": ActionOnShutdown.RESTART_RENAME
}
"""xl's names of the actions on shutdown."""
del ACTIONS["restart-rename"]

_GROUPS: Final = {
    "arm": Arm,
    "device_model": DeviceModel,
    "pvshim": PvShim,
    "scheduler": Scheduler,
    "sdl": Sdl,
    "spice": Spice,
    "stubdomain": Stubdomain,
    "vnc": Vnc,
}
_ENUMS: Final[dict[str, type[LibxlEnum]]] = {
    "bios": BiosType,
    "hdtype": HdType,
    "vendor_device": VendorDevice,
    "passthrough": Passthrough,
    "gic_version": GicVersion,
    "tee": TeeType,
    "sve": SveType,
    "vuart": VuartType,
}
_VGA: Final = {
    "stdvga": VgaInterfaceType.STD,
    "cirrus": VgaInterfaceType.CIRRUS,
    "none": VgaInterfaceType.NONE,
    "qxl": VgaInterfaceType.QXL,
}
_MODELS: Final = {
    "qemu-xen": DeviceModelVersion.QEMU_XEN,
    "qemu-xen-traditional": DeviceModelVersion.QEMU_XEN_TRADITIONAL,
}
_DEFAULTS: Final = {"max_event_channels": 0, "usbversion": 0, "xenstore_feature_mask": 2**32 - 1} | dict.fromkeys(
    ("cpu_weight", "cap", "period", "slice", "latency", "extratime"), -1
)
"""Numbers that are libxl's word for "not said"."""

_BOUNDED: Final = ("max_grant_frames", "max_maptrack_frames", "max_grant_version")
_INT_MAX: Final = 2**31 - 1
_UINT16_MAX: Final = 2**16 - 1
_SCREEN: Final = ("vnc", "vnclisten", "vncpasswd", "vncdisplay", "vncunused", "sdl", "opengl", "display", "xauthority")
_UUID: Final = re.compile(r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
_LEAST_HOLE, _MOST_HOLE = 256, 3840
_MOST_OEM_STRINGS: Final = 99
_BLANKS_OF_ARGUMENTS: Final = re.compile(r"[^ \t\n]+")

_HVM_KEYS_OF_ALL: Final = frozenset(
    (
        "videoram", "altp2m", "altp2m_count", "device_model_args_hvm", "device_model_stubdomain_override",
        "device_model_stubdomain_seclabel", "stubdomain_kernel", "stubdomain_cmdline", "stubdomain_ramdisk",
        "stubdomain_memory",
    )
)  # fmt: skip
"""Keys that mean something to HVM guests only, but that xl hands on for all."""


def read_domain(source: Source) -> DomainConfig:
    """Return the configuration that the settings say.

    Raises:
        ParseError: xl would refuse it, or a value is impossible.
    """
    return _Domain(source).read()


class _Domain:
    """A configuration while it is read: fields by their paths."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self.settings = source.settings
        self.said: dict[str, Any] = {}
        self.type = DomainType.PV

    def read(self) -> DomainConfig:
        self.type = self.said["type"] = self._type()
        for name in self.settings.keys():  # noqa: SIM118 - Settings is no mapping
            known = KEYS.get(name)
            if known is None:
                self.source.note(name, "xl knows no such key, and passes over it in silence")
            elif self._is_read(known):
                special = _SPECIAL.get(name)
                if special:
                    special(self, name)
                else:
                    self._plain(known)
        self._together()
        return self._finish()

    def _is_read(self, known: Key) -> bool:
        """Whether xl reads a key for a guest of this type; it is noted if not."""
        name = known.name
        if name in _SCREEN or name == "keymap":
            # PV guests get a framebuffer of it: see `devicelists`.
            if self.type is DomainType.PVH:
                self.source.note(name, "a PVH guest has no screen")
            return self.type is DomainType.HVM
        wanted = {("hvm",): DomainType.HVM, ("pvh",): DomainType.PVH}.get(known.guests)
        if name == "e820_host":
            wanted = DomainType.PV
        if wanted is None or wanted is self.type or name in _HVM_KEYS_OF_ALL:
            return True
        self.source.note(name, f"only {wanted.upper()} guests have it; xl passes over it in silence")
        return False

    def _plain(self, known: Key) -> None:
        name, kind = known.name, known.kind
        value: Any
        if kind == "boolean":
            value = self.source.boolean(name)
        elif kind == "integer":
            value = self.source.integer(name)
            if value == _DEFAULTS.get(name, value is None):
                value = None
        elif kind == "strings":
            if not isinstance(self.settings.value(name), list):
                raise self.source.error(name, "a list is needed")
            value = self.source.items(name)
        else:
            value = self.source.string(name)
            if value is not None and name in _ENUMS:
                value = self._member(name, _ENUMS[name], value)
        if value is not None:
            self.said[known.field] = value

    def _member(self, name: str, kind: type[LibxlEnum], value: str) -> LibxlEnum:
        return self.source.read(name, lambda: member(kind, value, f"value of {name}"))

    # -- What it is and boots -----------------------------------------------------------------------------------------

    def _type(self) -> DomainType:
        found = None
        value = self.source.string("type")
        if value is not None:
            # xl compares as many characters as there are: "h" is hvm, and so is "".
            found = next((one for one in ("hvm", "pv", "pvh") if one.startswith(value)), None)
            if found is None:
                raise self.source.error("type", f"{value!r} is no type of guest; it can be hvm, pvh or pv")
        builder = self.source.string("builder")
        if builder is None:
            return DomainType(found or "pv")
        built = "hvm" if "hvm".startswith(builder) else "pv" if "generic".startswith(builder) else None
        if built is None:
            raise self.source.error("builder", f"{builder!r} is no builder; say type='hvm', 'pvh' or 'pv' instead")
        if found is not None and found != built:
            raise self.source.error("builder", f"builder={builder!r} contradicts type={value!r}; leave builder out")
        return DomainType(built)

    def _uuid(self, name: str) -> None:
        value = self.source.string(name)
        if value is not None:
            if not _UUID.fullmatch(value):
                raise self.source.error(name, f"{value!r} is no uuid")
            self.said["uuid"] = uuid.UUID(value)

    def _boot(self) -> None:
        root, extra = self.settings.string("root"), self.settings.string("extra")
        if root is None and extra is None:
            return
        if "cmdline" in self.said:
            for name in ("root", "extra"):
                if name in self.settings:
                    self.source.note(name, "xl ignores it beside cmdline")
        elif extra is None or root is None:
            self.said["cmdline"] = extra if root is None else f"root={root}"
        else:
            self.said["cmdline"] = f"root={root} {extra}"

    def _firmware(self) -> None:
        firmware = self.source.string("firmware")
        kernel = self.said.get("kernel")
        if self.type is DomainType.HVM:
            if kernel is not None and kernel.rstrip("/").rpartition("/")[2] == "hvmloader":
                del self.said["kernel"]
                self.source.note("kernel", "xl ignores it: hvmloader is loaded anyway")
            self._hvm_firmware(firmware)
            return
        if firmware is not None:
            if kernel is not None:
                raise self.source.error("firmware", "kernel and firmware exclude each other")
            if not ("pvgrub32".startswith(firmware) or "pvgrub64".startswith(firmware)):
                raise self.source.error("firmware", f"{firmware!r} is no firmware of this type of guest; pvgrub64 is")
            self.said["kernel"] = f"{FIRMWARE_FOLDER}/{firmware}.bin"
        if "kernel" not in self.said and "bootloader" not in self.said:
            raise self.source.error("kernel", f"a {self.type.upper()} guest needs a kernel, or a bootloader")

    def _hvm_firmware(self, firmware: str | None) -> None:
        if firmware is None:
            return
        bios = next((one for one in BiosType if one.value == firmware.lower()), None)
        if bios is not None:
            self.said["bios"] = bios
        elif "uefi".startswith(firmware):
            self.said["bios"] = BiosType.OVMF
        elif not "bios".startswith(firmware):
            self.said["firmware_override"] = firmware

    def _bootloader_args(self, name: str) -> None:
        value = self.settings.value(name)
        if isinstance(value, str):
            self.said[name] = _BLANKS_OF_ARGUMENTS.findall(value)
        else:
            self.said[name] = self.source.items(name)

    # -- CPUs ---------------------------------------------------------------------------------------------------------

    def _vcpus(self, name: str) -> None:
        number = self.source.integer(name)
        if number is not None:
            self.said[name] = max(number, 1)

    def _maxvcpus(self, name: str) -> None:
        number = self.source.integer(name)
        if number:
            self.said[name] = number

    def _vnuma(self, name: str) -> None:
        value = self.settings.value(name)
        if not isinstance(value, list):
            self.source.note(name, "xl expects a list here, and ignores a single value")
            return
        note = self.source.noting(name)

        def read(item: object) -> object:
            if not isinstance(item, list):
                raise SpecError("a virtual node is a list of strings")
            return read_vnode([word for word in item if isinstance(word, str)], len(value), note)

        self.said["vnuma"] = self.source.each(name, value, read)

    def _limits(self) -> None:
        """Check the limits that come with virtual nodes, and read what depends on the number of vCPUs."""
        nodes = self.said.get("vnuma", ())
        vcpus, maxvcpus = self.said.get("vcpus", 1), self.said.get("maxvcpus")
        if nodes:
            of_nodes = sum(len(node.vcpus) for node in nodes)
            if maxvcpus not in (None, of_nodes):
                raise self.source.error("maxvcpus", f"it is {maxvcpus}, but the nodes of vnuma have {of_nodes} vCPUs")
            maxvcpus = maxvcpus or of_nodes
            size = sum(node.size or 0 for node in nodes)
            if self.said.get("maxmem", size) != size:
                raise self.source.error(
                    "maxmem", f"it is {self.said['maxmem']}, but the nodes of vnuma have {size} MiB"
                )
        maxvcpus = maxvcpus or vcpus
        if maxvcpus < vcpus:
            raise self.source.error("maxvcpus", f"it is {maxvcpus}, less than vcpus, {vcpus}")
        for name in ("cpus", "cpus_soft"):
            if name in self.settings:
                self._affinity(name, maxvcpus)

    def _affinity(self, name: str, maxvcpus: int) -> None:
        value = self.settings.value(name)
        if isinstance(value, str):
            self.said[name] = self.source.read(name, lambda: read_cpus(value))
            return
        items = self.source.items(name)
        if len(items) > maxvcpus:
            self.source.note(name, "there are not so many vCPUs", repr(items[maxvcpus:]))
        self.said[name] = self.source.each(name, items[:maxvcpus], read_cpus)
        if not items:
            self.said["numa_placement"] = False

    def _llc_colors(self, name: str) -> None:
        items = self.source.plain_items(name)
        self.said[name] = self.source.read(name, lambda: read_colors(items))

    def _cpuid(self, name: str) -> None:
        value = self.settings.value(name)
        note = self.source.noting(name)
        if isinstance(value, str):
            self.said[name] = read_cpuid(value, note)
        else:
            items = self.source.items(name)
            self.said[name] = self.source.read(name, lambda: read_xend_cpuid(items, note))

    def _mode(self, name: str, kind: type[LibxlEnum]) -> None:
        """Read a mode by its name, or by its number as of old."""
        number = self.settings.integer(name)
        modes = list(kind)
        if number is None:
            value = self.source.string(name)
            if value is not None:
                self.said[name] = self._member(name, kind, value)
        elif 0 <= number < len(modes):
            self.said[name] = modes[number]
        else:
            raise self.source.error(name, f"{number} is no value of {name}; it can be {', '.join(modes)}")

    def _timer_mode(self, name: str) -> None:
        if self.type is DomainType.PV and self.source.string(name) is not None:
            raise self.source.error(name, "PV guests have no timer mode")
        self._mode(name, TimerMode)

    def _altp2m_count(self, name: str) -> None:
        number = self.settings.integer(name)
        if number is None:
            self.source.integer(name)
        elif not 0 <= number <= _UINT16_MAX:
            raise self.source.error(name, f"{number} is out of range; it can be 0 to {_UINT16_MAX}")
        else:
            self.said[name] = number

    # -- Platform -----------------------------------------------------------------------------------------------------

    def _bounded(self, name: str) -> None:
        number = self.settings.integer(name)
        if number is None or not 0 <= number <= _INT_MAX:
            raise self.source.error(name, f"a number from 0 to {_INT_MAX} is needed")
        self.said[name] = number

    def _mmio_hole(self, name: str) -> None:
        number = self.source.integer(name)
        if number is not None:
            if not _LEAST_HOLE <= number <= _MOST_HOLE:
                raise self.source.error(name, f"{number} is out of range; it can be {_LEAST_HOLE} to {_MOST_HOLE} MiB")
            self.said[name] = number

    def _viridian(self, name: str) -> None:
        if isinstance(self.settings.value(name), str):
            self.said[name] = self.source.boolean(name)
        else:
            items = self.source.plain_items(name)
            self.said[name] = self.source.read(name, lambda: read_viridian(items))

    def _smbios(self, name: str) -> None:
        if isinstance(self.settings.value(name), str):
            raise self.source.error(name, "a list is needed")
        found = self.source.each(name, self.source.plain_items(name), read_smbios)
        if sum(getattr(one, "type", None) == "oem" for one in found) > _MOST_OEM_STRINGS:
            raise self.source.error(name, f"at most {_MOST_OEM_STRINGS} oem strings are possible")
        self.said[name] = found

    def _ms_vm_genid(self, name: str) -> None:
        value = self.source.string(name)
        if value not in ("generate", "none", None):
            raise self.source.error(name, f"{value!r} is no generation id; it can be generate or none")
        if value == "generate":
            self.said[name] = value

    def _mca_caps(self, name: str) -> None:
        if isinstance(self.settings.value(name), str):
            raise self.source.error(name, "a list is needed")
        items = self.source.plain_items(name)
        if any(item != "lmce" for item in items):
            raise self.source.error(name, "lmce is the only machine check capability")
        self.said[name] = [McaCap("lmce")] if items else []

    def _ranges(self, name: str) -> None:
        note = self.source.noting(name)
        readers: dict[str, Any] = {
            "ioports": lambda item: read_ioports(item, note),
            "irqs": read_irq,
            "iomem": read_iomem,
        }
        self.said[name] = self.source.each(name, self.source.plain_items(name), readers[name])

    def _xenstore_quota(self, name: str) -> None:
        quotas = self.source.each(name, self.source.plain_items(name), _quota)
        self.said[name] = quotas

    def _arm_sci(self, name: str) -> None:
        for word in (self.source.string(name) or "").split(","):
            key, sign, value = word.partition("=")
            if sign and key == "type":
                self.said["arm.sci"] = self._member(name, ArmSciType, value)
            elif word:
                self.source.note(name, "xl passes over it in silence", word)

    def _action(self, name: str) -> None:
        value = self.source.string(name)
        if value is not None:
            if value not in ACTIONS:
                raise self.source.error(name, f"{value!r} is no action; it can be {', '.join(ACTIONS)}")
            self.said[name] = ACTIONS[value]

    # -- Emulated devices ---------------------------------------------------------------------------------------------

    def _vga(self, name: str) -> None:
        value = self.source.string(name)
        if value is not None:
            if value not in _VGA:
                raise self.source.error(name, f"{value!r} is no graphics card; it can be {', '.join(_VGA)}")
            self.said["vga"] = _VGA[value]

    def _stdvga(self, name: str) -> None:
        if self.settings.string("vga") is not None:
            self.source.note(name, "xl ignores it beside vga")
            return
        number = self.source.integer(name)
        if number is not None:
            self.said["vga"] = VgaInterfaceType.STD if number else VgaInterfaceType.CIRRUS

    def _gfx_passthru(self, name: str) -> None:
        number = self.settings.integer(name)
        if number is not None:
            self.said[name] = number != 0
            return
        value = self.source.string(name)
        if value is not None:
            self.said["gfx_passthru_kind"] = self._member(name, GfxPassthruKind, value)
            self.said[name] = True

    def _one_or_more(self, name: str) -> None:
        value = self.settings.value(name)
        self.said[name] = [value] if isinstance(value, str) else self.source.items(name)

    def _device_model_version(self, name: str) -> None:
        value = self.source.string(name)
        if value is not None:
            if value not in _MODELS:
                raise self.source.error(name, f"{value!r} is no device model; qemu-xen is")
            self.said["device_model.version"] = _MODELS[value]

    def _without_effect(self, name: str) -> None:
        self.source.note(name, "xl ignores it")

    def _later(self, name: str) -> None:
        """Leave a key to what reads several together."""

    # -- The end ------------------------------------------------------------------------------------------------------

    def _together(self) -> None:
        self._boot()
        self._firmware()
        self._limits()
        self.said.update(devicelists.read(self.source, self.type))
        if self.type is DomainType.HVM and self.said.get("vnc.display") and ":" in self.said.get("vnc.listen", ""):
            raise self.source.error("vncdisplay", "vnclisten says a display already")

    def _finish(self) -> DomainConfig:
        if "name" not in self.said:
            raise self.source.error("name", "a domain needs a name")
        fields: dict[str, Any] = {}
        groups: dict[str, dict[str, Any]] = {}
        for path, value in self.said.items():
            group, dot, name = path.partition(".")
            if dot:
                groups.setdefault(group, {})[name] = value
            else:
                fields[path] = value
        try:
            for group, values in groups.items():
                fields[group] = self._group(group, values)
            return DomainConfig(**fields)
        except ValidationError as error:
            raise self._impossible(error) from None

    def _group(self, group: str, values: dict[str, Any]) -> object:
        try:
            return _GROUPS[group](**values)
        except ValidationError as error:
            raise ValidationError(error.message, path=f"{group}.{error.path}") from None

    def _impossible(self, error: ValidationError) -> ValidationError | Exception:
        path = error.path or ""
        fitting = [name for name, key in KEYS.items() if key.field == path or key.field == path.partition("[")[0]]
        key = next((name for name in fitting if name in self.settings), None)
        if key is None:
            return error
        return self.source.error(key, error.message.partition(": ")[2])


def _quota(item: str) -> tuple[str, int]:
    name, sign, value = item.partition("=")
    found = unsigned(value, 0)
    if not sign or found is None or found[1] or found[0] >= 2**32:
        raise SpecError(f"{item!r} is no quota; write NAME=NUMBER")
    return name, found[0]


_SPECIAL: Final[dict[str, Any]] = {
    "type": _Domain._later,
    "builder": _Domain._later,
    "uuid": _Domain._uuid,
    "root": _Domain._later,
    "extra": _Domain._later,
    "firmware": _Domain._later,
    "bootloader_args": _Domain._bootloader_args,
    "vcpus": _Domain._vcpus,
    "maxvcpus": _Domain._maxvcpus,
    "cpus": _Domain._later,
    "cpus_soft": _Domain._later,
    "vnuma": _Domain._vnuma,
    "llc_colors": _Domain._llc_colors,
    "cpuid": _Domain._cpuid,
    "tsc_mode": lambda domain, name: domain._mode(name, TscMode),
    "altp2m": lambda domain, name: domain._mode(name, Altp2mMode),
    "timer_mode": _Domain._timer_mode,
    "altp2m_count": _Domain._altp2m_count,
    "mmio_hole": _Domain._mmio_hole,
    "viridian": _Domain._viridian,
    "smbios": _Domain._smbios,
    "ms_vm_genid": _Domain._ms_vm_genid,
    "mca_caps": _Domain._mca_caps,
    "xenstore_quota": _Domain._xenstore_quota,
    "arm_sci": _Domain._arm_sci,
    "vga": _Domain._vga,
    "stdvga": _Domain._stdvga,
    "gfx_passthru": _Domain._gfx_passthru,
    "serial": _Domain._one_or_more,
    "usbdevice": _Domain._one_or_more,
    "device_model_version": _Domain._device_model_version,
    "device_model": _Domain._without_effect,
    "vif2": _Domain._without_effect,
    "vncviewer": _Domain._without_effect,
    **dict.fromkeys(("ioports", "irqs", "iomem"), _Domain._ranges),
    **dict.fromkeys(_BOUNDED, _Domain._bounded),
    **dict.fromkeys(("on_poweroff", "on_reboot", "on_watchdog", "on_crash", "on_soft_reset"), _Domain._action),
    **dict.fromkeys(devicelists.KEYS_READ, _Domain._later),
}
