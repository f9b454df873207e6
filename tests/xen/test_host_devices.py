"""PCI and USB devices of a real host, as xl and dom0's kernel see them."""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from pyxen import Host, OperationFailed, UnsupportedFeature, UsbCtrl, UsbDev
from pyxen.backends.xenlight.operations import pci
from tests.xen.support import MakeConfig, wait_until, xenstore_entries, xl

DEVICES = Path("/sys/bus/pci/devices")
PCIBACK = Path("/sys/bus/pci/drivers/pciback")
CONTROLLER = "0000:00:06.0"
"""The USB controller, which dom0 does not need."""
BACKEND = "/local/domain/0/backend/pci"


@pytest.fixture(scope="module", autouse=True)
def modules() -> None:
    """Load the drivers of these devices, pciback last, as the kernel asks them in this order; await the USB device."""
    subprocess.run(["modprobe", "-a", "xhci_pci", "xen-pciback"], check=True, timeout=60)
    wait_until(lambda: Path("/sys/bus/usb/devices/1-1/idVendor").exists())


def xl_assignable() -> list[str]:
    return [line.split()[0] for line in xl("pci-assignable-list").splitlines()]


def assignable(host: Host) -> list[str]:
    return [str(device.address) for device in host.pci.assignable_list()]


def hexadecimal(path: Path) -> int:
    return int(path.read_text(), 16)


def kernel_driver(address: str) -> str | None:
    link = DEVICES / address / "driver"
    return link.readlink().name if link.is_symlink() else None


@contextlib.contextmanager
def bound_by_xl(address: str) -> Iterator[None]:
    """Have a device with pciback: without an IOMMU xl fails only after it has done that, and cannot undo it."""
    driver = kernel_driver(address)
    done = subprocess.run(
        ["xl", "pci-assignable-add", address], check=False, capture_output=True, text=True, timeout=60
    )
    assert done.returncode != 0
    assert "failed to quarantine" in done.stderr
    try:
        yield
    finally:
        (PCIBACK / "unbind").write_text(address)
        (PCIBACK / "remove_slot").write_text(address)
        if driver is not None:
            (DEVICES.parent / "drivers" / driver / "bind").write_text(address)
        subprocess.run(["xenstore-rm", "/libxl/pci"], check=False, capture_output=True, timeout=60)


def test_the_devices_that_the_kernel_has(host: Host) -> None:
    devices = host.pci.list()
    assert [str(device.address) for device in devices] == sorted(os.listdir(DEVICES))
    for device in devices:
        folder = DEVICES / str(device.address)
        assert device.vendor_id == hexadecimal(folder / "vendor")
        assert device.device_id == hexadecimal(folder / "device")
        assert device.class_code == hexadecimal(folder / "class")
        assert device.driver == kernel_driver(str(device.address))
    assert host.pci[CONTROLLER].driver == "xhci_hcd"
    assert assignable(host) == xl_assignable() == []


def test_without_an_iommu_no_device_is_taken(host: Host) -> None:
    """Here xl takes the device from its driver, and fails then."""
    before = host.pci[CONTROLLER]
    with pytest.raises(UnsupportedFeature, match="IOMMU") as caught:
        host.pci.assignable_add(CONTROLLER)
    assert caught.value.feature == "assignable_add"
    assert host.pci[CONTROLLER] == before
    assert xl_assignable() == []
    with bound_by_xl(CONTROLLER):
        assert assignable(host) == xl_assignable() == [CONTROLLER]
        with pytest.raises(OperationFailed, match="ERROR_FAIL") as failed:
            host.pci.assignable_remove(CONTROLLER)
        assert any("failed to de-quarantine" in line for line in failed.value.log)
        assert assignable(host) == xl_assignable() == [CONTROLLER]
    assert host.pci[CONTROLLER] == before


def test_an_add_that_fails_gives_the_device_back(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    entries = xenstore_entries()
    before = host.pci[CONTROLLER]
    monkeypatch.setattr(pci, "_check_host", lambda _: None)
    with pytest.raises(OperationFailed) as failed:
        host.pci.assignable_add(CONTROLLER, name="usb")
    assert any("failed to quarantine" in line for line in failed.value.log)
    assert host.pci[CONTROLLER] == before
    assert kernel_driver(CONTROLLER) == "xhci_hcd"
    assert CONTROLLER not in (PCIBACK / "slots").read_text()
    assert xl_assignable() == []
    assert xenstore_entries() == entries


def test_who_has_a_device_and_where(host: Host, tiny: MakeConfig) -> None:
    """Without an IOMMU no guest gets one, so xenstore is written as libxl does it, and xl reads it too."""
    domain = host.create(tiny("pv"))
    with bound_by_xl("0000:00:1f.3"), bound_by_xl("0000:00:1f.2"):
        folder = f"{BACKEND}/{domain.domid}/0"
        host.xenstore.write("/libxl/pci/0000-00-1f-3/domid", str(domain.domid))
        host.xenstore.write("/libxl/pci/0000-00-1f-2/name", "disks")
        for name, value in (("num_devs", "1"), ("dev-0", "0000:00:1f.3"), ("vdevfn-0", "29")):
            host.xenstore.write(f"{folder}/{name}", value)
        held = host.pci["00:1f.3"]
        assert (held.domid, held.vslot, held.vfunction, held.assignable) == (domain.domid, 5, 1, False)
        assert xl("pci-list", str(domain.domid)).splitlines()[1:] == ["05.1 0000:00:1f.3"]
        assert xl("pci-assignable-list", "-n").split() == ["0000:00:1f.2", "disks"]
        assert [(str(one.address), one.name) for one in host.pci.assignable_list()] == [("0000:00:1f.2", "disks")]
        assert str(host.pci["disks"].address) == "0000:00:1f.2"
        host.xenstore.remove(BACKEND)
    domain.destroy()


def test_the_usb_devices(host: Host, tiny: MakeConfig) -> None:
    tablet = host.usb["1-1"]
    assert (tablet.vendor_id, tablet.product_id, tablet.class_code) == (0x0627, 0x0001, 0)
    assert (tablet.manufacturer, tablet.product) == ("QEMU", "QEMU USB Tablet")
    assert tablet.serial
    assert not tablet.is_hub
    assert host.usb[tablet.hostbus, tablet.hostaddr] == tablet
    assert {device.port for device in host.usb if device.is_hub} == {"usb1", "usb2"}
    domain = host.create(tiny("hvm", usbctrls=[UsbCtrl(type="devicemodel", version=3, ports=4)]), paused=True)
    domain.attach(UsbDev(hostbus=tablet.hostbus, hostaddr=tablet.hostaddr), timeout=60)
    held = host.usb["1-1"]
    assert (held.domid, held.controller, held.controller_port) == (domain.domid, 0, 1)
    shown = re.findall(r"Port (\d+): Bus ([0-9a-f]+) Device ([0-9a-f]+)", xl("usb-list", str(domain.domid)))
    assert [(int(port), int(bus, 16), int(address, 16)) for port, bus, address in shown] == [
        (1, held.hostbus, held.hostaddr)
    ]
    domain.destroy()
    wait_until(lambda: host.usb["1-1"].domid is None)
