"""The devices of a running domain, awaited, and as memory:/// has them."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

import pyxen.aio
from pyxen import (
    Channel,
    DeviceState,
    Disk,
    DomainConfig,
    InvalidArgument,
    NotFound,
    Pci,
    UsbCtrl,
    UsbDev,
    Vfb,
    Vif,
    Vkb,
    Vtpm,
)
from pyxen.testing import FakeHost

CONFIG = DomainConfig(
    "web1",
    type="pv",
    kernel="/boot/vmlinuz",
    memory=64,
    disks=[Disk("/srv/b.img", vdev="xvdb"), Disk("/srv/a.img", vdev="xvda")],
    vifs=[Vif(bridge="xenbr0"), Vif(bridge="xenbr0", vifname="mynic")],
    pcis=[Pci("03:00.0"), Pci("03:00.1", vslot=5)],
    usbctrls=[UsbCtrl(), UsbCtrl(ports=2)],
    usbdevs=[UsbDev(hostbus=1, hostaddr=2), UsbDev(hostbus=1, hostaddr=3, controller=1, port=2)],
    channels=[Channel("org.example", connection="pty")],
    vtpms=[Vtpm(backend="Domain-0")],
    vfbs=[Vfb(keyboard=False)],
    vkbs=[Vkb(backend_type="qemu")],
)


@pytest.fixture
def fake() -> Iterator[FakeHost]:
    """A host whose domain web1 has devices of many kinds."""
    with FakeHost() as fake:
        fake.pci.assignable_add("03:00.0")
        fake.pci.assignable_add("03:00.1")
        fake.create(CONFIG)
        fake.advance(60)  # until it has booted
        yield fake


def test_awaited(fake: FakeHost) -> None:
    async def main() -> None:
        async with pyxen.aio.connect("memory:///") as xen:
            domain = await xen.domains["web1"]
            disks = domain.disks
            assert [disk.config.vdev for disk in await disks.list()] == ["xvda", "xvdb"]
            assert [disk async for disk in disks] == [*fake.domains["web1"].disks]
            assert await disks["xvdb"] == await disks.get(51728) == fake.domains["web1"].disks["xvdb"]
            assert await disks.get("xvdc") is None
            made = await disks.attach(Disk("/srv/c.img", vdev="xvdc"))
            assert (await disks[made]).config.target == made.target
            await disks.detach(await disks["xvdc"])
            vif = await asyncio.wrap_future(domain.vifs.begin.attach(Vif()))
            await asyncio.wrap_future(domain.vifs.begin.detach(vif.devid or 0))
            with pytest.raises(NotFound, match="no disk xvdc; it has xvda, xvdb"):
                await disks["xvdc"]
            with pytest.raises(InvalidArgument, match="takes a Disk, not Vif: these are the disks of the domain"):
                await disks.attach(vif)  # type: ignore[arg-type]  # what is refused
            with pytest.raises(TypeError, match="cannot await"):
                "xvda" in disks  # noqa: B015 (it raises)
            with pytest.raises(TypeError, match="cannot await"):
                list(disks)

    with fake.standing_in():
        asyncio.run(main())


def test_every_kind(fake: FakeHost) -> None:
    domain = fake.domains["web1"]
    assert [vif.interface for vif in domain.vifs] == [f"vif{domain.domid}.0", "mynic"]
    assert [(str(pci.config.address), pci.slot) for pci in domain.pcis] == [
        ("0000:03:00.0", None),
        ("0000:03:00.1", "05.0"),
    ]
    assert [ctrl.config.ports for ctrl in domain.usbctrls] == [8, 2]
    assert [(each.config.controller, each.config.port, each.physical_device) for each in domain.usbdevs] == [
        (0, 1, "1-2"),
        (1, 2, "1-3"),
    ]
    assert domain.usbdevs["1:3"].backend_path == domain.usbctrls[1].backend_path
    assert domain.channels["org.example"].devid == 1
    assert domain.vtpms[domain.vtpms[0]].config.backend == "Domain-0"
    assert (len(domain.vfbs), len(domain.vkbs), len(domain.consoles), len(domain.p9s)) == (1, 1, 1, 0)
    domain.pcis.detach("03:00.0")
    assert [str(pci.config.address) for pci in domain.pcis] == ["0000:03:00.1"]
    assert domain.vifs[0].config.mac == domain.config().vifs[0].mac
    assert "03:00" in domain.pcis._repr_html_()


def test_states_follow_the_guest(fake: FakeHost) -> None:
    domain = fake.create(CONFIG.replace(name="web2", pcis=(), usbdevs=()), paused=True)
    [disk, _] = domain.disks
    assert (disk.backend_state, disk.frontend_state) == (DeviceState.INIT_WAIT, DeviceState.INITIALISING)
    assert (disk.event_channel, disk.ring_ref) == (None, None)
    domain.unpause()
    fake.advance(60)
    [disk, _] = domain.disks
    assert (disk.backend_state, disk.frontend_state) == (DeviceState.CONNECTED, DeviceState.CONNECTED)
    assert disk.event_channel is not None
    assert disk.ring_ref is not None
    assert len(domain.vifs[0].ring_refs) == 2
    fake.xenstore.write(f"{disk.frontend_path}/state", "what")
    assert domain.disks[disk].frontend_state is DeviceState.UNKNOWN
