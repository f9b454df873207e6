"""Scenes about devices that are attached and detached."""

from __future__ import annotations

from typing import Any

from pyxen import Disk, Vif
from pyxen.config import P9, Channel, Pci, Pvcalls, UsbCtrl, UsbDev, Vdispl, Vfb, Virtio, Vkb, Vsnd, Vtpm
from tests.differential.prober import Prober, c

__all__ = ["devices"]


def devices(prober: Prober) -> None:
    """Devices of all kinds, on domains that are paused."""
    for kind in ("pvh", "pv"):
        domain = prober.create(prober.tiny(f"devices-{kind}", kind), paused=True)
        prober.do(domain, *(c("attach", device) for device in _refused(prober.world.folder)), as_=kind)
        prober.do(domain, *(c("detach", device) for device in _absent()), as_=kind)
        prober.do(domain, *(c(verb, "xvda", *args) for verb, args in (("insert_cdrom", ["/x"]), ("eject_cdrom", []))))
        prober.ask(domain, c("config"), c("info"), c("stats"), as_=kind)
        if kind == "pvh":
            _come_and_go(prober, domain)
        prober.do(domain, c("destroy"), as_=kind)
        prober.await_gone(domain.domid)
        prober.do(domain, c("attach", Vkb()), c("detach", "xvda"), as_=f"gone {kind}")


def _come_and_go(prober: Prober, domain: Any) -> None:
    mac = "00:16:3e:00:00:09"
    disk, vif = Disk(f"{prober.world.folder}/data.img", vdev="xvdb"), Vif("xenbr0", mac=mac)
    others = [Vkb(), Vdispl()]
    for device in (disk, vif, *others):
        name = type(device).__name__
        prober.do(domain, c("attach", device), c("attach", device), c("config"), as_=name)
    prober.ask(domain, c("info"), c("stats"), c("endpoints"))
    prober.ask(prober.host.xenstore, c("list", f"{domain.xenstore_path}/device"))
    prober.do(domain, c("attach", Disk(f"{prober.world.folder}/data.img", vdev="xvdb")))
    prober.do(domain, c("attach", Vif("xenbr0", mac="00:16:3e:00:00:0a", devid=0)))
    for found in ("xvdb", mac, Vkb(devid=0), Vdispl(devid=0)):
        prober.do(domain, c("detach", found, force=True), c("detach", found, force=True), c("config"), as_="by force")


def _refused(folder: str) -> list[Any]:
    image = f"{folder}/data.img"
    return [
        None,
        "phy:/dev/x,xvda,w",
        Disk("/nowhere/disk", vdev="xvda"),
        Disk("/nowhere/disk", vdev="xvda", format="qcow2"),
        Disk(image),
        Disk(image, vdev="nonsense"),
        Disk(vdev="xvda"),
        Disk(image, vdev="xvda", backend="nowhere"),
        Disk(image, vdev="xvda", backend_domid=31_000),
        Disk(image, vdev="xvda", backendtype="qdisk"),
        Disk(image, vdev="xvda", specification="virtio"),
        Vif(backend="nowhere"),
        Vif(script="/nowhere/script"),
        UsbDev(),
        UsbDev(hostbus=7, hostaddr=99),
        UsbDev(hostbus=1, hostaddr=1),
        UsbCtrl(type="qusb"),
        Channel(name="a", connection="pty"),
        Virtio(),
        P9(tag="a"),
        Vtpm(backend="nowhere"),
        Vkb(backend="nowhere"),
        Vdispl(backend="nowhere"),
        Vsnd(backend="nowhere"),
        Pvcalls(backend="nowhere"),
    ]


def _absent() -> list[Any]:
    named = ["xvda", "hdc", "nonsense", "", "00:16:3e:00:00:01", "0000:00:1f.7", "00:1f.7", None, 5]
    objects = [Disk(), Disk(vdev="xvda"), Vif(), Vif(devid=0), Vif("xenbr0"), Pci("0000:00:1f.7"), Vkb()]
    return [*named, *objects, Vkb(devid=3), Vfb(devid=0), Vtpm(), Vtpm(devid=0), UsbCtrl(devid=0), UsbDev(), Channel()]
