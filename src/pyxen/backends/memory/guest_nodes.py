"""The nodes that a simulated host and its guests have in xenstore, as libxl and the guests' kernels write them.

What others write to a domain's name, memory target or shutdown request has the effect that it has on Xen.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from typing import Final
from uuid import UUID

from pyxen.backends.memory.device_records import device_keys, in_ports, key_of
from pyxen.backends.memory.engine import Engine
from pyxen.backends.memory.guests import Guest, about, terminal
from pyxen.backends.memory.nodetree import NodeTree
from pyxen.backends.memory.xenstore import NodeWatches
from pyxen.config import Channel, Disk, DiskBackend, Part, Vif
from pyxen.events import DomainRenamed, Event, MemoryTargetChanged
from pyxen.records.xenstore import NodeAccess, NodePermissions
from pyxen.units import mib_to_kib

__all__ = ["GuestNodes"]

_DOM0S: Final = NodePermissions(0)
_SETTING: Final = re.compile(r"/local/domain/(\d+)/(name|memory/target|control/shutdown)")
_REQUESTS: Final = {"poweroff": "poweroff", "halt": "poweroff", "reboot": "reboot", "suspend": "suspend"}
_THE_GUESTS: Final = ("data", "drivers", "feature", "attr", "error", "device/suspend/event-channel", "control/sysrq")
"""Nodes of a domain that its guest may write."""

_UNCONNECTED: Final = ("1", "2")  # states of a frontend and its backend (XenbusState)
_CONNECTED: Final = ("4", "4")
_FIRST_REF: Final = 8  # grant references and event channels up to these are the guest's own
_FIRST_PORT: Final = 5
_UNITS: Final = ("dev-", "vdevfn-")  # nodes of one PCI device in the folder of all


class GuestNodes:
    """The xenstore of a host, with what it says of the domains. The caller holds the lock of the host.

    Args:
        engine: The engine of the host.
        domains: The domains by domid.
        tell: Sends an event.
        start_time: Returns the time at which a domain was created.
    """

    def __init__(
        self,
        engine: Engine,
        domains: Mapping[int, Guest],
        tell: Callable[[Event], None],
        start_time: Callable[[Guest], datetime],
    ) -> None:
        self._domains = domains
        self._tell = tell
        self._start_time = start_time
        self._uuids: dict[int, UUID] = {}
        self._devices: dict[int, set[str]] = {}
        self.watches = NodeWatches(engine)
        self.tree = NodeTree(lambda: {*domains}, self._changed)
        for path, value in {"/tool/xenstored": "", "/local/pool/0/name": "Pool-0", "/vm": "", "/libxl": ""}.items():
            self.tree.place(path, value.encode(), _DOM0S)

    def show(self, guest: Guest) -> None:
        """Write what is to be said of a domain, and nothing that is there already."""
        if not guest.domid:
            for name, value in {"domid": "0", "name": guest.name, "memory/target": str(guest.target_kib)}.items():
                self.tree.place(f"/local/domain/0/{name}", value.encode(), _DOM0S)
            return
        if self._uuids.get(guest.domid, guest.uuid) != guest.uuid:
            self.tree.remove(f"/vm/{self._uuids[guest.domid]}")
        self._uuids[guest.domid] = guest.uuid
        self._place(guest, _guests(guest), self._machine(guest))
        for name in _THE_GUESTS:
            if self.tree.peek(f"/local/domain/{guest.domid}/{name}") is None:
                self.tree.place(f"/local/domain/{guest.domid}/{name}", b"", NodePermissions(guest.domid))
        if not guest.building:
            self._show_devices(guest)

    def _machine(self, guest: Guest) -> dict[str, str]:
        """Return the nodes of a domain that only dom0 may write."""
        top, domid = f"/local/domain/{guest.domid}", guest.domid
        nodes = {
            top: "",
            f"{top}/vm": f"/vm/{guest.uuid}",
            f"{top}/name": guest.name,
            f"{top}/domid": str(domid),
            f"{top}/memory/static-max": str(mib_to_kib(guest.config.effective_maxmem or guest.config.memory or 0)),
            f"{top}/memory/target": str(guest.target_kib - guest.videoram_kib),
            f"{top}/control/platform-feature-multiprocessor-suspend": "1",
            f"{top}/control/platform-feature-xs_reset_watches": "1",
            f"{top}/console/backend": f"/local/domain/0/backend/console/{domid}/0",
            f"{top}/console/backend-id": "0",
            f"{top}/console/limit": "1048576",
            f"{top}/console/output": "pty",
            f"{top}/console/port": "2",
            f"{top}/console/ring-ref": "4",
            f"{top}/console/tty": terminal(guest, 0),
            f"{top}/console/type": "xenconsoled",
            f"{top}/memory/videoram": str(guest.videoram_kib),
            f"{top}/store/port": "1",
            f"{top}/store/ring-ref": "3",
            f"/vm/{guest.uuid}": "",
            f"/vm/{guest.uuid}/name": guest.name,
            f"/vm/{guest.uuid}/uuid": str(guest.uuid),
            f"/vm/{guest.uuid}/start_time": f"{self._start_time(guest).timestamp():.2f}",
        }
        for vcpu in range(guest.config.effective_maxvcpus):
            nodes[f"{top}/cpu/{vcpu}/availability"] = "online" if vcpu < guest.config.vcpus else "offline"
        return nodes

    def _place(self, guest: Guest, own: Mapping[str, str], machine: Mapping[str, str]) -> None:
        for path, value in machine.items():
            self.tree.place(path, value.encode(), _readable(guest.domid))
        for path, value in own.items():
            self.tree.place(path, value.encode(), NodePermissions(guest.domid))
        self.tree.place(f"/libxl/{guest.domid}/type", str(guest.config.type).encode(), _DOM0S)

    def _show_devices(self, guest: Guest) -> None:
        before, after = self._devices.get(guest.domid, set()), set()
        connected = guest.booted and guest.drivers and not guest.gone
        frontend_state, backend_state = _CONNECTED if connected else _UNCONNECTED
        for (kind, devid), server in device_keys(guest).items():
            front = _front(guest.domid, kind, devid)
            back = f"/local/domain/{server}/backend/{kind}/{guest.domid}/{devid}"
            record = f"/libxl/{guest.domid}/device/{kind}/{devid}"
            after |= {front, back, record} - {f"/local/domain/{guest.domid}/console"}
            shared = _details(guest, kind, devid)
            self._remove_units(back, shared)
            link = {"frontend": front, "frontend-id": str(guest.domid), "online": "1"}
            for name, value in {**link, "state": backend_state, **shared}.items():
                self.tree.place(f"{back}/{name}", value.encode(), _readable(guest.domid))
            for name, value in {**link, "backend": back, "state": "1", **shared}.items():
                self.tree.place(f"{record}/{name}", value.encode(), _DOM0S)
            if front.endswith("/console"):
                continue
            own = {"backend": back, "backend-id": str(server), "state": frontend_state}
            if connected:
                own |= _rings(kind, devid)
            own |= {name: shared[name] for name in ("mac", "handle", "device-type") if name in shared}
            for name, value in own.items():
                readable = NodePermissions(guest.domid, domains={server: NodeAccess.READ})
                self.tree.place(f"{front}/{name}", value.encode(), readable)
        for path in before - after:
            self._remove_device(path)
        self._devices[guest.domid] = after

    def _remove_device(self, path: str) -> None:
        """Remove the nodes of a device, and the folders above it that are then empty."""
        while path.count("/") > 4 or path.startswith("/libxl/"):
            self.tree.remove(path)
            path = path.rpartition("/")[0]
            above = self.tree.peek(path)
            if above is None or above.children:
                return

    def _remove_units(self, back: str, shared: Mapping[str, str]) -> None:
        """Remove what a backend was told of devices that are gone and shared its folder."""
        node = self.tree.peek(back)
        for name in [] if node is None else [*node.children]:
            if name.startswith(_UNITS) and name not in shared:
                self.tree.remove(f"{back}/{name}")

    def press(self, guest: Guest, key: str) -> None:
        """Write a SysRq key for the guest; empty: it has taken the key."""
        path = f"/local/domain/{guest.domid}/control/sysrq"
        self.tree.place(path, key.encode(), NodePermissions(guest.domid))

    def forget(self, guest: Guest) -> None:
        """Remove what is said of a domain that is gone."""
        for path in self._devices.pop(guest.domid, set()):
            self._remove_device(path)
        for path in (f"/local/domain/{guest.domid}", f"/libxl/{guest.domid}", f"/vm/{guest.uuid}"):
            self.tree.remove(path)
        self._uuids.pop(guest.domid, None)

    def introduce(self) -> None:
        """Report that a domain was created."""
        self.watches.report("@introduceDomain")

    def release(self) -> None:
        """Report that a domain has shut down or is gone."""
        self.watches.report("@releaseDomain")

    def _changed(self, path: str, exactly: bool) -> None:
        self.watches.report(path, exactly=exactly)
        setting = _SETTING.fullmatch(path)
        guest = None if setting is None else self._domains.get(int(setting[1]))
        node = self.tree.peek(path)
        if setting is not None and guest is not None and node is not None:
            self._follow(guest, setting[2], node.value.decode(errors="replace"))

    def _follow(self, guest: Guest, setting: str, value: str) -> None:
        """Let a domain follow what someone has written; what pyxen wrote itself is so already."""
        match setting:
            case "name" if value != guest.name:
                old = guest.name
                guest.config = guest.config.replace(name=value)
                self._tell(DomainRenamed(**about(guest), old=old, new=value))
            case "memory/target" if value.isdecimal() and int(value) + guest.videoram_kib != guest.target_kib:
                guest.target_kib = int(value) + guest.videoram_kib
                self._tell(MemoryTargetChanged(**about(guest), target_kib=guest.target_kib))
                guest.follow()
            case "control/shutdown" if value in _REQUESTS and guest.request is None:
                guest.ask(_REQUESTS[value])
            case _:
                pass


def _guests(guest: Guest) -> dict[str, str]:
    """Return the nodes of a domain that its guest may write, too."""
    control = f"/local/domain/{guest.domid}/control"
    nodes = {f"{control}/shutdown": guest.request or ""}
    for feature in ("feature-poweroff", "feature-reboot", "feature-suspend"):
        nodes[f"{control}/{feature}"] = "1" if guest.booted and guest.drivers else ""
    return nodes


def _readable(domid: int) -> NodePermissions:
    return NodePermissions(0, domains={domid: NodeAccess.READ})


def _front(domid: int, kind: str, devid: int) -> str:
    top = f"/local/domain/{domid}"
    return f"{top}/console" if (kind, devid) == ("console", 0) else f"{top}/device/{kind}/{devid}"


def _details(guest: Guest, kind: str, devid: int) -> dict[str, str]:
    """Return what a backend is told of a device."""
    for device in _parts(guest, kind):
        match device:
            case Disk() if key_of("disks", device) == (kind, devid):
                return {
                    "params": device.target or "",
                    "removable": str(int(device.cdrom)),
                    "dev": device.vdev or "",
                    "type": "qdisk" if device.backendtype is DiskBackend.QDISK else "phy",
                    "mode": "r" if device.readonly or device.cdrom else "w",
                    "device-type": "cdrom" if device.cdrom else "disk",
                }
            case Vif() if key_of("vifs", device) == (kind, devid):
                named = {"bridge": device.bridge, "vifname": device.vifname}
                said = {name: value for name, value in named.items() if value is not None}
                return {"mac": str(device.mac), "handle": str(devid), "type": "vif", **said}
            case Channel() if kind == "console" and devid and device.devid in {devid, None}:
                path = {} if device.path is None else {"path": device.path}
                return {"name": device.name or "", "connection": str(device.connection or ""), **path}
            case _:
                pass
    if kind == "pci":
        units = {f"dev-{number}": str(pci.address or "") for number, pci in enumerate(guest.config.pcis)}
        slots = enumerate(pci.vslot for pci in guest.config.pcis)
        return units | {f"vdevfn-{number}": f"{slot << 3:x}" for number, slot in slots if slot is not None}
    if kind == "vusb":
        return _ports(guest, devid)
    return {}


def _parts(guest: Guest, kind: str) -> Iterator[Part]:
    if kind == "vbd":
        yield from guest.config.disks
    if kind == "vif":
        yield from guest.config.vifs
    if kind == "console":
        for number, channel in enumerate(guest.config.channels, 1):
            yield channel if channel.devid else channel.replace(devid=number)


def _ports(guest: Guest, devid: int) -> dict[str, str]:
    """Return what the ports of a USB controller say, with a path on the host for each device."""
    ports = next((each.ports for each in guest.config.usbctrls if (each.devid or 0) == devid), None) or 8
    plugged = {each.port: each for each in in_ports(guest.config) if each.controller == devid}
    return {
        f"port/{port}": f"{plugged[port].hostbus}-{plugged[port].hostaddr}" if port in plugged else ""
        for port in range(1, ports + 1)
    }


def _rings(kind: str, devid: int) -> dict[str, str]:
    """Return what a frontend offers once it is connected."""
    rings = {"vif": ("tx-ring-ref", "rx-ring-ref"), "vusb": ("urb-ring-ref", "conn-ring-ref")}.get(kind, ("ring-ref",))
    first = _FIRST_REF + (devid & 0xFF) * len(rings)
    refs = {name: str(first + place) for place, name in enumerate(rings)}
    return refs | {"event-channel": str(_FIRST_PORT + (devid & 0xFF))}
