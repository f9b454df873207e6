"""Real libvirt reads what we write, adds what it adds, writes it down, and we read the same again.

It is libvirt's test driver, which needs no hypervisor; parser, defaults and writer are those of all drivers.
"""

from __future__ import annotations

import os

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from lxml import etree

from pyxen import libvirtxml
from pyxen.config import DomainConfig, DomainType, VgaInterfaceType
from pyxen.libvirtxml import normal
from pyxen.testing.strategies import domain_configs
from tests.oracle.libvirt.schemas import Refused, Virsh
from tests.oracle.libvirt.test_conformance import assert_same

COUNT = int(os.environ.get("PYXEN_TEXTS", "20000")) // 200
ITS_NAME = "test"
"""The name of the domain that the test driver always has."""


def fitting(config: DomainConfig) -> DomainConfig:
    """Return a configuration with what libvirt would choose at random, and without what it rightly refuses.

    It refuses NUMA nodes that have not all the vCPUs and no others, and settings that contradict each other.
    """
    vifs = [
        vif.replace(mac=f"00:16:3e:00:00:{number:02x}", vifname=f"web1-{number}")
        for number, vif in enumerate(config.vifs)
    ]
    disks = {disk.vdev: disk for disk in config.disks if disk.target or disk.cdrom}
    pcis = {pci.address: pci for pci in config.pcis}
    usbdevs = {(device.hostbus, device.hostaddr): device for device in config.usbdevs}
    channels = {channel.name or "": channel for channel in config.channels if channel.name}
    usbctrls = [controller.replace(devid=None) for controller in config.usbctrls]
    return config.replace(
        vifs=vifs,
        disks=disks.values(),
        channels=channels.values(),
        usbctrls=usbctrls,
        pcis=pcis.values(),
        usbdevs=usbdevs.values(),
        vnuma=(),
        vcpus=min(config.vcpus, config.maxvcpus or config.vcpus),
        memory=min(config.memory or 512, config.maxmem or 512),
        maxmem=config.maxmem or 512,
        vga=VgaInterfaceType.CIRRUS if config.vga is VgaInterfaceType.NONE else config.vga,
        videoram=min(config.videoram or 16, 4096),
    )


def as_libvirt_rounds(config: DomainConfig) -> DomainConfig:
    """Return a configuration with the video memory a power of two, as libvirt has it."""
    kib = int((config.videoram or 0) * 1024)
    return config.replace(videoram=(1 << (kib - 1).bit_length()) / 1024) if kib else config


GUESTS = domain_configs().filter(lambda config: config.type is not DomainType.PVH and config.name != ITS_NAME)
"""The test driver has no PVH guests."""


def test_libvirt_reads_what_is_written(virsh: Virsh) -> None:
    # A smaller example is not worth a hundred more processes.
    phases = (Phase.explicit, Phase.reuse, Phase.generate)

    @settings(max_examples=COUNT, deadline=None, suppress_health_check=list(HealthCheck), phases=phases)
    @given(GUESTS, st.uuids(version=4))
    def check(generated: DomainConfig, uuid: object) -> None:
        config = fitting(generated).replace(uuid=str(uuid))
        text = libvirtxml.dumps(config, domain_type="test", on_loss="ignore")
        answer = virsh.define(text, uuid)
        assert not isinstance(answer, Refused), answer.messages
        theirs, ours = (libvirtxml.loads(document) for document in (answer, text))
        assert [disk.vdev for disk in ours.disks] == etree.fromstring(answer).xpath("devices/disk/target/@dev")
        assert_same(normal(theirs), as_libvirt_rounds(normal(ours)))

    check()
