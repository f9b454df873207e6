"""PCI and USB devices of the host: the same for every backend."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

import pyxen
from pyxen import (
    Feature,
    Host,
    HostCapability,
    HostClosed,
    InvalidArgument,
    InvalidState,
    NotFound,
    OperationFailed,
    Pci,
    PciAddress,
    PciDevice,
    UnsupportedFeature,
    UsbDevice,
)
from tests.backends.differences import differs
from tests.backends.support import Make


def spare(host: Host) -> PciDevice:
    """Return a device that nothing needs: no driver has it, or it is the second function of a network card.

    Raises:
        UnsupportedFeature: The host does not make devices assignable.
    """
    if not host.supports("assignable_add"):
        host.pci.assignable_add("ff:1f.7")
    devices = [one for one in host.pci.list() if one.driver in {None, "igb"} and one.class_code != 0x060000]
    assert devices, "the host has no device to spare"
    return devices[-1]


def gives_devices(host: Host) -> bool:
    """Tell whether the host can give PCI devices to guests."""
    return HostCapability.PV_DIRECTIO in (host.info().capabilities or ())


@pytest.mark.needs(Feature.HOST_DEVICES)
def test_the_pci_devices(host: Host) -> None:
    devices = host.pci.list()
    assert [device.address for device in devices] == sorted({device.address for device in devices})
    assert list(host.pci) == devices
    assert len(host.pci) == len(devices)
    for device in devices:
        assert host.pci[device.address] == host.pci[str(device.address)] == host.pci.get(device.address) == device
        assert device in host.pci
        key: Any = str(device.address)
        assert key in host.pci
        assert device.vendor_id is not None
        assert device.device_id is not None
        assert device.class_code is not None
        assert (device.domid, device.vslot, device.vfunction) == (None, None, None)
        assert device.to_dict()["address"] == str(device.address)
    if host.supports("assignable_add"):
        assert devices
        places = host.topology().pci
        assert places is None or [str(device.address) for device in devices] == [place.address for place in places]
    assert {device.address for device in host.pci.assignable_list()} <= {device.address for device in devices}


@pytest.mark.needs(Feature.HOST_DEVICES)
def test_the_usb_devices(host: Host) -> None:
    devices = host.usb.list()
    assert list(host.usb) == devices
    assert len(host.usb) == len(devices)
    for device in devices:
        assert isinstance(device, UsbDevice)
        assert host.usb[device.hostbus, device.hostaddr] == host.usb.get((device.hostbus, device.hostaddr)) == device
        assert device in host.usb
        if device.port is not None:
            assert host.usb[device.port] == device


@pytest.mark.needs(Feature.HOST_DEVICES)
def test_devices_that_are_not_there(host: Host) -> None:
    keys: list[Any] = ["ff:1f.7", "0000:ff:1f.7", "no-such-name", PciAddress("ff:1f.7")]
    for key in keys:
        assert host.pci.get(key) is None
        assert key not in host.pci
        with pytest.raises(NotFound, match=r"host\.pci\.list"):
            host.pci[key]
    ports: list[Any] = ["9-9.9", (200, 120), "\x1b[2J"]
    for port in ports:
        assert host.usb.get(port) is None
        assert port not in host.usb
        with pytest.raises(NotFound, match=r"host\.usb\.list"):
            host.usb[port]


@pytest.mark.parametrize("key", [None, 3, b"03:00.0", "", "a b", "03:00.*", "x" * 65, "a\0", "é"])
def test_what_no_pci_device_is(host: Host, key: Any) -> None:
    calls: list[Callable[[], object]] = [
        lambda: host.pci[key],
        lambda: host.pci.get(key),
        lambda: host.pci.assignable_add(key),
        lambda: host.pci.assignable_remove(key),
    ]
    for call in calls:
        with pytest.raises(InvalidArgument):
            call()


@pytest.mark.parametrize("key", [None, 3, b"1-1", (1,), (1, 2, 3), ("1", "2"), (True, 2), [1, 2]])
def test_what_no_usb_device_is(host: Host, key: Any) -> None:
    with pytest.raises(InvalidArgument, match=r"1-2\.3"):
        host.usb[key]
    with pytest.raises(InvalidArgument, match=r"1-2\.3"):
        host.usb.get(key)


@pytest.mark.parametrize("name", ["", "a b", "x" * 65, "é", "a\n", 3, "03:00.0"])
def test_names_that_are_not_valid(host: Host, name: Any) -> None:
    with pytest.raises(InvalidArgument, match="name"):
        host.pci.assignable_add("ff:1f.7", name=name)


@pytest.mark.needs(Feature.ASSIGNABLE)
def test_what_cannot_be_made_assignable(host: Host) -> None:
    with pytest.raises(NotFound, match=r"ff:1f\.7"):
        host.pci.assignable_add("ff:1f.7")
    with pytest.raises(InvalidArgument, match="not a PCI address"):
        host.pci.assignable_add("gpu")
    with pytest.raises(NotFound, match="named 'gpu'"):
        host.pci.assignable_remove("gpu")
    with pytest.raises(InvalidState, match="is not assignable"):
        host.pci.assignable_remove(spare(host).address)
    with pytest.raises(InvalidArgument):
        host.pci.assignable_add("ff:1f.7", rebind=1)  # type: ignore[arg-type]  # wrong on purpose


@pytest.mark.needs(Feature.ASSIGNABLE)
def test_a_device_is_made_assignable_and_released(host: Host) -> None:
    device = spare(host)
    if differs(host, "host_devices"):
        for arguments in ({"name": "nic"}, {"rebind": False}):
            with pytest.raises(UnsupportedFeature, match="leave out"):
                host.pci.assignable_add(device.address, **arguments)
        return
    if not gives_devices(host):
        with pytest.raises(UnsupportedFeature, match=r"IOMMU|xen-pciback") as caught:
            host.pci.assignable_add(device.address, name="nic")
        assert caught.value.feature == "assignable_add"
        assert host.pci[device.address] == device
        return
    host.pci.assignable_add(str(device.address), name="nic")
    taken = host.pci["nic"]
    assert (taken.address, taken.driver, taken.assignable, taken.name) == (device.address, "pciback", True, "nic")
    assert host.pci.assignable_list() == [taken]
    other = next(one for one in host.pci if one.address != device.address)
    with pytest.raises(InvalidArgument, match="already has the name 'nic'"):
        host.pci.assignable_add(other.address, name="nic")
    host.pci.assignable_add(device.address)
    assert host.pci[device.address].name is None
    host.pci.assignable_remove(device.address)
    assert host.pci[device.address] == device
    host.pci.assignable_add(device.address, rebind=False)
    host.pci.assignable_remove(device.address)
    assert host.pci[device.address].driver is None
    host.pci.assignable_add(device.address, name="nic")
    host.pci.assignable_remove("nic", rebind=False)
    assert host.pci.assignable_list() == []


@pytest.mark.needs(Feature.ASSIGNABLE, Feature.ATTACH)
def test_a_domain_gets_only_what_is_assignable(host: Host, make: Make) -> None:
    """A host without an IOMMU gives none away: tests/xen sees what happens there."""
    device = spare(host)
    if differs(host, "host_devices") or not gives_devices(host):
        return
    domain = make(type="pv")
    with pytest.raises(NotFound, match=r"assignable_add"):
        domain.attach(Pci(device.address))
    host.pci.assignable_add(device.address)
    domain.attach(Pci(device.address))
    held = host.pci[device.address]
    assert (held.domid, held.assignable) == (domain.domid, False)
    for call in (host.pci.assignable_add, host.pci.assignable_remove):
        with pytest.raises(InvalidState, match=f"domain {domain.domid} has the PCI device"):
            call(device.address)
    with pytest.raises(OperationFailed, match="assigned"):
        make("web2", type="pv", pcis=[Pci(device.address)])
    domain.destroy()
    host.pci.assignable_remove(device.address)
    assert host.pci[device.address].domid is None


@pytest.mark.needs(Feature.ASSIGNABLE, Feature.CHECK_CREATE)
def test_a_new_domain_gets_only_what_is_assignable(host: Host, config: Make) -> None:
    """A host without an IOMMU takes no such domain at all."""
    if host.supports("check_create") and not gives_devices(host):
        return
    wanted = config(type="pv", pcis=[Pci("ff:1f.7")])
    for call in (host.check_create, host.create):
        with pytest.raises(NotFound, match=r"0000:ff:1f\.7 is not assignable: host\.pci\.assignable_add does it"):
            call(wanted)


def test_a_host_that_was_closed_has_no_devices(uri: str, host: Host) -> None:
    if host.supports("pci"):
        other = pyxen.connect(uri)
        other.close()
        for call in (other.pci.list, other.usb.list, lambda: other.pci.assignable_remove("nic")):
            with pytest.raises((HostClosed, UnsupportedFeature)):
                call()
