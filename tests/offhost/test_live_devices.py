"""Devices of running domains as xenstore has them, and what a guest can write into its ends of them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from pyxen import DeviceState, Disk, DomainConfig, Host, LiveDevice, Vif, Vsnd, XenstoreError
from tests.offhost.host import OffHost

Configure = Callable[..., DomainConfig]

MAC = "00:16:3e:01:02:03"


def put(offhost: OffHost, folder: str, **nodes: str) -> None:
    """Write nodes as dom0."""
    for word, value in nodes.items():
        name = word if word == "security_model" else word.replace("_", "-")  # as libxl spells them
        offhost.store.write(f"{folder}/{name}", value)


def device(offhost: OffHost, domid: int, node: str, number: int, *, kind: str = "", **nodes: str) -> tuple[str, str]:
    """Write a device as libxl does, and return the folders of its ends; the guest owns its own."""
    front = f"/local/domain/{domid}/device/{node}/{number}"
    back = f"/local/domain/0/backend/{kind or node}/{domid}/{number}"
    put(offhost, f"/libxl/{domid}/device/{node}/{number}", frontend=front, backend=back, **nodes)
    put(offhost, back, state="2", **nodes)
    offhost.store.write(front)
    offhost.store.permit(front, f"n{domid}", "r0")
    put(offhost, front, backend=back, state="1")  # with the permissions of the folder
    return front, back


def test_devices_of_a_domain_that_libxl_made(host: Host, config: Configure, tmp_path: Path) -> None:
    image = tmp_path / "image"
    image.write_bytes(bytes(1 << 20))
    disk, vif = Disk(str(image), vdev="xvda", readonly=True), Vif(bridge="xenbr0", mac=MAC, rate="10MB/s")
    domain = host.create(config("pvh", disks=[disk], vifs=[vif]))
    [live_disk], [live_vif] = domain.disks, domain.vifs
    assert [live_disk.config] == [*domain.config().disks]
    assert live_vif.config.replace(devid=None) == domain.config().vifs[0].replace(devid=None)
    assert (live_vif.config.rate, live_vif.devid) == (vif.rate, 0)
    assert live_disk.backend_name == "Domain-0"
    assert live_disk.backend_path == f"/local/domain/0/backend/vbd/{domain.domid}/51712"
    domain.disks.detach("xvda", force=True)
    assert [*domain.disks] == []
    domain.destroy()


def test_without_a_record_of_libxl_xenstore_tells(host: Host, offhost: OffHost) -> None:
    domid = offhost.add("web", kind="pv")
    domain = host.domains[domid]
    device(offhost, domid, "vbd", 51712, dev="xvda", params="/srv/a.img", mode="w", device_type="disk")
    device(offhost, domid, "vbd", 5632, kind="qdisk", dev="hdc", params="qcow2:/srv/b", mode="r", device_type="cdrom")
    device(offhost, domid, "vbd", 51744, dev="what", params="aio:/srv/c.img", mode="r")
    device(offhost, domid, "vif", 1, mac=MAC, bridge="xenbr0", vifname="mynic")
    device(offhost, domid, "vif", 0, mac="what")
    device(offhost, domid, "vtpm", 0, uuid="6f1f9f5c-1111-4222-8333-9f5c6f1f9f5c")
    device(offhost, domid, "console", 2, name="org.example", connection="pty")
    device(offhost, domid, "9pfs", 3, path="/srv/share", security_model="none")
    device(offhost, domid, "vkbd", 0)
    device(offhost, domid, "vkbd", 1, kind="vinput")
    assert [disk.config for disk in domain.disks] == [
        Disk("/srv/b", vdev="hdc", cdrom=True),
        Disk("/srv/a.img", vdev="xvda", readonly=False),
        Disk("/srv/c.img", vdev="51744", readonly=True),
    ]
    assert [vif.config for vif in domain.vifs] == [
        Vif(devid=0),
        Vif(bridge="xenbr0", mac=MAC, vifname="mynic", devid=1),
    ]
    assert str(domain.vtpms[0].config.uuid) == "6f1f9f5c-1111-4222-8333-9f5c6f1f9f5c"
    assert (domain.channels["org.example"].config.devid, domain.p9s[3].config.devid) == (2, 3)
    assert domain.p9s[3].config.path == "/srv/share"
    assert [str(keyboard.config.backend_type) for keyboard in domain.vkbs] == ["qemu", "linux"]
    assert [*domain.consoles] == []


def test_a_record_that_cannot_be_read(host: Host, offhost: OffHost) -> None:
    domid = offhost.add("web", kind="pv")
    domain = host.domains[domid]
    device(offhost, domid, "vbd", 51712, dev="xvda", params="/srv/a.img", mode="w", device_type="disk")
    path = offhost.root / f"var/lib/xen/userdata-d.{domid}.{domain.uuid}.libxl-json"
    for record in (b"", b"{", b"[]", b"null", b'{"disks": 7}', b'{"disks": [7, {"vdev": 1}]}', b"\xff"):
        path.write_bytes(record)
        assert [disk.config.target for disk in domain.disks] == ["/srv/a.img"], record
    path.write_text(json.dumps({"disks": [{"vdev": "xvda", "pdev_path": "/srv/b.img"}, {"vdev": "xvdb"}]}) + "\0")
    assert [disk.config.target for disk in domain.disks] == ["/srv/b.img"]


def test_what_backends_tell(host: Host, offhost: OffHost) -> None:
    domid = offhost.add("web", kind="pv")
    disks = host.domains[domid].disks
    _, back = device(offhost, domid, "vbd", 51712, dev="xvda")
    [found] = disks
    assert found.error is None
    put(offhost, back, hotplug_error="losetup: \x1b[2J no such file", physical_device="7:0", state="5")
    put(offhost, back, physical_device_path="/dev/loop0")
    found = disks["xvda"]
    assert (found.physical_device, found.physical_path) == ("7:0", "/dev/loop0")
    assert found.backend_state is DeviceState.CLOSING
    assert found.error == r"losetup: \x1b[2J no such file"
    put(offhost, f"/local/domain/0/error/backend/vbd/{domid}/51712", error="2 reading params")
    [found] = disks
    assert found.error == "2 reading params"
    for state, shown in {"": "unknown", "9": "unknown", "-1": "unknown", "04": "unknown", "8": "reconfigured"}.items():
        put(offhost, back, state=state)
        assert disks["xvda"].backend_state is DeviceState(shown)


NOWHERE = [
    *("", "/", "/local/domain/0", "\x1b[2J", "/local/domain/0/backend/vbd/0/51712"),
    *("/local/domain/99999/backend/vbd/{}/51712", "/local/domain/-1/backend/vbd/{}/51712"),
    *("/local/domain/0/backend/../../{}/51712", "/local/domain/0/backend/vbd/{}/51712/../.."),
    *("/local/domain/\u0663/backend/vbd/{}/51712", "(null)/backend/vbd/{}/51712"),
]


def test_a_backend_that_leads_nowhere(host: Host, offhost: OffHost) -> None:
    domid = offhost.add("web", kind="pv")
    device(offhost, domid, "vbd", 51712, dev="xvda")
    for path in NOWHERE:
        offhost.store.write(f"/libxl/{domid}/device/vbd/51712/backend", path.format(domid))
        [disk] = host.domains[domid].disks
        assert disk == LiveDevice(config=disk.config, devid=51712), path


@pytest.mark.parametrize("path", NOWHERE)
def test_verbs_live_with_a_backend_that_leads_nowhere(host: Host, offhost: OffHost, path: str) -> None:
    domid = offhost.add("web", kind="pv")
    domain = host.domains[domid]
    for node in ("vbd", "vusb", "console", "vsnd"):
        offhost.store.write(f"/libxl/{domid}/device/{node}/1/backend", path.format(domid))
    assert domain.endpoints().channels == ()
    assert all(device.domid is None for device in host.usb.list())
    with pytest.raises(XenstoreError, match="vsnd/1 is not whole"):
        domain.detach(Vsnd(devid=0))


def test_what_a_guest_connects_with(host: Host, offhost: OffHost) -> None:
    domid = offhost.add("web", kind="pv")
    domain, guest = host.domains[domid], offhost.guest(domid)
    vif, _ = device(offhost, domid, "vif", 0, mac=MAC)
    disk, _ = device(offhost, domid, "vbd", 51712, dev="xvda")

    def write(folder: str, **nodes: str) -> None:
        for name, value in nodes.items():
            guest.store.write(f"{folder}/{name.replace('_', '-')}", value)

    write(disk, state="4", event_channel="7", ring_ref="8")
    write(vif, state="3", rx_ring_ref="12", tx_ring_ref="11", event_channel_rx="6", event_channel_tx="5")
    assert (domain.disks[51712].ring_refs, domain.disks[51712].event_channels) == ((8,), (7,))
    assert (domain.vifs[0].ring_refs, domain.vifs[0].event_channels) == ((11, 12), (5, 6))
    assert (domain.disks[51712].frontend_state, domain.vifs[0].frontend_state) == ("connected", "initialised")
    write(disk, ring_ref0="20", ring_ref1="21", ring_ref10="30")
    assert domain.disks[51712].ring_refs == (8, 20, 21, 30)
    for queue in (10, 2):
        write(f"{vif}/queue-{queue}", tx_ring_ref=f"{queue}1", rx_ring_ref=f"{queue}2", event_channel=f"{queue}3")
    assert domain.vifs[0].ring_refs == (11, 12, 21, 22, 101, 102)
    assert domain.vifs[0].event_channels == (5, 6, 23, 103)


WORDS = [
    b"",
    b"-1",
    b"+7",
    b"0x7",
    b"7 ",
    b"007",
    "\u0667".encode(),
    b"4294967296",
    b"9" * 2000,
    b"\xff\xfe",
    b"7\x007",
]


def test_what_a_guest_may_write(host: Host, offhost: OffHost) -> None:
    domid = offhost.add("web", kind="pv")
    disks, guest = host.domains[domid].disks, offhost.guest(domid)
    front, _ = device(offhost, domid, "vbd", 51712, dev="xvda")
    device(offhost, domid, "vbd", 51728, dev="xvdb")
    for value in WORDS:
        for name in ("state", "event-channel", "ring-ref", "ring-ref0", "queue-1/ring-ref"):
            guest.store.write(f"{front}/{name}", value)
        found = disks["xvda"]
        assert (found.frontend_state, found.event_channels, found.ring_refs) == (DeviceState.UNKNOWN, (), ()), value
        assert disks["xvdb"].frontend_state is DeviceState.INITIALISING


def test_a_guest_that_claims_what_is_not_its_own(host: Host, offhost: OffHost) -> None:
    domid = offhost.add("web", kind="pv")
    disks, guest = host.domains[domid].disks, offhost.guest(domid)
    front, back = device(offhost, domid, "vbd", 51712, dev="xvda", params="/srv/a.img")
    for name, value in {
        "backend": "/local/domain/0/backend/vbd/0/1",
        "backend-id": "7",
        "dev": "xvdz",
        "params": "/etc/shadow",
        "physical-device-path": "/dev/sda",
        "hotplug-error": "send your password",
        "physical-device": "8:0",
    }.items():
        guest.store.write(f"{front}/{name}", value)
    [found] = disks
    assert (found.backend_path, found.backend_domid, found.backend_name) == (back, 0, "Domain-0")
    assert (found.config.target, found.config.vdev) == ("/srv/a.img", "xvda")
    assert (found.physical_device, found.physical_path, found.error) == (None, None, None)
    offhost.store.write(f"/local/domain/{domid}/error")
    offhost.store.permit(f"/local/domain/{domid}/error", f"n{domid}")
    guest.store.write(f"/local/domain/{domid}/error/device/vbd/51712/error", "\x1b]0;owned\x07" + "x" * 1500)
    found = disks["xvda"]
    assert found.error is None
    assert found.frontend_error is not None
    assert found.frontend_error.startswith(r"\x1b]0;owned\x07xxx")
    assert len(found.frontend_error) < 1100


def test_a_guest_that_removes_its_end(host: Host, offhost: OffHost) -> None:
    domid = offhost.add("web", kind="pv")
    disks, guest = host.domains[domid].disks, offhost.guest(domid)
    front, _ = device(offhost, domid, "vbd", 51712, dev="xvda", params="/srv/a.img")
    guest.store.remove(front)
    [found] = disks
    assert (found.config.target, found.frontend_state) == ("/srv/a.img", DeviceState.UNKNOWN)
    assert found.backend_state is DeviceState.INIT_WAIT


def test_a_guest_that_makes_much_of_it(host: Host, offhost: OffHost) -> None:
    domid = offhost.add("web", kind="pv")
    vifs, guest = host.domains[domid].vifs, offhost.guest(domid)
    front, _ = device(offhost, domid, "vif", 0, mac=MAC)
    for queue in range(100):
        guest.store.write(f"{front}/queue-{queue}/tx-ring-ref", str(queue))
    assert vifs[0].ring_refs == tuple(range(64))


def test_pci_devices_share_a_folder(host: Host, offhost: OffHost) -> None:
    domid = offhost.add("web", kind="pv")
    pcis = host.domains[domid].pcis
    _, back = device(offhost, domid, "pci", 0)
    nodes = {"num_devs": "3", "dev-0": "0000:03:00.0", "dev-1": "0000:03:00.1", "vdevfn-1": "0x29", "dev-2": "what"}
    for name, value in {**nodes, "vdevfn-0": "0", "dev-999999": "0000:03:00.2", "dev-": "0000:03:00.3"}.items():
        offhost.store.write(f"{back}/{name}", value)
    assert [(str(pci.config.address), pci.slot, pci.devid) for pci in pcis] == [
        ("0000:03:00.0", "00.0", 0),
        ("0000:03:00.1", "05.1", 0),
    ]
    assert pcis["3:0.1"].slot == "05.1"
    assert "03:00.*" in pcis


def test_usb_devices_are_in_ports(host: Host, offhost: OffHost) -> None:
    domid = offhost.add("web", kind="pv")
    domain = host.domains[domid]
    _, back = device(offhost, domid, "vusb", 0, kind="qusb", type="qusb")
    for port, bus_id in {"1": "", "2": "1-1.2", "99": "1-3", "x": "1-4"}.items():
        offhost.store.write(f"{back}/port/{port}", bus_id)
    put(offhost, f"/libxl/{domid}/device/vusb/1", type="devicemodel")
    put(offhost, f"/libxl/{domid}/device/vusb/1/port", **{"1": "2-1"})
    path = offhost.root / f"var/lib/xen/userdata-d.{domid}.{domain.uuid}.libxl-json"
    usb_device = {"ctrl": 0, "port": 2, "type.hostdev": {"hostbus": 1, "hostaddr": 4}}
    path.write_text(json.dumps({"usbdevs": [usb_device]}))
    found = [(each.physical_device, each.config.controller, each.config.port) for each in domain.usbdevs]
    assert found == [("1-1.2", 0, 2), ("1-3", 0, 31), ("2-1", 1, 1)]
    assert domain.usbdevs["1:4"].physical_device == "1-1.2"
    assert domain.usbdevs["001:004"].backend_state is DeviceState.INIT_WAIT
    assert [(each.devid, each.backend_state) for each in domain.usbctrls] == [(0, "init_wait"), (1, None)]


def test_more_devices_than_fit_into_a_message(host: Host, offhost: OffHost) -> None:
    domid = offhost.add("web", kind="pv")
    for number in range(1000):
        offhost.store.write(f"/libxl/{domid}/device/vbd/{268435456 + number}/dev", "")
    assert [disk.devid for disk in host.domains[domid].disks] == [*range(268435456, 268435456 + 1000)]


def test_a_device_that_is_just_removed(host: Host, offhost: OffHost) -> None:
    domid = offhost.add("web", kind="pv")
    disks = host.domains[domid].disks
    device(offhost, domid, "vbd", 51712, dev="xvda")
    offhost.store.remove(f"/libxl/{domid}/device/vbd/51712")
    assert [*disks] == []
    offhost.store.write(f"/libxl/{domid}/device/vbd/51712")  # a record without a backend
    [disk] = disks
    assert (disk.config, disk.backend_state) == (Disk(vdev="51712"), None)


def test_a_record_that_is_not_whole_is_named(host: Host, offhost: OffHost, config: Configure, tmp_path: Path) -> None:
    """Of its kind libxl lists no device then, so that the others would not be found."""
    for name in ("image", "other"):
        (tmp_path / name).write_bytes(bytes(1 << 20))
    disk = Disk(str(tmp_path / "image"), vdev="xvda")
    domain = host.create(config("pv", disks=[disk], vifs=[Vif(bridge="xenbr0", mac=MAC)]))
    bad = {kind: f"/libxl/{domain.domid}/device/{kind}/{number}" for kind, number in (("vif", 7), ("vbd", 51728))}
    for record in bad.values():
        offhost.store.write(f"{record}/frontend", record.replace("/libxl", "/local/domain"))
    calls: dict[Callable[[], object], str] = {
        lambda: domain.detach(MAC, force=True): bad["vif"],
        lambda: domain.attach(Vif(bridge="xenbr0", mac=MAC)): bad["vif"],
        lambda: domain.detach("xvda", force=True): bad["vbd"],
        lambda: domain.attach(Disk(str(tmp_path / "other"), vdev="xvda")): bad["vbd"],
    }
    for call, record in calls.items():
        with pytest.raises(XenstoreError, match=f"{record} is not whole"):
            call()
    for record in bad.values():
        offhost.store.remove(record)
    domain.detach("xvda", force=True)
    domain.detach(MAC, force=True)
    domain.destroy()
