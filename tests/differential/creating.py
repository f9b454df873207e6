"""Scenes about the creation of domains: what is refused, and what a new one looks like."""

from __future__ import annotations

from functools import partial
from typing import Any, Final
from uuid import UUID

from pyxen import Disk, Scheduler, Vif, Xenstore
from pyxen.config import Pci, UsbDev, Vkb
from pyxen.config.enum_names import DomainTypeName
from tests.differential.prober import Prober, c

__all__ = ["created", "refused"]

_NUMBERS: Final = ("memory", "maxmem", "vcpus", "maxvcpus", "shadow_memory")


def refused(prober: Prober) -> None:
    """Configurations that no host takes."""
    folder = prober.world.folder
    pci = Pci("0000:00:1f.7")
    taken = prober.create(prober.tiny("taken"), paused=True)
    guests: list[dict[str, Any]] = [
        *({name: value} for name in _NUMBERS for value in (-1, 1e9)),
        *({name: 0} for name in _NUMBERS if name != "shadow_memory"),
        *({"memory": value} for value in (1, 1.5, "8")),
        {"shadow_memory": 0},
        {"memory": 8, "maxmem": 4},
        {"vcpus": 129},
        {"vcpus": 1000},
        {"vcpus": 2, "maxvcpus": 1},
        {"vcpus": 1, "maxvcpus": 4096},
        {"uuid": UUID(int=0)},
        {"uuid": taken.uuid},
        {"domid": 0},
        {"domid": taken.domid},
        {"domid": 0x7FF0},
        {"domid": -1},
        *({"kernel": path} for path in ("/nowhere/kernel", folder, "relative", "", f"{folder}/data.img", None)),
        *({"ramdisk": path} for path in ("/nowhere/ramdisk", "relative")),
        *({"name": name} for name in ("", "a/b", "Domain-0", "taken", "a\nb", "7")),
        *({"cpus": cpus} for cpus in ("99", "", "x", ["0", "99"], "nodes:7", "^0")),
        *({"cpus_soft": cpus} for cpus in ("x", "nodes:7")),
        *({"pool": pool} for pool in ("nowhere", "9", "")),
        {"poolid": 9},
        *({"scheduler": Scheduler(kind=kind)} for kind in ("credit", "rtds", "arinc653", "null")),
        *({"scheduler": Scheduler(weight=weight)} for weight in (0, 65536)),
        {"scheduler": Scheduler(cap=5000)},
        *({"disks": [Disk(path, vdev="xvda")]} for path in ("/nowhere/disk", "relative", "")),
        {"disks": [Disk("/nowhere/disk", vdev="xvda", format="qcow2")]},
        {"disks": [Disk(f"{folder}/data.img", vdev="nonsense")]},
        {"disks": [Disk(f"{folder}/data.img", vdev="xvda"), Disk(f"{folder}/data.img", vdev="xvda")]},
        {"disks": [Disk(f"{folder}/data.img", vdev="xvda", backend="nowhere")]},
        {"disks": [Disk(vdev="xvda")]},
        {"vifs": [Vif("nobridge")]},
        {"vifs": [Vif(mac="01:00:00:00:00:01")]},
        {"vifs": [Vif(backend="nowhere")]},
        {"vifs": [Vif(mac="00:16:3e:00:00:01"), Vif(mac="00:16:3e:00:00:01")]},
        {"vifs": [Vif(devid=1), Vif(devid=1)]},
        {"vifs": [Vif(script="/nowhere/script")]},
        {"usbdevs": [UsbDev(hostbus=7, hostaddr=99)]},
        {"kernel": None, "bootloader": "/nowhere/bootloader"},
        {"type": "hvm", "memory": 32, "kernel": None, "acpi_firmware": "/nowhere/firmware"},
        {"type": "hvm", "memory": 32, "kernel": None, "usbdevs": [UsbDev(hostbus=7, hostaddr=99)]},
        {"pcis": [pci]},
        {"pcis": [pci, pci]},
        {"pcis": [Pci("0000:00:00.*")]},
        {"vkbs": [Vkb(backend="nowhere")]},
        {"hap": False},
        {"xenstore_feature_mask": 1},
        {"type": "pv", "kernel": None},
        {"type": "hvm", "memory": 4},
        {"type": "hvm", "memory": 32, "vcpus": 1000},
        {"type": "pv", "kernel": "/nowhere/kernel"},
        {"type": "pv", "kernel": prober.world.kernels["pv"], "memory": 1},
        {"type": "pv", "kernel": prober.world.kernels["pv"], "vcpus": 5000},
        {"type": "pv", "kernel": prober.world.kernels["pv"], "pcis": [pci]},
        {"type": "pvh", "pcis": [pci]},
    ]
    for settings in guests:
        prober.probe(f"create {_said(settings, folder)}", partial(_created, prober, settings), always=True)


def _said(settings: dict[str, Any], folder: str) -> str:
    return repr(settings).replace(folder, "FOLDER")[:150]


def _created(prober: Prober, settings: dict[str, Any]) -> object:
    """Create a domain, and destroy it at once if that is possible."""
    domain = prober.host.create(prober.tiny("new").replace(**settings), paused=True, timeout=60)
    info = domain.info()
    domain.destroy()
    prober.await_gone(domain.domid)
    return (info.name, info.state, info.maxmem_kib, info.vcpus, info.maxvcpus)


def created(prober: Prober) -> None:
    """What new domains look like, whatever the type."""
    looks = [c(verb) for verb in ("info", "config", "vcpus", "scheduler", "stats", "endpoints", "uptime", "name")]
    several: list[tuple[str, DomainTypeName, dict[str, Any]]] = [
        ("plain-pv", "pv", {}),
        ("many", "pvh", {"vcpus": 2, "maxvcpus": 3, "memory": 12, "maxmem": 16, "cmdline": "idle", "cpus": "0"}),
        (
            "pinned",
            "pv",
            {"vcpus": 2, "cpus": ["0", "0"], "cpus_soft": "0", "scheduler": Scheduler(weight=512, cap=50)},
        ),
        ("ends", "pvh", {"on_poweroff": "preserve", "on_reboot": "restart", "on_crash": "coredump-destroy"}),
    ]
    for name, kind, settings in several:
        domain = prober.create(prober.tiny(name, kind, **settings), paused=True)
        prober.ask(domain, *looks, c("config", defaults=True), as_=name)
        _nodes(prober, domain.xenstore_path, name)
    prober.ask(prober.host, c("list"), c("uptimes"), c("stats"))


_FOLDERS: Final = ("", "/control", "/memory", "/console", "/store", "/device", "/cpu", "/data", "/drivers")

_VALUES: Final = (
    *("/name", "/domid", "/memory/target", "/memory/static-max", "/memory/videoram", "/control/shutdown"),
    *("/control/feature-poweroff", "/cpu/0/availability", "/console/type", "/console/limit"),
)


def _nodes(prober: Prober, path: str, as_: str) -> None:
    """Look at the nodes of a domain; xenstore lists them in the order in which they were made."""
    store = prober.host.xenstore
    for folder in _FOLDERS:
        prober.probe(f"{as_}: nodes of {folder}", partial(_sorted_list, store, f"{path}{folder}"), happens=False)
        prober.probe(f"{as_}: access to {folder}", partial(store.permissions, f"{path}{folder}"), happens=False)
    for name in _VALUES:
        prober.probe(f"{as_}: value of {name}", partial(store.read, f"{path}{name}"), happens=False)


def _sorted_list(store: Xenstore, path: str) -> list[str]:
    return sorted(store.list(path))
