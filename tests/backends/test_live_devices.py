"""The devices of a running domain as collections, with the state of each."""

from __future__ import annotations

import asyncio

import pytest

import pyxen.aio
from pyxen import (
    DeviceState,
    Disk,
    DomainNotFound,
    Feature,
    Host,
    InvalidArgument,
    LiveDevice,
    NotFound,
    UnsupportedFeature,
    Vif,
)
from tests.backends.differences import differs
from tests.backends.support import Guest, Make, supporting, wait_until

MAC = "00:16:3e:01:02:03"
KINDS = (
    *("disks", "vifs", "pcis", "vfbs", "virtios", "vtpms", "p9s", "pvcalls", "vdispls", "vsnds", "channels"),
    *("consoles", "usbctrls", "usbdevs", "vkbs"),
)
IN_LIBVIRTS_XML = {"disks", "vifs", "pcis", "vfbs", "channels", "usbctrls", "usbdevs"}


@pytest.mark.needs(Feature.LIVE_DEVICES)
def test_those_that_it_is_made_with(host: Host, make: Make, image: str) -> None:
    domain = make("web1", disks=[Disk(image, vdev="xvda", readonly=True)], vifs=[Vif(bridge="xenbr0", mac=MAC)])
    [disk], [vif] = domain.disks, domain.vifs
    assert isinstance(disk, LiveDevice)
    config = domain.config()
    assert (disk.config, vif.config.replace(devid=None)) == (config.disks[0], config.vifs[0].replace(devid=None))
    assert (disk.config.target, disk.devid, vif.config.mac, vif.devid) == (image, 51712, MAC, 0)
    assert (disk.config.vdev, disk.config.readonly, disk.error, vif.error) == ("xvda", True, None, None)
    assert (vif.bridge, disk.bridge, disk.interface) == ("xenbr0", None, None)
    for disk_key in ("xvda", "d0p0", 51712, disk):  # the states may have changed meanwhile
        assert domain.disks[disk_key].config == disk.config
    for vif_key in (MAC.upper(), 0, Vif(mac=MAC)):
        assert domain.vifs[vif_key].config == vif.config
    assert (len(domain.disks), [each.config for each in domain.vifs]) == (1, [vif.config])
    assert [each.config for each in domain.disks.list()] == [disk.config]
    assert "xvda" in domain.disks
    assert domain.disks.get("xvdb") is None
    assert domain.disks.get("xvdb") is None
    assert disk.to_dict()["config"] == disk.config.to_dict()
    if differs(host, "states"):
        assert (disk.backend_state, disk.frontend_state, disk.frontend_path) == (None, None, None)
        return
    top = f"/local/domain/{domain.domid}"
    assert (disk.frontend_path, vif.frontend_path) == (f"{top}/device/vbd/51712", f"{top}/device/vif/0")
    assert disk.backend_path is not None
    assert disk.backend_path.startswith("/local/domain/0/backend/")
    assert (disk.backend_domid, disk.backend_name) == (0, "Domain-0")
    assert vif.interface == f"vif{domain.domid}.0"
    assert isinstance(vif.backend_state, DeviceState)
    assert isinstance(vif.frontend_state, DeviceState)


@pytest.mark.needs(Feature.LIVE_DEVICES)
def test_every_kind(host: Host, make: Make) -> None:
    domain = make("web1")
    for kind in KINDS:
        collection = getattr(domain, kind)
        assert kind in repr(collection)
        if differs(host, "states") and kind not in IN_LIBVIRTS_XML:
            with pytest.raises(UnsupportedFeature, match="xenlight:///") as caught:
                collection.list()
            assert caught.value.feature == kind
        else:
            assert {each.devid for each in collection} == ({0} if kind == "consoles" else set())


@pytest.mark.needs(Feature.LIVE_DEVICES)
def test_keys_that_name_none(host: Host, make: Make, image: str) -> None:
    domain = make("web1", disks=[Disk(image, vdev="xvdb")])
    with pytest.raises(NotFound, match="no disk xvda; it has xvdb") as caught:
        domain.disks["xvda"]
    assert caught.value.domid == domain.domid
    with pytest.raises(NotFound, match="no vif devid=3; it has none"):
        domain.vifs[3]
    vtpms = domain.vtpms
    for collection, key, problem in (
        (domain.disks, "eth0", "'eth0' does not name a disk: give a vdev such as 'xvda', a devid or a Disk"),
        (domain.disks, Vif(mac=MAC), "a key of type Vif does not name a disk"),
        (domain.disks, -1, "-1 does not name a disk"),
        (domain.disks, True, "a key of type bool does not name a disk"),
        (domain.vifs, "xvdb", "'xvdb' does not name a vif: give a MAC address, a devid or a Vif"),
        (domain.pcis, 0, "0 does not name a PCI device: give a PCI address such as '03:00.0' or a Pci"),
        (domain.usbdevs, "1-4", "'1-4' does not name a USB device: give BUS:ADDRESS as lsusb prints them or a UsbDev"),
        (
            domain.channels,
            1.5,
            "a key of type float does not name a channel: give a channel's name, a devid or a Channel",
        ),
        (domain.vfbs, "first", "'first' does not name a frame buffer: give a devid or a Vfb"),
        (vtpms, "0", "'0' does not name a vTPM: give a uuid, a devid or a Vtpm"),
    ):
        if collection is vtpms and differs(host, "states"):
            continue  # it knows none
        for call in (collection.__getitem__, collection.get, collection.__contains__, collection.detach):
            with pytest.raises(InvalidArgument, match=problem):
                call(key)
    domain.destroy()
    with pytest.raises(DomainNotFound):
        domain.disks.list()


@pytest.mark.needs(Feature.LIVE_DEVICES, Feature.ATTACH)
def test_they_come_and_go(host: Host, linux: Guest, image: str) -> None:
    domain = linux()
    with pytest.raises(InvalidArgument, match="takes a Disk, not Vif"):
        domain.disks.attach(Vif(mac=MAC))  # type: ignore[arg-type]  # what is refused
    disk = domain.disks.attach(Disk(image, vdev="xvdb", readonly=True))
    vif = domain.vifs.begin.attach(Vif(bridge="xenbr0")).result(60)
    assert (domain.disks["xvdb"].config.target, domain.disks["xvdb"].config.vdev) == (disk.target, "xvdb")
    assert domain.vifs[vif].config.mac == vif.mac
    if not differs(host, "states"):
        wait_until(lambda: domain.disks["xvdb"].frontend_state is DeviceState.CONNECTED)
        connected = domain.disks["xvdb"]
        assert connected.backend_state is DeviceState.CONNECTED
        assert connected.event_channel is not None
        assert connected.ring_ref is not None
    domain.disks.detach(domain.disks["xvdb"])
    assert domain.disks.get("xvdb") is None
    domain.vifs.begin.detach(str(vif.mac)).result(60)
    assert [*domain.vifs] == []
    assert domain.config().disks == domain.config().vifs == ()
    with pytest.raises(NotFound, match="no disk xvdb; it has none"):
        domain.disks.detach("xvdb")


@pytest.mark.needs(Feature.LIVE_DEVICES)
@pytest.mark.long
def test_awaited(host: Host, uri: str, make: Make, image: str) -> None:
    domain = make("web1", paused=True, disks=[Disk(image, vdev="xvdb")])  # its states stay as they are

    async def main() -> None:
        async with pyxen.aio.connect(uri) as xen:
            if await xen.domains.get(domain.uuid) is None:
                return  # a host in memory is another one each time
            disks = (await xen.domains[domain.uuid]).disks
            [disk] = await disks.list()
            assert [each async for each in disks] == [disk]
            assert await disks["xvdb"] == await disks.get("xvdb") == disk == domain.disks["xvdb"]
            assert await disks.get("xvdc") is None
            with pytest.raises(TypeError, match="cannot await"):
                "xvdb" in disks  # noqa: B015 (what is refused)
            with pytest.raises(TypeError, match="cannot await"):
                iter(disks)
            with supporting(host, Feature.ATTACH):
                made = await disks.attach(Disk(image, vdev="xvdd", readonly=True))
                assert (await disks["xvdd"]).config.vdev == made.vdev
                await disks.detach("xvdd", force=True)
                assert await disks.get("xvdd") is None

    asyncio.run(main())
