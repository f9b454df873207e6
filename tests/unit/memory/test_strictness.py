"""What Xen refuses, a host in memory refuses with the same errors."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import pytest

import pyxen
from pyxen import (
    Disk,
    DomainExists,
    Error,
    InvalidArgument,
    NoGuestDriver,
    NotFound,
    OperationFailed,
    ShutdownReason,
    UnsupportedFeature,
    ValidationError,
    Vif,
)
from pyxen.config import P9, Pci, Pvcalls, UsbCtrl, UsbDev
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
    fake.pci.assignable_add("03:00.0")
    first = fake.create(config(type="pv", pcis=[Pci("03:00.0")]))
    with pytest.raises(OperationFailed, match=r"0000:03:00\.0 already assigned"):
        fake.create(config("web2", type="pv", pcis=[Pci("03:00.0")]))
    second = fake.create(config("web2", type="pv"))
    with pytest.raises(NotFound, match=r"0000:03:00\.0 is not assignable"):
        second.attach(Pci("03:00.0"))
    with pytest.raises(OperationFailed, match="already assigned"):
        second.attach(Pci("03:00.0", seize=True))
    first.destroy()
    second.attach(Pci("03:00.0"))


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
