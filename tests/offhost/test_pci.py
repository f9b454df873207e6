"""PCI devices that libxl does not make assignable, or not what they were, though it may say so."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Final

import pytest

import pyxen
from pyxen.errors import OperationFailed, XenstoreError
from tests.offhost.host import OffHost
from tests.offhost.internals import pretend_pci
from tests.offhost.store import StoreError

ADDRESS: Final = "0000:00:05.0"
NODE: Final = "/libxl/pci/0000-00-05-0"


class Machine:
    """A machine with one PCI device, which has a driver."""

    def __init__(self, offhost: OffHost, folder: Path) -> None:
        self.store = offhost.store
        self._driver = folder / "devices" / ADDRESS / "driver"
        self._drivers = folder / "drivers"
        self._driver.parent.mkdir(parents=True)
        for name in ("class", "vendor", "device"):
            (self._driver.parent / name).write_text("0x1\n")
        for name in ("e1000e", "pciback"):
            (self._drivers / name).mkdir(parents=True)
            for file in ("bind", "unbind", "remove_slot"):
                (self._drivers / name / file).write_text("")
        self.drive("e1000e")

    def drive(self, driver: str | None) -> None:
        """Give the device a driver, or none."""
        self._driver.unlink(missing_ok=True)
        if driver is not None:
            self._driver.symlink_to(self._drivers / driver)

    def recorded(self) -> dict[str, str]:
        """Return what xenstore has of the device."""
        try:
            return {name: self.store.read(f"{NODE}/{name}") for name in self.store.directory(NODE)}
        except StoreError:
            return {}


@pytest.fixture
def machine(offhost: OffHost, tmp_path: Path) -> Machine:
    return Machine(offhost, tmp_path)


def test_an_add_that_fails_leaves_what_xenstore_had(
    machine: Machine, host: pyxen.Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def add() -> int:
        machine.store.write(f"{NODE}/driver_path", "/sys/bus/pci/drivers/e1000e")
        machine.store.write(f"{NODE}/name", "nic")
        return -3

    pretend_pci(monkeypatch, tmp_path, add, lambda: 0)
    with pytest.raises(OperationFailed, match="assignable_add"):
        host.pci.assignable_add(ADDRESS, name="nic")
    assert machine.recorded() == {}
    before = {"driver_path": "/sys/bus/pci/drivers/other", "name": "old"}
    for name, value in before.items():
        machine.store.write(f"{NODE}/{name}", value)
    with pytest.raises(OperationFailed, match="assignable_add"):
        host.pci.assignable_add(ADDRESS, name="nic")
    assert machine.recorded() == before
    machine.store.remove("/libxl/pci")


@pytest.mark.parametrize("taken", ["name", "driver_path"])
def test_an_add_of_which_xenstored_takes_a_part(
    machine: Machine, host: pyxen.Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, taken: str
) -> None:
    def add() -> int:
        machine.drive("pciback")
        machine.store.write(f"{NODE}/{taken}", "nic")
        return 0

    def remove() -> int:
        machine.drive("e1000e")
        return 0

    pretend_pci(monkeypatch, tmp_path, add, remove)
    with pytest.raises(XenstoreError, match="driver_path" if taken == "name" else "/name"):
        host.pci.assignable_add(ADDRESS, name="nic")
    assert machine.recorded() == {}
    assert host.pci[ADDRESS].driver == "e1000e"


@pytest.mark.parametrize(
    ("driver", "code", "problem"),
    [
        ("pciback", 0, "dom0's kernel leaves the device to pciback"),
        (None, -1, "the device has no driver now"),
        ("pciback", -3, "the device has the driver pciback now"),
        ("e1000e", 0, None),
    ],
)
def test_a_remove_says_what_is_so(
    machine: Machine,
    host: pyxen.Host,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    driver: str | None,
    code: int,
    problem: str | None,
) -> None:
    def remove() -> int:
        machine.drive(driver)
        return code

    machine.drive("pciback")
    pretend_pci(monkeypatch, tmp_path, lambda: 0, remove)
    with pytest.raises(OperationFailed, match=problem) if problem else contextlib.nullcontext():
        host.pci.assignable_remove(ADDRESS)
