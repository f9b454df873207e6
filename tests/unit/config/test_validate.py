"""`validate`: what cannot work together is named, with its path, all at once."""

from __future__ import annotations

from typing import Any

import pytest

from pyxen.config import (
    Channel,
    Disk,
    DomainConfig,
    Pci,
    Pvcalls,
    Scheduler,
    Smbios,
    Spice,
    UsbDev,
    Vdispl,
    Vfb,
    Vif,
    Vkb,
    Vnc,
    VNode,
    Vtpm,
)
from pyxen.errors import ValidationError

WORD = "s3cret"
HVM = DomainConfig("a", type="hvm", memory=512)
PVH = DomainConfig("a", type="pvh", memory=512, kernel="/k")
NODES = (VNode(vcpus="0", size=256), VNode(vcpus="1", size=256))


@pytest.mark.parametrize(
    ("config", "changes", "path", "message"),
    [
        (HVM, {"name": ""}, "name", "needs a name"),
        (HVM, {"name": "17"}, "name", "taken for a domid"),
        (HVM, {"name": "a/b"}, "name", "log files"),
        (HVM, {"pool": "p", "poolid": 1}, "poolid", "by name already"),
        (PVH, {"hpet": True}, "hpet", "is for HVM guests, and this is a PVH guest"),
        (PVH, {"e820_host": True}, "e820_host", "is for PV guests"),
        (PVH.replace(type="pv"), {"hap": True}, "hap", "is for HVM and PVH guests"),
        (PVH.replace(type="pv"), {"vnc": Vnc(enable=True)}, "vnc", "say it in vfbs"),
        (PVH, {"pvshim": {"enable": True}, "type": "pv"}, "pvshim", "is for PVH guests"),
        (PVH, {"kernel": None}, "kernel", "needs a kernel or a bootloader"),
        (HVM, {"maxmem": 256}, "maxmem", "more than maxmem"),
        (HVM, {"vnuma": NODES, "memory": 600, "vcpus": 2}, "memory", "memory is 600 MiB"),
        (HVM, {"vnuma": NODES, "maxmem": 600, "vcpus": 2}, "maxmem", "nodes of vnuma have 512 MiB"),
        (HVM, {"vnuma": NODES, "maxvcpus": 4}, "maxvcpus", "nodes of vnuma have 2 vCPUs"),
        (HVM, {"vnuma": (*NODES, NODES[0]), "vcpus": 3}, "vnuma[2].vcpus", "vCPU 0 is in vnuma[0] already"),
        (HVM, {"vnuma": [VNode(vcpus="0")], "memory": None}, "vnuma[0].size", "needs a size"),
        (HVM, {"vnuma": [VNode(vcpus="0", size=512, distances=[10, 20])]}, "vnuma[0].distances", "2 distances to 1"),
        (HVM, {"mmio_hole": 100}, "mmio_hole", "256 to 3840"),
        (HVM, {"vcpus": 4, "maxvcpus": 2}, "maxvcpus", "2 is less than vcpus, 4"),
        (HVM, {"cpus": ["0", "1"]}, "cpus", "sets for 2 vCPUs, and there are 1"),
        (HVM, {"scheduler": Scheduler(weight=0)}, "scheduler.weight", "1 to 65535"),
        (HVM, {"scheduler": Scheduler(cap=101)}, "scheduler.cap", "more than 1 vCPUs can use"),
        (HVM, {"nestedhvm": True, "altp2m": "mixed"}, "nestedhvm", "altp2m"),
        (HVM, {"disks": [Disk("/a", vdev="xvda"), Disk("/b", vdev="d0p0")]}, "disks[1].vdev", "is disks[0] already"),
        (HVM, {"disks": [Disk("/a", vdev="vda")]}, "disks[0].vdev", "not the name of a disk"),
        (HVM, {"disks": [Disk("/a")]}, "disks[0].vdev", "needs a name in the guest"),
        (HVM, {"disks": [Disk(vdev="xvda")]}, "disks[0].target", "needs a target"),
        (HVM, {"disks": [Disk("/a", vdev="xvda", format="empty")]}, "disks[0].format", "cannot be empty"),
        (HVM, {"disks": [Disk("/a", vdev="hda", backend="b", backend_domid=3)]}, "disks[0].backend_domid", "by name"),
        (HVM, {"vifs": [Vif(mac="0:1:2:3:4:5"), Vif(mac="00:01:02:03:04:05")]}, "vifs[1].mac", "that of vifs[0] too"),
        (HVM, {"vifs": [Vif(mac="1:1:2:3:4:5")]}, "vifs[0].mac", "multicast"),
        (HVM, {"vifs": [Vif(), Vif(devid=0)]}, "vifs[1].devid", "0 is the number of vifs[0] too"),
        (HVM, {"pvcalls": [Pvcalls(devid=1), Pvcalls()]}, "pvcalls[1].devid", "1 is the number of pvcalls[0] too"),
        (HVM, {"pcis": [Pci("3:0.0"), Pci("0000:03:00.0")]}, "pcis[1].address", "is pcis[0] already"),
        (HVM, {"pcis": [Pci("3:0.0")], "passthrough": "disabled"}, "passthrough", "devices to pass through"),
        (HVM, {"usbdevs": [UsbDev(hostbus=1)]}, "usbdevs[0].hostaddr", "bus and its address"),
        (HVM, {"ioports": [{"first": 65535, "number": 2}]}, "ioports[0].number", "65536 I/O ports"),
        (HVM, {"spice": Spice(enable=True, passwd=WORD)}, "spice.port", "needs a port"),
        (HVM, {"spice": Spice(enable=True, port=1)}, "spice.passwd", "disable_ticketing"),
        (HVM, {"vnc": Vnc(listen="127.0.0.1:1", display=2)}, "vnc.display", "said in listen already"),
        (HVM, {"vfbs": [Vfb(vnc=Vnc(listen="h:1", display=2))]}, "vfbs[0].vnc.display", "said in listen already"),
        (HVM, {"channels": [Channel("a")]}, "channels[0].connection", "pty or socket"),
        (HVM, {"channels": [Channel("a", connection="socket")]}, "channels[0].path", "has a path if"),
        (HVM, {"channels": [Channel("a", connection="pty", path="/x")]}, "channels[0].path", "has a path if"),
        (HVM, {"vkbs": [Vkb(feature_multi_touch=True)]}, "vkbs[0].feature_multi_touch", "size or its contacts"),
        (HVM, {"vdispls": [Vdispl()]}, "vdispls[0].connectors", "needs an output"),
        (HVM, {"vtpms": [Vtpm()]}, "vtpms[0].backend", "needs the domain"),
        (HVM, {"smbios": [Smbios("oem", "")]}, "smbios[0].value", "cannot be empty"),
        (HVM, {"smbios": [Smbios("oem", "x")] * 100}, "smbios", "100 oem strings"),
        (HVM, {"smbios": [Smbios("bios_vendor", "x")] * 2}, "smbios[1].type", "said already"),
    ],
)
def test_what_cannot_work_is_named(config: DomainConfig, changes: dict[str, Any], path: str, message: str) -> None:
    config.validate()
    found = config.replace(**changes).problems()
    assert [problem.path for problem in found] == [path]
    assert message in found[0].message


def test_every_problem_is_in_the_error() -> None:
    config = DomainConfig("7", type="pvh", vcpus=2, maxvcpus=1, disks=[Disk("/a", vdev="xvda")] * 2)
    with pytest.raises(ValidationError) as caught:
        config.validate()
    assert [line.partition(":")[0] for line in caught.value.problems] == ["name", "kernel", "maxvcpus", "disks[1].vdev"]
    assert caught.value.path == "name"
    assert str(caught.value) == "\n".join(caught.value.problems)


def test_what_works_is_left_alone() -> None:
    config = HVM.replace(
        vnuma=NODES,
        vcpus=2,
        spice=Spice(enable=True, port=5901, disable_ticketing=True),
        vnc=Vnc(listen="::1", display=2),
        disks=[Disk("/a", vdev="hda"), Disk(vdev="hdc", cdrom=True)],
        vifs=[Vif(), Vif(devid=5), Vif()],
        smbios=[Smbios("oem", "x"), Smbios("oem", "x")],
    )
    assert config.problems() == ()
