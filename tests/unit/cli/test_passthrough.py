"""The commands for PCI and USB passthrough."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from pyxen import DomainConfig, UsbCtrl
from pyxen.testing import FakeHost
from tests.unit.cli.conftest import Run

Told = Callable[..., Any]
Done = Callable[..., str]

CARD = "0000:03:00.1"


@pytest.fixture
def hvm(host: FakeHost) -> str:
    """A guest with a USB controller."""
    host.create(DomainConfig("hvm1", type="hvm", memory=64, usbctrls=[UsbCtrl()]))
    host.advance(60)
    return "hvm1"


def cells(text: str) -> list[list[str]]:
    return [line.split() for line in text.splitlines()[1:]]


def test_a_pci_device_to_a_domain_and_back(host: FakeHost, done: Done, told: Told, run: Run, hvm: str) -> None:
    assert "igb" in done("pci-assignable-list", "--all")
    assert done("pci-assignable-list") == "Device\n"
    refused = run("pci-attach", hvm, CARD)
    assert refused.exit_code == 3
    assert "pci-assignable-add" in refused.stderr
    assert told("pci-assignable-add", CARD, "--name", "card")["assignable"] is True
    assert cells(done("pci-assignable-list", "-n")) == [[CARD, "card"]]
    attached = told("pci-attach", hvm, CARD, "permissive=1")
    assert attached.keys() == {"domid", "name", "uuid", "device"}
    assert done("pci-assignable-list") == "Device\n"
    assert [each["config"]["address"] for each in told("pci-list", hvm)] == [CARD]
    assert CARD in cells(done("pci-list", hvm))[0]
    done("pci-detach", hvm, "03:00.1")
    assert told("pci-list", hvm) == []
    assert told("pci-assignable-remove", "card", "-r")["driver"] == "igb"
    assert host.pci[CARD].driver == "igb"


@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        (["pci-detach", "hvm1", "03:00"], 2, "is not a PCI address"),
        (["pci-detach", "hvm1", "03:00.0"], 3, "has no PCI device"),
        (["pci-attach", "hvm1", "03:00"], 2, "03:00"),
        (["pci-attach", "hvm1", "ff:1f.7"], 3, "ff:1f.7"),
        (["pci-assignable-add", "nothing:"], 1, "nothing:"),
        (["pci-assignable-remove", "nothing"], 3, "nothing"),
        (["usbdev-detach", "hvm1", "0", "3"], 3, "controller=0 port=3"),
        (["usbdev-detach", "hvm1", "0", "0"], 2, "PORT"),
        (["usbctrl-detach", "hvm1", "x"], 2, "is not the number of a device"),
    ],
)
@pytest.mark.usefixtures("hvm")
def test_what_is_wrong(run: Run, arguments: list[str], status: int, said: str) -> None:
    result = run(*arguments)
    assert (result.exit_code, result.stdout) == (status, ""), result.stderr
    assert said in result.stderr


def test_usb_devices_and_controllers(host: FakeHost, done: Done, told: Told, hvm: str) -> None:
    assert ["001", "003", "1-2", "0781:5591", "Ultra", "-"] in cells(done("usb-list"))
    assert [each["port"] for each in told("usb-list")] == ["usb1", "1-1", "1-2"]
    told("usbdev-attach", hvm, "hostbus=1", "hostaddr=3")
    controller, stick = cells(done("usb-list", hvm))
    assert controller[0] == "0"
    assert stick[:6] == ["0", "1", "Bus", "001", "Device", "003"]
    listed = told("usb-list", hvm)
    assert ([each["devid"] for each in listed["controllers"]], len(listed["devices"])) == ([0], 1)
    assert host.usb["1-2"].domid == host.domains[hvm].domid
    done("usbdev-detach", hvm, "0", "1")
    assert told("usb-list", hvm)["devices"] == []
    told("usbctrl-attach", hvm, "version=3")
    assert len(told("usb-list", hvm)["controllers"]) == 2
    done("usbctrl-detach", hvm, "1")
    assert len(told("usb-list", hvm)["controllers"]) == 1


@pytest.mark.parametrize(
    ("line", "word"),
    [
        ("pyxen pci-assignable-add 0000:0", CARD),
        ("pyxen usbctrl-detach hvm1 ", "0"),
        ("pyxen block-detach web1 x", "xvda"),
        ("pyxen network-detach web1 00", "00:16:3e:01:02:03"),
        ("pyxen cd-eject 1 x", "xvda"),
    ],
)
@pytest.mark.usefixtures("hvm")
def test_devices_are_completed(run: Run, line: str, word: str) -> None:
    environment = {"_PYXEN_COMPLETE": "complete_zsh", "_TYPER_COMPLETE_ARGS": line}
    assert word in run(prog_name="pyxen", env=environment).stdout.replace("\\\\:", ":").replace('"', " ").split()


def test_no_devices_of_no_domain_are_completed(run: Run) -> None:
    environment = {"_PYXEN_COMPLETE": "complete_zsh", "_TYPER_COMPLETE_ARGS": "pyxen block-detach nothing x"}
    assert "xvda" not in run(prog_name="pyxen", env=environment).stdout
