"""What Xen refuses, a host in memory refuses with the same errors."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any
from uuid import UUID

import pytest

import pyxen
from pyxen import (
    Disk,
    DomainExists,
    Error,
    InvalidArgument,
    InvalidState,
    NoGuestDriver,
    NotFound,
    OperationFailed,
    ShutdownReason,
    UnsupportedFeature,
    ValidationError,
    Vif,
)
from pyxen.config import P9, Pci, PciAddress, Pvcalls, UsbCtrl, UsbDev
from pyxen.testing import FakeHost
from tests.unit.memory.configs import config


@pytest.mark.parametrize(
    ("settings", "error", "says"),
    [
        ({"uuid": UUID(int=0)}, DomainExists, "leave the uuid out"),
        ({"memory": 0}, ValidationError, "memory"),
        ({"vcpus": 1000}, UnsupportedFeature, "128 vCPUs at most"),
        ({"cpus": "99"}, ValidationError, "the domain's CPU pool has none of them"),
        ({"pool": "nowhere"}, InvalidArgument, "pool=nowhere"),
        ({"pool": ""}, InvalidArgument, "pool="),
        ({"poolid": 9}, InvalidArgument, "pool=9"),
        (
            {"disks": [Disk("/d", vdev="xvda", backend="nowhere")]},
            NotFound,
            "no domain 'nowhere' to serve the disk xvda",
        ),
        ({"vifs": [Vif(backend_domid=77)]}, NotFound, "no domain 77 to serve the vif"),
        ({"vifs": [Vif(vifname="x" * 16)]}, OperationFailed, "ERROR_FAIL"),
        ({"pcis": [Pci("03:00.0"), Pci("03:00.0")]}, ValidationError, "is pcis.0. already"),
        ({"shadow_memory": 0}, OperationFailed, "ERROR_FAIL"),
        ({"memory": 8, "maxmem": 1e9}, pyxen.NotEnoughMemory, "MiB free"),
    ],
)
def test_a_create(fake: FakeHost, settings: dict[str, Any], error: type[Error], says: str) -> None:
    with pytest.raises(error, match=says):
        fake.create(config(**settings))
    assert len(fake.domains) == 1


def test_a_pci_device_that_another_domain_has(fake: FakeHost) -> None:
    fake.pci.assignable_add("03:00.0", name="nic")
    first = fake.create(config(type="pv", pcis=[Pci("03:00.0")]))
    second = fake.create(config("web2", type="pv"))
    for pci in (Pci("03:00.0"), Pci("03:00.0", seize=True), Pci(name="nic")):
        calls: list[Callable[[], object]] = [
            partial(fake.create, config("web3", type="pv", pcis=[pci])),
            partial(second.attach, pci),
        ]
        for call in calls:
            with pytest.raises(NotFound, match=rf"0000:03:00\.0 is not assignable.*to domain {first.domid}: detach it"):
                call()
    first.destroy()
    second.attach(Pci("03:00.0"))


def test_a_pci_device_by_its_name(fake: FakeHost) -> None:
    fake.pci.assignable_add("03:00.1", name="nic")
    first = fake.create(config(type="pv", pcis=[Pci(name="nic")]))
    assert [str(device.config.address) for device in first.pcis] == ["0000:03:00.1"]
    first.detach(Pci(name="nic"))
    assert fake.pci["nic"].domid is None
    assert first.attach(Pci(name="nic")).address == PciAddress("03:00.1")
    assert [str(device.config.address) for device in first.pcis] == ["0000:03:00.1"]
    with pytest.raises(NotFound, match="no PCI device named 'card'"):
        first.attach(Pci(name="card"))


def test_the_functions_of_a_pci_device(fake: FakeHost) -> None:
    for address in ("03:00.0", "03:00.1", "00:17.0"):
        fake.pci.assignable_add(address)
    guest = fake.create(config(type="pv", pcis=[Pci("00:17.*")]))
    for pci in (Pci("03:00.*"), Pci("03:00.*", vslot=5)):
        for call in (partial(guest.attach, pci), partial(fake.create, config("web2", type="pv", pcis=[pci]))):
            with pytest.raises(InvalidArgument, match="stands for 2 functions"):
                call()
    for address in ("03:00.0", "03:00.1"):
        guest.attach(Pci(address))
    guest.detach("03:00.*")
    assert [str(device.config.address) for device in guest.pcis] == ["0000:00:17.0"]


def test_a_pci_device_that_is_given_twice(fake: FakeHost) -> None:
    fake.pci.assignable_add("00:17.0", name="nic")
    for pci in (Pci("00:17.*"), Pci(name="nic")):
        with pytest.raises(InvalidArgument, match=r"pcis has 0000:00:17\.0 twice"):
            fake.create(config(type="pv", pcis=[Pci("00:17.0"), pci]))
    assert fake.pci["nic"].domid is None


def test_a_pci_device_without_the_number_of_its_function_stays(fake: FakeHost) -> None:
    """Each apply would take it from a guest that runs, and give it back."""
    fake.pci.assignable_add("00:17.0", name="nic")
    for number, pci in enumerate((Pci("00:17.*", vslot=6), Pci(name="nic"))):
        wanted = config(f"web{number}", type="pv", pcis=[pci])
        domain = fake.create(wanted)
        assert not fake.apply(wanted).changed
        domain.destroy()


def test_ports_of_usb_controllers(fake: FakeHost) -> None:
    web = fake.create(config(type="hvm"))
    made = [web.attach(UsbCtrl(version=version)) for version in (1, 2, 3)]
    assert [(one.devid, one.ports) for one in made] == [(0, 2), (1, 6), (2, 8)]
    wrong = (
        UsbCtrl(version=1, ports=8),
        UsbCtrl(ports=1),
        UsbCtrl(version=3, ports=16),
        UsbCtrl(type="qusb", version=3),
    )
    for controller in wrong:
        with pytest.raises(InvalidArgument):
            web.attach(controller)
        with pytest.raises(InvalidArgument):
            fake.create(config("web2", type="hvm", usbctrls=[controller]))
    assert [info.name for info in fake.list()] == ["Domain-0", "web1"]


def test_where_a_usb_device_is_plugged_in(fake: FakeHost) -> None:
    keyboard, stick = UsbDev(hostbus=1, hostaddr=2), UsbDev(hostbus=1, hostaddr=3)
    web = fake.create(config(type="hvm"))
    with pytest.raises(InvalidState, match="no USB controller with a free port: attach a UsbCtrl first"):
        web.attach(keyboard)
    for _ in range(2):
        web.attach(UsbCtrl(version=1))
    for refused in (keyboard.replace(controller=7), keyboard.replace(controller=7, port=3), keyboard.replace(port=1)):
        with pytest.raises(OperationFailed):
            web.attach(refused)
    first = web.attach(keyboard.replace(controller=1, port=2))
    assert (first.controller, first.port) == (1, 2)
    with pytest.raises(OperationFailed):
        web.attach(stick.replace(controller=1, port=2))
    second = web.attach(stick.replace(controller=1))
    assert (second.controller, second.port) == (1, 1)
    web.detach(UsbCtrl(devid=1))
    assert (len(web.config().usbctrls), web.config().usbdevs) == (1, ())
    assert [device.domid for device in fake.usb.list()] == [None] * 3
    third = web.attach(stick)
    assert (third.controller, third.port) == (0, 1)


def test_a_pv_guest_gets_a_usb_controller_with_its_first_device(fake: FakeHost) -> None:
    web = fake.create(config(type="pv"))
    device = web.attach(UsbDev(hostbus=1, hostaddr=2))
    assert (device.controller, device.port) == (0, 1)
    assert [(one.type, one.ports) for one in web.config().usbctrls] == [("qusb", 8)]
    web.detach(device)
    assert len(web.config().usbctrls) == 1


def test_usb_devices_of_a_new_guest_are_plugged_in(fake: FakeHost) -> None:
    given = [UsbDev(hostbus=1, hostaddr=2), UsbDev(hostbus=1, hostaddr=3)]
    kinds: list[dict[str, Any]] = [{"type": "pv"}, {"type": "hvm", "usbctrls": [UsbCtrl()]}]
    for number, settings in enumerate(kinds):
        wanted = config(f"web{number}", usbdevs=given, **settings)
        web = fake.create(wanted)
        assert [(one.controller, one.port) for one in web.config().usbdevs] == [(0, 1), (0, 2)]
        assert not fake.apply(wanted).changed
        web.detach(next(iter(web.usbdevs)).config)
        assert [device.config.hostaddr for device in web.usbdevs] == [3]
        web.destroy()


def test_a_usb_device(fake: FakeHost) -> None:
    keyboard = UsbDev(hostbus=1, hostaddr=2)
    with pytest.raises(NotFound, match="the host has no USB device 9 on bus 1"):
        fake.create(config(type="hvm", usbdevs=[UsbDev(hostbus=1, hostaddr=9)]))
    first = fake.create(config(type="hvm", usbctrls=[UsbCtrl()], usbdevs=[keyboard]))
    second = fake.create(config("web2", type="hvm", usbctrls=[UsbCtrl()]))
    for device, says in ((keyboard, "already attached to a domain"), (UsbDev(hostbus=1, hostaddr=1), "not assignable")):
        with pytest.raises(OperationFailed) as caught:
            second.attach(device)
        assert says in caught.value.log[-1]
    first.destroy()
    second.attach(keyboard)


def test_an_attach(fake: FakeHost) -> None:
    domain = fake.create(config())
    with pytest.raises(NotFound, match="no domain 'nowhere' to serve the vif"):
        domain.attach(Vif(backend="nowhere"))
    with pytest.raises(UnsupportedFeature, match=r"libxl of Xen 4\.20 cannot hot-plug a Pvcalls"):
        domain.attach(Pvcalls())
    with pytest.raises(InvalidArgument, match="ERROR_INVAL"):
        domain.attach(P9(tag="a"))


def test_an_hvm_guest_without_drivers(fake: FakeHost) -> None:
    domain = fake.create(config(type="hvm"))
    with pytest.raises(NoGuestDriver):  # it has not booted
        domain.shutdown()
    fake.guest(domain).boot()
    fake.guest(domain).drivers = False
    with pytest.raises(NoGuestDriver):
        domain.reboot()
    domain.suspend()
    assert domain.info().shutdown_reason is ShutdownReason.SUSPEND
    domain.resume()


def test_the_release_of_a_host_by_uri() -> None:
    with pyxen.connect("memory:///?xen=4.17.0") as host:
        assert host.info().xen_version == "4.17.0"


def test_dom0_runs_and_has_no_console(fake: FakeHost) -> None:
    assert fake.domains[0].info().state is pyxen.DomainState.RUNNING
    with pytest.raises(NotFound, match="has no console"):
        fake.domains[0].console()
