"""Tables of libxl's device structs."""

from __future__ import annotations

from typing import Any, Final

from pyxen.config.base import Part
from pyxen.config.channel import Channel
from pyxen.config.cpuid import CpuidPolicy
from pyxen.config.disk import Disk
from pyxen.config.enums import (
    ChannelConnection,
    DiskBackend,
    DiskFormat,
    DiskSpecification,
    NicType,
    P9Type,
    RdmReservePolicy,
    SmbiosType,
    UsbCtrlType,
    VirtioTransport,
    VkbBackend,
    VsndPcmFormat,
    VsndStreamType,
)
from pyxen.config.media import Vdispl, Vsnd
from pyxen.config.p9 import P9
from pyxen.config.pci import Pci, RdmRegion
from pyxen.config.pvcalls import Pvcalls
from pyxen.config.usb import UsbCtrl, UsbDev
from pyxen.config.vfb import Vfb, Vkb
from pyxen.config.vif import COLO_KEYS, Vif
from pyxen.config.virtio import Virtio
from pyxen.config.vtpm import Vtpm
from pyxen.libxljson.table import Items, Nested, Row, Table
from pyxen.libxljson.value_kinds import (
    BITMAP,
    BOOL,
    DEFBOOL,
    INTBOOL,
    MAC,
    MEMORY,
    OMIT,
    TEXT,
    UINT32,
    UINT32S,
    UUID,
    Choice,
    Choices,
    Kind,
    Number,
    Place,
)

_UINT64_MAX: Final = 2**64 - 1
_UINT32_MAX: Final = 2**32 - 1
_ALL_FUNCTIONS: Final = _UINT32_MAX

_BACKEND: Final = (Row("backend_domid", "backend_domid", Number()), Row("backend_domname", "backend", TEXT))
_DEVID: Final = Row("devid", "devid", Number(absent=-1, default=None))


class _DiskTable(Table):
    """The struct has ``readwrite`` instead of the model's ``readonly``; both defaults depend on the kind of drive."""

    _KEYS: Final = ("readwrite", "removable", "is_cdrom")

    def encode(self, part: Disk, place: Place) -> dict[str, Any]:
        struct = super().encode(part, place)
        readonly = part.cdrom if part.readonly is None else part.readonly
        removable = part.cdrom if part.removable is None else part.removable
        struct |= {key: 1 for key, said in zip(self._KEYS, (not readonly, removable, part.cdrom), strict=True) if said}
        return struct

    def decode(
        self, struct: Any, place: Place, skip: tuple[str, ...] = (), into: dict[str, Any] | None = None
    ) -> dict[str, Any]:
        fields = super().decode(struct, place, (*skip, *self._KEYS), into)
        readwrite, removable, cdrom = (INTBOOL.decode(struct.get(key, 0), place.at(key)) for key in self._KEYS)
        if cdrom:
            fields["cdrom"] = True
        if readwrite is cdrom:
            fields["readonly"] = not readwrite
        if removable is not cdrom:
            fields["removable"] = removable
        return fields


class _VifTable(Table):
    """The struct has two fields for the rate, and 48 for COLO's settings."""

    _RATE: Final = {"bytes_per_interval": "rate_bytes_per_interval", "interval_usecs": "rate_interval_usecs"}
    _COLO: Final = {f"colo_{name}": name for name in COLO_KEYS}

    def encode(self, part: Any, place: Place) -> dict[str, Any]:
        struct = super().encode(part, place)
        if part.rate:
            struct |= {key: value for name, key in self._RATE.items() if (value := getattr(part.rate, name))}
        return struct | {f"colo_{name}": TEXT.encode(value, place.at("colo")) for name, value in part.colo}

    def decode(
        self, struct: Any, place: Place, skip: tuple[str, ...] = (), into: dict[str, Any] | None = None
    ) -> dict[str, Any]:
        fields = super().decode(struct, place, (*skip, *self._RATE.values(), *self._COLO), into)
        rate = {
            name: kind.decode(struct.get(key, 0), place.at(key))
            for (name, key), kind in zip(self._RATE.items(), (Number(), UINT32), strict=True)
        }
        if any(rate.values()):
            fields["rate"] = rate
        colo = {name: TEXT.decode(struct[key], place.at(key)) for key, name in self._COLO.items() if key in struct}
        if colo:
            fields["colo"] = {name: value for name, value in colo.items() if value is not None}
        return fields


class _PciTable(Table):
    """The struct has four fields for the address, and a mask of functions."""

    _KEYS: Final = {
        "domain": Number(),
        "bus": Number(),
        "dev": Number(),
        "func": Number(),
        "vfunc_mask": UINT32,
        "vdevfn": UINT32,
    }

    def encode(self, part: Any, place: Place) -> dict[str, Any]:
        struct = super().encode(part, place)
        said: dict[str, int] = {"vdevfn": (part.vslot or 0) << 3}
        if part.address:
            address = part.address
            mask = _ALL_FUNCTIONS if address.function is None else 1
            numbers = (address.domain, address.bus, address.device, address.function or 0, mask)
            said |= dict(zip(self._KEYS, numbers, strict=False))
        return struct | {key: value for key, value in said.items() if value}

    def decode(
        self, struct: Any, place: Place, skip: tuple[str, ...] = (), into: dict[str, Any] | None = None
    ) -> dict[str, Any]:
        fields = super().decode(struct, place, (*skip, *self._KEYS), into)
        said = [kind.decode(struct.get(key, 0), place.at(key)) for key, kind in self._KEYS.items()]
        domain, bus, device, function, mask, vdevfn = said
        if any(said[:5]) or "name" not in fields:
            if mask not in (0, 1, _ALL_FUNCTIONS):
                place.at("vfunc_mask").lose(mask, "the model has either one function of a device, or all of them")
            text = "*" if mask == _ALL_FUNCTIONS else f"{function:x}"
            fields["address"] = f"{domain:04x}:{bus:02x}:{device:02x}.{text}"
        if vdevfn & 7:
            place.at("vdevfn").lose(vdevfn, "the model has only the slot in the guest, not the function")
        if vdevfn >> 3:
            fields["vslot"] = vdevfn >> 3
        return fields


class _UsbDevTable(Table):
    """The struct has a union: empty, or a device of the host."""

    def encode(self, part: Any, place: Place) -> dict[str, Any]:
        struct = super().encode(part, place)
        if part.hostbus is not None or part.hostaddr is not None:
            struct["type.hostdev"] = _HOSTDEV.encode(part, place)
        return struct

    def decode(
        self, struct: Any, place: Place, skip: tuple[str, ...] = (), into: dict[str, Any] | None = None
    ) -> dict[str, Any]:
        fields = super().decode(struct, place, (*skip, "type.hostdev"), into)
        if "type.hostdev" in struct:
            host = _HOSTDEV.decode(struct["type.hostdev"], place.at("type.hostdev"))
            fields |= {"hostbus": 0, "hostaddr": 0} | host
        return fields


class _ChannelTable(Table):
    """The struct has a union: empty, a pty, or a socket with a path."""

    _UNION: Final = ("connection.unknown", "connection.pty", "connection.socket")

    def encode(self, part: Any, place: Place) -> dict[str, Any]:
        struct = super().encode(part, place)
        socket = part.connection is ChannelConnection.SOCKET
        if part.path is not None and not socket:
            place.at("path").lose(part.path, "only a channel with connection='socket' has a path")
        union = _SOCKET.encode(part, place) if socket else {}
        return struct | {f"connection.{part.connection or 'unknown'}": union}

    def decode(
        self, struct: Any, place: Place, skip: tuple[str, ...] = (), into: dict[str, Any] | None = None
    ) -> dict[str, Any]:
        fields = super().decode(struct, place, (*skip, *self._UNION), into)
        said = [key for key in self._UNION if key in struct]
        if len(said) > 1:
            raise place.wrong(f"{' and '.join(said)} cannot both be set")
        for key in said:
            table = _SOCKET if key.endswith("socket") else Table()
            fields |= table.decode(struct[key], place.at(key))
            if not key.endswith("unknown"):
                fields["connection"] = key.removeprefix("connection.")
        return fields


class _Cpuid(Kind):
    """An object with two lists; before Xen 4.17, only the list of leaves."""

    def encode(self, value: CpuidPolicy, place: Place) -> Any:
        if not value.leaves and not value.msrs:
            return OMIT
        return {
            "cpuid": [_LEAF.encode(leaf, place.at("leaves").item(i)) for i, leaf in enumerate(value.leaves)],
            "msr": [{"index": msr.index, "policy": msr.policy} for msr in value.msrs],
        }

    def decode(self, value: Any, place: Place, /) -> Any:
        if isinstance(value, list):
            value = {"cpuid": value}
        if not isinstance(value, dict):
            raise place.wrong(f"takes an object or a list, not {place.shown(value)}")
        return _CPUID.decode(value, place)


_LEAF: Final = Table(
    Row("leaf", "leaf", Number(absent=_UINT32_MAX, bits=32)),
    Row("subleaf", "subleaf", Number(absent=_UINT32_MAX, default=None, bits=32)),
    *(Row(register, register, TEXT) for register in ("eax", "ebx", "ecx", "edx")),
)
_MSR: Final = Table(Row("index", "index", Number(absent=_UINT32_MAX, bits=32)), Row("policy", "policy", TEXT))
_CPUID: Final = Table(Row("cpuid", "leaves", Items(_LEAF)), Row("msr", "msrs", Items(_MSR)))
_HOSTDEV: Final = Table(
    Row("hostbus", "hostbus", Number(default=None)), Row("hostaddr", "hostaddr", Number(default=None))
)
_SOCKET: Final = Table(Row("path", "path", TEXT))

CPUID: Final = _Cpuid()

DISK: Final = _DiskTable(
    *_BACKEND,
    Row("pdev_path", "target", TEXT),
    Row("vdev", "vdev", TEXT),
    Row("backend", "backendtype", Choice(DiskBackend)),
    Row("format", "format", Choice(DiskFormat)),
    Row("script", "script", TEXT),
    Row("direct_io_safe", "direct_io_safe", BOOL),
    Row("discard_enable", "discard", DEFBOOL),
    Row("specification", "specification", Choice(DiskSpecification)),
    Row("transport", "transport", Choice(VirtioTransport)),
    Row("irq", "irq", UINT32),
    Row("base", "base", Number()),
    Row("colo_enable", "colo.enable", DEFBOOL),
    Row("colo_restore_enable", "colo.restore_enable", DEFBOOL),
    Row("colo_host", "colo.host", TEXT),
    Row("colo_port", "colo.port", Number()),
    Row("colo_export", "colo.export", TEXT),
    Row("active_disk", "colo.active_disk", TEXT),
    Row("hidden_disk", "colo.hidden_disk", TEXT),
    Row("trusted", "trusted", DEFBOOL),
    Row("grant_usage", "grant_usage", DEFBOOL),
)

VIF: Final = _VifTable(
    *_BACKEND,
    _DEVID,
    Row("mtu", "mtu", Number(default=None)),
    Row("vlan", "vlan", TEXT),
    Row("model", "model", TEXT),
    Row("mac", "mac", MAC),
    Row("ip", "ip", TEXT),
    Row("bridge", "bridge", TEXT),
    Row("ifname", "vifname", TEXT),
    Row("script", "script", TEXT),
    Row("nictype", "type", Choice(NicType)),
    Row("gatewaydev", "gatewaydev", TEXT),
    Row("coloft_forwarddev", "forwarddev", TEXT),
    Row("trusted", "trusted", DEFBOOL),
)

PCI: Final = _PciTable(
    Row("msitranslate", "msitranslate", BOOL),
    Row("power_mgmt", "power_mgmt", BOOL),
    Row("permissive", "permissive", BOOL),
    Row("seize", "seize", BOOL),
    Row("rdm_policy", "rdm_policy", Choice(RdmReservePolicy, absent="invalid")),
    Row("name", "name", TEXT),
)

RDM_REGION: Final = Table(
    Row("start", "start", Number()),
    Row("size", "size", Number()),
    Row("policy", "policy", Choice(RdmReservePolicy, absent="invalid")),
)

VNC: Final = Table(
    Row("enable", "enable", DEFBOOL),
    Row("listen", "listen", TEXT),
    Row("passwd", "passwd", TEXT),
    Row("display", "display", Number()),
    Row("findunused", "unused", DEFBOOL),
)

SDL: Final = Table(
    Row("enable", "enable", DEFBOOL),
    Row("opengl", "opengl", DEFBOOL),
    Row("display", "display", TEXT),
    Row("xauthority", "xauthority", TEXT),
)

SPICE: Final = Table(
    Row("enable", "enable", DEFBOOL),
    Row("port", "port", Number()),
    Row("tls_port", "tls_port", Number()),
    Row("host", "host", TEXT),
    Row("disable_ticketing", "disable_ticketing", DEFBOOL),
    Row("passwd", "passwd", TEXT),
    Row("agent_mouse", "agent_mouse", DEFBOOL),
    Row("vdagent", "vdagent", DEFBOOL),
    Row("clipboard_sharing", "clipboard_sharing", DEFBOOL),
    Row("usbredirection", "usbredirection", Number()),
    Row("image_compression", "image_compression", TEXT),
    Row("streaming_video", "streaming_video", TEXT),
)

VFB: Final = Table(
    *_BACKEND,
    _DEVID,
    Row("vnc", "vnc", Nested(VNC)),
    Row("sdl", "sdl", Nested(SDL)),
    Row("keymap", "keymap", TEXT),
)

VKB: Final = Table(
    *_BACKEND,
    _DEVID,
    Row("backend_type", "backend_type", Choice(VkbBackend)),
    Row("unique_id", "unique_id", TEXT),
    Row("feature_disable_keyboard", "feature_disable_keyboard", BOOL),
    Row("feature_disable_pointer", "feature_disable_pointer", BOOL),
    Row("feature_abs_pointer", "feature_abs_pointer", BOOL),
    Row("feature_raw_pointer", "feature_raw_pointer", BOOL),
    Row("feature_multi_touch", "feature_multi_touch", BOOL),
    Row("width", "width", UINT32),
    Row("height", "height", UINT32),
    Row("multi_touch_width", "multi_touch_width", UINT32),
    Row("multi_touch_height", "multi_touch_height", UINT32),
    Row("multi_touch_num_contacts", "multi_touch_num_contacts", UINT32),
)

VIRTIO: Final = Table(
    *_BACKEND,
    _DEVID,
    Row("type", "type", TEXT),
    Row("transport", "transport", Choice(VirtioTransport)),
    Row("grant_usage", "grant_usage", DEFBOOL),
    Row("irq", "irq", UINT32),
    Row("base", "base", Number()),
)

VTPM: Final = Table(*_BACKEND, _DEVID, Row("uuid", "uuid", UUID))

P9_FOLDER: Final = Table(
    *_BACKEND,
    _DEVID,
    Row("tag", "tag", TEXT),
    Row("path", "path", TEXT),
    Row("security_model", "security_model", TEXT),
    Row("type", "type", Choice(P9Type)),
    Row("max_space", "max_space", Number()),
    Row("max_files", "max_files", Number()),
    Row("max_open_files", "max_open_files", Number()),
    Row("auto_delete", "auto_delete", BOOL),
)

PVCALLS: Final = Table(*_BACKEND, _DEVID)

CHANNEL: Final = _ChannelTable(*_BACKEND, _DEVID, Row("name", "name", TEXT))

USBCTRL: Final = Table(
    *_BACKEND,
    _DEVID,
    Row("type", "type", Choice(UsbCtrlType, absent="auto")),
    Row("version", "version", Number(default=None)),
    Row("ports", "ports", Number(default=None)),
)

USBDEV: Final = _UsbDevTable(
    Row("ctrl", "controller", Number(absent=-1, default=None)),
    Row("port", "port", Number()),
)

_CONNECTOR: Final = Table(
    Row("unique_id", "unique_id", TEXT),
    Row("width", "width", UINT32),
    Row("height", "height", UINT32),
)

VDISPL: Final = Table(
    *_BACKEND,
    _DEVID,
    Row("be_alloc", "be_alloc", BOOL),
    Row("connectors", "connectors", Items(_CONNECTOR)),
)

_PARAMS: Final = Row(
    "params",
    "params",
    Nested(
        Table(
            Row("sample_rates", "sample_rates", UINT32S),
            Row("sample_formats", "sample_formats", Choices(VsndPcmFormat)),
            Row("channels_min", "channels_min", UINT32),
            Row("channels_max", "channels_max", UINT32),
            Row("buffer_size", "buffer_size", UINT32),
        )
    ),
)
_STREAM: Final = Table(Row("unique_id", "unique_id", TEXT), Row("type", "type", Choice(VsndStreamType)), _PARAMS)
_PCM: Final = Table(Row("name", "name", TEXT), _PARAMS, Row("streams", "streams", Items(_STREAM)))

VSND: Final = Table(
    *_BACKEND,
    _DEVID,
    Row("short_name", "short_name", TEXT),
    Row("long_name", "long_name", TEXT),
    _PARAMS,
    Row("pcms", "pcms", Items(_PCM)),
)

SMBIOS: Final = Table(Row("key", "type", Choice(SmbiosType)), Row("value", "value", TEXT))

VNODE: Final = Table(
    Row("memkb", "size", MEMORY),
    Row("distances", "distances", UINT32S),
    Row("pnode", "pnode", Number(default=None, bits=32)),
    Row("vcpus", "vcpus", BITMAP),
)

IOPORTS: Final = Table(Row("first", "first", UINT32), Row("number", "number", UINT32, missing=0))

IOMEM: Final = Table(
    Row("start", "start", Number()),
    Row("number", "number", Number(), missing=0),
    Row("gfn", "gfn", Number(absent=_UINT64_MAX, default=None)),
)

DEVICES: Final[dict[type[Part], Table]] = {
    Channel: CHANNEL,
    Disk: DISK,
    P9: P9_FOLDER,
    Pci: PCI,
    Pvcalls: PVCALLS,
    RdmRegion: RDM_REGION,
    UsbCtrl: USBCTRL,
    UsbDev: USBDEV,
    Vdispl: VDISPL,
    Vfb: VFB,
    Vif: VIF,
    Virtio: VIRTIO,
    Vkb: VKB,
    Vsnd: VSND,
    Vtpm: VTPM,
}
"""The table of each device's struct. `pyxen.config.device_table` has the other properties of device kinds."""
