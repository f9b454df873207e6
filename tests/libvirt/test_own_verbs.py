"""What only libvirt can do, on libvirt's own test hosts; blocking and awaited."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import UUID

import libvirt
import pytest

import pyxen.aio
from pyxen import (
    CpuSet,
    Disk,
    Domain,
    DomainConfig,
    DomainNotFound,
    Host,
    InterfaceAddresses,
    InvalidArgument,
    InvalidState,
    NotFound,
    PciAddress,
    UnsupportedFeature,
    Vif,
)
from pyxen._common import sparing
from pyxen.testing import FakeHost

NEHALEM = "<cpu><arch>x86_64</arch><model>Nehalem</model></cpu>"
URI = "http://example.com/"

DEVICES = """<node>
  <device><name>pci_0000_03_00_0</name>
    <capability type="pci"><class>0x020000</class>
      <domain>0</domain><bus>3</bus><slot>0</slot><function>1</function>
      <product id="0x1521">I350</product><vendor id="0x8086">Intel</vendor>
      <iommuGroup number="7"><address domain="0x0000" bus="0x03" slot="0x00" function="0x1"/></iommuGroup>
    </capability></device>
  <device><name>usb_1_1</name>
    <capability type="usb_device"><bus>1</bus><device>3</device>
      <product id="0x5591">Ultra</product><vendor id="0x0781">SanDisk</vendor></capability></device>
  <pool type="dir"><name>images</name><target><path>/srv/images</path></target></pool>
</node>"""


@pytest.fixture
def domain(host: Host, web1: DomainConfig) -> Domain:
    """A domain that is defined, and runs."""
    host.define(web1)
    return host.start("web1")


def test_devices_of_the_host(tmp_path: Path) -> None:
    (tmp_path / "node.xml").write_text(DEVICES)
    with pyxen.connect(f"test://{tmp_path}/node.xml") as host:
        [device] = host.pci
        assert device == host.pci["03:00.1"]
        assert device.address == PciAddress("03:00.1")
        assert (device.class_code, device.vendor_id, device.device_id) == (0x020000, 0x8086, 0x1521)
        assert (device.iommu_group, device.driver, device.assignable, device.domid) == (7, None, False, None)
        [stick] = host.usb
        assert stick == host.usb[1, 3]
        assert (stick.vendor_id, stick.product_id, stick.product) == (0x0781, 0x5591, "Ultra")
        for call in (host.pci.assignable_add, host.pci.assignable_remove):
            with pytest.raises(UnsupportedFeature):
                call("03:00.1")


def test_capabilities(host: Host) -> None:
    found = host.libvirt.capabilities()
    assert found.arch == "i686"
    assert found.xml.startswith("<capabilities>")
    assert ("hvm", "i686") in {(guest.os_type, guest.arch) for guest in found.guests}
    assert found.to_dict()["guests"]
    with pytest.raises(UnsupportedFeature, match="domain_capabilities"):
        host.libvirt.domain_capabilities(machine="xenpv")


def test_cpus(host: Host) -> None:
    assert "Nehalem" in host.libvirt.baseline_cpu([NEHALEM, NEHALEM])
    with pytest.raises(UnsupportedFeature, match="compare_cpu"):
        host.libvirt.compare_cpu(NEHALEM)
    for wrong in ([], NEHALEM, [1], ["<cpu"]):
        with pytest.raises(InvalidArgument):
            host.libvirt.baseline_cpu(wrong)  # type: ignore[arg-type]  # wrong on purpose


def test_networks_and_storage() -> None:
    with pyxen.connect("test:///default") as host:
        [network] = host.libvirt.networks()
        assert (network.name, network.bridge, network.active) == ("default", "virbr0", True)
        assert network.vif() == Vif(bridge="virbr0")
        [pool] = host.libvirt.pools()
        assert (pool.name, pool.type, pool.active, pool.path) == ("default-pool", "dir", True, "/default-pool")
        assert pool.capacity_bytes >= pool.available_bytes > 0
        assert host.libvirt.volumes(pool) == host.libvirt.volumes("default-pool") == []
        with pytest.raises(NotFound, match="'other'"):
            host.libvirt.volumes("other")


def test_a_volume_is_a_disk() -> None:
    volume = pyxen.LibvirtVolume("a.qcow2", "/srv/a.qcow2", "qcow2", 1 << 30, 1 << 20)
    assert volume.disk("xvda") == Disk("/srv/a.qcow2", vdev="xvda", format="qcow2", readonly=False)
    with pytest.raises(InvalidArgument, match="vmdk"):
        pyxen.LibvirtVolume("a", "/a", "vmdk", 1, 1).disk("xvda")
    with pytest.raises(InvalidArgument, match="no bridge"):
        pyxen.LibvirtNetwork("lan", UUID(int=1), True, True, None).vif()


def test_a_managed_save(host: Host, domain: Domain) -> None:
    assert not host.libvirt.has_managed_save(domain)
    host.libvirt.managed_save(domain, timeout=60)
    assert host.list() == []
    assert host.libvirt.has_managed_save("web1")
    with pytest.raises(InvalidState, match="remove_managed_save"):
        host.undefine("web1")
    assert [kept.name for kept in host.defined()] == ["web1"]
    assert host.libvirt.has_managed_save(domain.uuid)
    with pytest.raises(InvalidState):
        host.libvirt.managed_save("web1")
    host.libvirt.remove_managed_save(str(domain.uuid))
    host.libvirt.remove_managed_save("web1")
    assert not host.libvirt.has_managed_save(host.defined()[0])
    host.undefine("web1")
    assert list(host.defined()) == []


def test_metadata(host: Host, domain: Domain) -> None:
    assert host.libvirt.metadata(domain, URI) is None
    host.libvirt.set_metadata(domain, URI, None, live=True)
    host.libvirt.set_metadata(domain, URI, "<owner>me</owner>", prefix="ex", live=True)
    host.libvirt.set_metadata("web1", URI, "<owner>you</owner>", config=True)
    assert host.libvirt.metadata(domain, URI) == "<owner>me</owner>"
    assert host.libvirt.metadata(domain, URI, config=True) == "<owner>you</owner>"
    host.libvirt.set_metadata(domain, URI, None, live=True, config=True)
    assert host.libvirt.metadata(domain, URI) is host.libvirt.metadata(domain, URI, config=True) is None
    with pytest.raises(InvalidArgument):
        host.libvirt.set_metadata(domain, URI, "<owner>")


def test_the_definition_and_what_runs(host: Host, domain: Domain) -> None:
    host.libvirt.set_memory(domain, 32 * 1024, config=True)
    assert ">32768</currentMemory>" in host.libvirt.xml("web1", config=True)
    host.libvirt.set_vcpus("web1", 1, live=True)
    assert domain.info().vcpus == 1
    calls: list[Callable[[], None]] = [
        lambda: host.libvirt.set_memory(domain, 1024),
        lambda: host.libvirt.set_vcpus(domain, 1),
        lambda: host.libvirt.attach(domain, Vif()),
        lambda: host.libvirt.detach(domain, "xvda"),
    ]
    for call in calls:
        with pytest.raises(InvalidArgument, match="live=True, config=True or both"):
            call()
    for wrong in (0, -1, 1 << 40):
        with pytest.raises(InvalidArgument):
            host.libvirt.set_vcpus(domain, wrong, live=True)
    with pytest.raises(UnsupportedFeature, match="attach"):
        host.libvirt.attach(domain, Disk("/srv/a.img", vdev="xvdb"), config=True)
    with pytest.raises(NotFound, match="xvdz"):
        host.libvirt.detach(domain, "xvdz", live=True)
    with pytest.raises(InvalidArgument, match="all functions"):  # one of them alone was taken away
        host.libvirt.detach(domain, "03:00.*", live=True)
    domain.destroy()
    with pytest.raises(InvalidState):
        host.libvirt.set_memory("web1", 32 * 1024, live=True)


def test_pinning(host: Host, domain: Domain) -> None:
    everything = CpuSet(range(host.info().nr_cpus))
    assert host.libvirt.pinning(domain) == [everything, everything]
    domain.pin_vcpu(1, "0-2")
    domain.pin_vcpu(0, CpuSet([7]))
    assert host.libvirt.pinning("web1") == [CpuSet("7"), CpuSet("0-2")]


def test_addresses(host: Host, web1: DomainConfig) -> None:
    vif = Vif(mac="00:16:3e:00:00:01", bridge="xenbr0")
    domain = host.create(web1.replace(vifs=(vif,)))
    [found] = host.libvirt.addresses(domain)
    assert isinstance(found, InterfaceAddresses)
    assert found.mac == str(vif.mac)
    assert all("/" in address for address in found.addresses)
    with pytest.raises(InvalidArgument, match="lease, agent, arp"):
        host.libvirt.addresses(domain, "dns")  # type: ignore[arg-type]  # wrong on purpose


@pytest.mark.parametrize(
    "call",
    [
        lambda on: on.job("web1"),
        lambda on: on.abort_job("web1"),
        lambda on: on.migrate("web1", "test:///default", tunnelled=True, timeout=60),
        lambda on: on.compare_cpu(NEHALEM),
    ],
)
def test_what_this_driver_refuses(host: Host, domain: Domain, call: Callable[[Any], object]) -> None:
    with pytest.raises(UnsupportedFeature, match=r"libvirt \(TEST\) cannot do this"):
        call(host.libvirt)
    assert domain.info().name == "web1"


def test_domains_that_are_not_there(host: Host) -> None:
    for key in ("web1", UUID(int=1), str(UUID(int=1))):
        for call in (host.libvirt.xml, host.libvirt.job, host.libvirt.managed_save, host.libvirt.pinning):
            with pytest.raises(DomainNotFound):
                call(key)
    for wrong in (None, 3, b"web1"):
        with pytest.raises(InvalidArgument, match="takes a domain"):
            host.libvirt.xml(wrong)  # type: ignore[arg-type]  # wrong on purpose


def test_other_backends_say_so() -> None:
    with FakeHost() as host, pytest.raises(UnsupportedFeature, match="cannot do this") as caught:
        host.libvirt.capabilities()
    assert caught.value.feature == "libvirt"


def test_all_of_it_is_awaited(uri: str, web1: DomainConfig) -> None:
    refused: dict[str, Callable[[Any], Any]] = {
        "domain_capabilities": lambda on: on.domain_capabilities(),
        "compare_cpu": lambda on: on.compare_cpu(NEHALEM),
        "volumes": lambda on: on.volumes("images"),
        "job": lambda on: on.job("web1"),
        "abort_job": lambda on: on.abort_job("web1"),
        "attach": lambda on: on.attach("web1", Disk("/a", vdev="xvdb"), live=True),
        "detach": lambda on: on.detach("web1", "xvdz", live=True),
        "migrate": lambda on: on.migrate("web1", "test:///default", timeout=60),
    }
    done: dict[str, Callable[[Any], Any]] = {
        "capabilities": lambda on: on.capabilities(),
        "baseline_cpu": lambda on: on.baseline_cpu([NEHALEM]),
        "networks": lambda on: on.networks(),
        "pools": lambda on: on.pools(),
        "has_managed_save": lambda on: on.has_managed_save("web1"),
        "remove_managed_save": lambda on: on.remove_managed_save("web1"),
        "metadata": lambda on: on.metadata("web1", URI),
        "set_metadata": lambda on: on.set_metadata("web1", URI, "<a/>"),
        "addresses": lambda on: on.addresses("web1"),
        "pinning": lambda on: on.pinning("web1"),
        "xml": lambda on: on.xml("web1"),
        "set_memory": lambda on: on.set_memory("web1", 32 * 1024, live=True),
        "set_vcpus": lambda on: on.set_vcpus("web1", 1, live=True),
        "managed_save": lambda on: on.managed_save("web1", timeout=60),
    }
    verbs = {name for name in vars(pyxen.LibvirtVerbs) if not name.startswith("_")}
    assert verbs == done.keys() | refused.keys()

    async def main() -> None:
        async with pyxen.aio.connect(uri) as xen:  # each connection of libvirt's test driver has a host of its own
            await xen.define(web1)
            await xen.start("web1")
            for call in refused.values():
                with pytest.raises((UnsupportedFeature, NotFound)):
                    await call(xen.libvirt)
            for call in done.values():
                await call(xen.libvirt)
            assert await xen.libvirt.has_managed_save("web1")

    asyncio.run(asyncio.wait_for(main(), 60))


def test_what_ends_a_domain_spares_dom0_and_the_one_that_the_program_runs_in(
    host: Host, domain: Domain, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: tuple[Callable[[], object], ...] = (
        lambda: host.libvirt.managed_save("web1"),
        lambda: host.libvirt.managed_save(domain.uuid),
        lambda: host.libvirt.migrate("web1", "test:///default"),
    )
    for call in calls:
        with monkeypatch.context() as patch:
            patch.setattr(libvirt.virDomain, "ID", lambda _: 0)
            with pytest.raises(InvalidState, match="domain 0 is dom0"):
                call()
        with monkeypatch.context() as patch:
            patch.setattr(sparing, "own_uuid", lambda: domain.uuid)
            with pytest.raises(InvalidState, match="this process runs in domain"):
                call()
    monkeypatch.setattr(sparing, "own_uuid", lambda: domain.uuid)
    for call in (domain.destroy, domain.pause, domain.shutdown, lambda: domain.save("/nowhere")):
        with pytest.raises(InvalidState, match="this process runs in domain"):
            call()
    assert domain.info().is_running
