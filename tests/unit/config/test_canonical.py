"""Canonical forms: what is one to libxl is one, what libxl tells apart stays apart."""

from __future__ import annotations

import pytest

from pyxen.config import CpuSet, Disk, DomainConfig, Rate, UsbDev, Vfb, Vif, Vkb, VNode

A = DomainConfig("a")


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (A.replace(vcpus=2, maxvcpus=2), A.replace(vcpus=2)),
        (A.replace(memory=64, maxmem=64), A.replace(memory=64)),
        (A.replace(vifs=[Vif(devid=0), Vif()]), A.replace(vifs=[Vif(), Vif(devid=1)])),
        (A.replace(disks=[Disk("/a", vdev="hda", readonly=False)]), A.replace(disks=[Disk("/a", vdev="hda")])),
        (A.replace(vfbs=[Vfb(keyboard=False)], vkbs=[Vkb()]), A.replace(vfbs=[Vfb()])),
        (A.replace(vfbs=[Vfb(keyboard=False), Vfb()]), A.replace(vfbs=[Vfb(), Vfb(keyboard=False)])),
        (A.replace(vcpus=2, cpus=["3", "3"]), A.replace(vcpus=2, cpus="3", numa_placement=False)),
        (A.replace(vcpus=2, cpus=["3", "4", "5"]), A.replace(vcpus=2, cpus=["3", "4"])),
        (A.replace(vcpus=2, cpus=["3", "4"], numa_placement=False), A.replace(vcpus=2, cpus=["3", "4"])),
        (A.replace(vnuma=[VNode(), VNode(pnode=1)]), A.replace(vnuma=[VNode(pnode=0), VNode(pnode=1)])),
        (A.replace(vnuma=[VNode(distances=[10, 0, 0])]), A.replace(vnuma=[VNode(distances=[10])])),
        (A.replace(init_seclabel="x"), A.replace(seclabel="x")),
        (A.replace(usbdevs=[UsbDev(hostbus=1)]), A.replace(usbdevs=[UsbDev(hostbus=1, hostaddr=0)])),
        (A.replace(vifs=[Vif(mac="0:0:0:0:0:0", rate=Rate(interval_usecs=0))]), A.replace(vifs=[Vif()])),
    ],
)
def test_what_is_one_to_libxl_is_one(one: DomainConfig, other: DomainConfig) -> None:
    assert one != other
    assert one.canonical() == other.canonical()


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (A.replace(vcpus=2, cpus=["3", "3"]), A.replace(vcpus=2, cpus="3")),
        (A.replace(acpi=False), A),
        (A.replace(vfbs=[Vfb(keyboard=False)]), A.replace(vfbs=[Vfb()])),
        (A.replace(cpus_soft="1", numa_placement=True), A.replace(cpus_soft="1")),
        (A.replace(maxmem=64), A.replace(memory=64)),
    ],
)
def test_what_libxl_tells_apart_stays_apart(one: DomainConfig, other: DomainConfig) -> None:
    assert one.canonical() != other.canonical()


def test_what_libxl_gets_is_worked_out() -> None:
    nodes = [VNode(vcpus="0-1", size=256), VNode(vcpus="2", size=128)]
    config = A.replace(vnuma=nodes, vcpus=2, memory=300)
    assert (config.effective_maxvcpus, config.effective_maxmem) == (3, 384)
    assert (A.effective_maxvcpus, A.effective_maxmem, A.effective_numa_placement) == (1, None, None)
    assert A.replace(cpus=["0"]).effective_numa_placement is False
    assert A.replace(cpus=[0]).cpus == (CpuSet("0"),)
    assert A.replace(cpus=[]).cpus is None
