"""The devices of running domains, as they come and go, compared with what xl lists, on real Xen."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from pyxen import (
    P9,
    Channel,
    DeviceExists,
    DeviceState,
    Disk,
    Domain,
    Host,
    LiveDevice,
    NotFound,
    OperationTimeout,
    Pvcalls,
    UnsupportedFeature,
    UsbCtrl,
    Vfb,
    Vif,
    Vkb,
    Vnc,
    Vsnd,
)
from tests.xen.support import MakeConfig, MakeDomain, wait_until, xenstore_entries, xl_rows

STATES = {str(number): state for number, state in enumerate(DeviceState)} | {"-1": DeviceState.UNKNOWN}


@pytest.fixture
def image(folder: Path) -> str:
    """A file that can be a disk."""
    path = folder / "data.img"
    path.write_bytes(bytes(1 << 20))
    return str(path)


def first(values: tuple[int, ...], place: int = 0) -> str:
    """Return a value as xl prints it."""
    return str(values[place]) if len(values) > place else "-1"


def as_block_list(domain: Domain) -> None:
    """Compare with ``xl block-list``."""
    listed = xl_rows("block-list", domain)
    assert len(listed) == len(domain.disks)
    for vdev, backend, _, state, channel, ring, path in listed:
        disk = domain.disks[int(vdev)]
        assert (str(disk.backend_domid), disk.backend_path) == (backend, path)
        assert disk.frontend_state is STATES[state]
        assert (first(disk.event_channels), first(disk.ring_refs)) == (channel, ring)


def as_network_list(domain: Domain) -> None:
    """Compare with ``xl network-list``, which knows one event channel."""
    listed = xl_rows("network-list", domain)
    assert len(listed) == len(domain.vifs)
    for devid, backend, mac, _, state, channel, rings, path in listed:
        vif = domain.vifs[int(devid)]
        assert (str(vif.backend_domid), vif.config.mac, vif.backend_path) == (backend, mac, path)
        assert vif.frontend_state is STATES[state]
        assert f"{first(vif.ring_refs)}/{first(vif.ring_refs, 1)}" == rings
        assert channel in {"-1", first(vif.event_channels)}  # those for tx and rx have names of their own


def same_as_config(domain: Domain) -> None:
    """Compare the configurations with the whole one, in which devices have no numbers where their places say them."""
    config = domain.config()
    assert [disk.config for disk in domain.disks] == sorted(config.disks, key=lambda disk: disk.vdev or "")
    for live, device in zip(domain.vifs, config.vifs, strict=True):
        assert live.config.replace(devid=None) == device.replace(devid=None)


@pytest.mark.long
def test_devices_that_a_guest_uses(host: Host, running_linux: MakeDomain, image: str) -> None:
    domain = running_linux()
    assert (len(domain.disks), len(domain.vifs)) == (0, 0)
    assert [console.devid for console in domain.consoles] == [0]
    domain.disks.attach(Disk("/dev/vdc", vdev="xvdb"))
    domain.disks.attach(Disk(image, vdev="xvdc", readonly=True))
    vif = domain.vifs.attach(Vif(bridge="xenbr0", vifname="mynic"))
    domain.vifs.attach(Vif(bridge="xenbr0"))

    def connected(device: LiveDevice[Disk] | LiveDevice[Vif]) -> bool:
        return device.frontend_state is device.backend_state is DeviceState.CONNECTED

    wait_until(lambda: all(map(connected, domain.disks)) and all(map(connected, domain.vifs)), seconds=120)
    as_block_list(domain)
    as_network_list(domain)
    same_as_config(domain)
    block, file = domain.disks
    assert (block.config.target, block.physical_path, block.error) == ("/dev/vdc", "/dev/vdc", None)
    assert file.config.target == image
    assert re.fullmatch(r"/dev/loop\d+", file.physical_path or "")
    assert re.fullmatch(r"7:[\da-f]+", file.physical_device or "")
    named, usual = domain.vifs
    assert named.config.mac == vif.mac
    assert (named.interface, named.bridge, usual.interface) == ("mynic", "xenbr0", f"vif{domain.domid}.1")
    for each in (named, usual):
        assert Path(f"/sys/class/net/{each.interface}/master").resolve().name == each.bridge
        assert len(each.ring_refs) >= 2
        assert each.event_channel is not None
    domain.disks.detach("xvdb")
    domain.vifs.detach(named)
    assert ([disk.config.vdev for disk in domain.disks], [each.devid for each in domain.vifs]) == (["xvdc"], [1])
    as_block_list(domain)
    as_network_list(domain)
    domain.destroy()
    host.xenstore.remove("/local/domain/mynic")  # Xen's script takes the name for that of a usual interface


def test_devices_that_nobody_uses(host: Host, tiny: MakeConfig, image: str) -> None:
    disks = [Disk(image, vdev="xvda", readonly=True), Disk(image, vdev="xvdb", format="raw", backendtype="qdisk")]
    config = tiny("pv", disks=disks, vifs=[Vif(bridge="xenbr0")], usbctrls=[UsbCtrl(type="qusb", ports=4)])
    domain = host.create(config, timeout=120)
    as_block_list(domain)
    as_network_list(domain)
    same_as_config(domain)
    assert (domain.disks["xvda"].ring_ref, domain.disks["xvda"].event_channel) == (None, None)
    assert (domain.disks["xvdb"].backend_path or "").split("/")[5] == "qdisk"
    [[devid, type_, backend, state, version, ports], *_] = xl_rows("usb-list", domain)
    [controller] = domain.usbctrls
    assert (str(controller.devid), str(controller.config.type), str(controller.backend_domid)) == (
        devid,
        type_,
        backend,
    )
    assert (controller.frontend_state, str(controller.config.ports)) == (STATES[state], ports)
    assert version == "2"
    assert [*domain.usbdevs] == []
    for empty in (domain.pcis, domain.vtpms, domain.channels, domain.vdispls, domain.vsnds, domain.p9s):
        assert [*empty] == []
    domain.destroy()


def test_what_qemu_serves(host: Host, tiny: MakeConfig, folder: Path) -> None:
    channels = [
        Channel("org.example.terminal", connection="pty"),
        Channel("org.example.socket", connection="socket", path=folder / "channel"),
    ]
    config = tiny("hvm", vnc=Vnc(enable=True, display=3), channels=channels, vifs=[Vif(bridge="xenbr0")])
    domain = host.create(config, timeout=180)
    as_block_list(domain)
    as_network_list(domain)
    same_as_config(domain)
    listed = xl_rows("channel-list", domain)
    assert len(listed) == len(domain.channels) == 2
    for channel, (_, backend, state, port, ring, connection, *_) in zip(domain.channels, listed, strict=True):
        assert (str(channel.backend_domid), channel.frontend_state) == (backend, STATES[state])
        assert (first(channel.event_channels), first(channel.ring_refs)) == (port, ring)
        assert channel.config.connection == connection
        assert domain.channels[channel.config.name or ""] == channel
    assert [channel.devid for channel in domain.channels] == [end.devid for end in domain.endpoints().channels]
    domain.destroy()


def test_devices_that_nobody_serves(host: Host, tiny: MakeConfig) -> None:
    """Libxl waits ten seconds before it takes one away: so all go at once."""
    domain = host.create(tiny("pv", pvcalls=[Pvcalls()]))
    before = xenstore_entries()
    with pytest.raises(UnsupportedFeature, match="cannot hot-plug a Pvcalls"):
        domain.attach(Pvcalls())
    share = P9(tag="share", path="/srv", security_model="none")
    devices: list[Vfb | Vkb | P9] = [Vfb(), Vkb(backend_type="linux"), share]
    if host.info().xen_version.startswith("4.17"):
        with pytest.raises(UnsupportedFeature, match="cannot hot-plug a P9"):
            domain.attach(share)
        devices.remove(share)
    made: list[Vfb | Vkb | P9] = [domain.attach(device) for device in devices]
    assert [device.devid for device in made] == [0] * len(made)
    [[devid, backend, _, state, channel, _, *_, path]] = xl_rows("vkb-list", domain)
    [keyboard] = domain.vkbs
    assert (str(keyboard.devid), str(keyboard.backend_domid), keyboard.backend_path) == (devid, backend, path)
    assert (keyboard.frontend_state, first(keyboard.event_channels)) == (STATES[state], channel)
    assert keyboard.config.backend_type == "linux"
    assert xenstore_entries() > before
    for device in made:
        with pytest.raises(DeviceExists):
            domain.attach(device)
    given = [*(type(device)(devid=0) for device in made), Pvcalls(devid=0)]
    going = [domain.begin.detach(device, force=True) for device in given]
    late = domain.begin.attach(Vsnd(short_name="card"), timeout=1)
    with pytest.raises(OperationTimeout):
        late.result()
    for operation in going:
        operation.result()
    assert [*domain.vkbs] == []
    assert xenstore_entries() == {entry for entry in before if "/pvcalls" not in entry}
    for gone in given:
        with pytest.raises(NotFound):
            domain.detach(gone)
    assert domain.config().vfbs == domain.config().vkbs == domain.config().vsnds == ()
    domain.destroy()


def test_kinds_that_the_lab_cannot_have(host: Host, tiny: MakeConfig) -> None:
    """Let xl and pyxen read what libxl would write: the lab has no device to pass through, and no vTPM domain."""
    domain = host.create(tiny("pv"))
    written = []
    for kind, nodes in {
        "pci": {"num_devs": "2", "dev-0": "0000:03:00.0", "vdevfn-0": "29", "dev-1": "0000:03:10.1", "vdevfn-1": "30"},
        "vtpm": {"uuid": "6f1f9f5c-1111-4222-8333-9f5c6f1f9f5c", "handle": "0"},
    }.items():
        front, back = f"{domain.xenstore_path}/device/{kind}/0", f"/local/domain/0/backend/{kind}/{domain.domid}/0"
        record = f"/libxl/{domain.domid}/device/{kind}/0"
        written += [front, back, record]
        for folder, own in {
            record: {"backend": back, "frontend": front, "backend-id": "0", "frontend-id": str(domain.domid)},
            back: {"frontend": front, "frontend-id": str(domain.domid), "state": "2"},
            front: {"backend": back, "backend-id": "0", "state": "4", "event-channel": "21", "ring-ref": "22"},
        }.items():
            for name, value in {**nodes, **own}.items():
                host.xenstore.write(f"{folder}/{name}", value)
    assert xl_rows("pci-list", domain) == [[pci.slot, str(pci.config.address)] for pci in domain.pcis]
    [[devid, backend, uuid, _, state, channel, ring, path]] = xl_rows("vtpm-list", domain)
    [vtpm] = domain.vtpms
    assert (str(vtpm.devid), str(vtpm.backend_domid), str(vtpm.config.uuid)) == (devid, backend, uuid)
    assert (vtpm.frontend_state, first(vtpm.event_channels), first(vtpm.ring_refs)) == (STATES[state], channel, ring)
    assert vtpm.backend_path == path
    for each in written:
        host.xenstore.remove(each)
    for each in (f"/libxl/{domain.domid}/device/{kind}" for kind in ("pci", "vtpm")):
        host.xenstore.remove(each)
    for folder in (f"/local/domain/0/backend/{kind}" for kind in ("pci", "vtpm")):
        host.xenstore.remove(f"{folder}/{domain.domid}")
        if not host.xenstore.list(folder):
            host.xenstore.remove(folder)
    domain.destroy()
