"""Which PCI devices of a configuration no guest can have."""

from __future__ import annotations

import pytest

from pyxen import Pci, PciAddress
from pyxen._common.pci_preconditions import first_unassigned
from pyxen.records.host_devices import PciDevice


def device(address: str, *, assignable: bool = False, name: str | None = None, domid: int | None = None) -> PciDevice:
    """Return a device of the host."""
    return PciDevice(
        address=PciAddress(address),
        class_code=0x020000,
        vendor_id=0x8086,
        device_id=0x10D3,
        driver="pciback" if assignable else "e1000e",
        iommu_group=None,
        assignable=assignable,
        name=name,
        domid=domid,
    )


HOST = [
    device("03:00.0", assignable=True, name="nic"),
    device("03:00.1"),
    device("04:00.0", assignable=True),
    device("04:00.1", assignable=True),
    device("05:00.0", domid=7),
]


@pytest.mark.parametrize("pci", [Pci("03:00.1"), Pci("03:00.*"), Pci("06:00.0"), Pci("06:00.*"), Pci(name="disk")])
def test_what_no_guest_can_have(pci: Pci) -> None:
    assert first_unassigned(HOST, [Pci("03:00.0"), pci, Pci("07:00.0")]) is pci


@pytest.mark.parametrize(
    "pci",
    [Pci("03:00.0"), Pci(name="nic"), Pci("04:00.*"), Pci("05:00.0"), Pci("03:00.1", seize=True)],
    ids=str,
)
def test_what_a_guest_can_have_or_libxl_refuses_in_its_own_words(pci: Pci) -> None:
    assert first_unassigned(HOST, [pci]) is None
