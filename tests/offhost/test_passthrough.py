"""PCI devices that a domain gets, has and gives back: what libxl does not look at, or waits for in its only thread."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import pytest

import pyxen
from pyxen import Domain, GuestTimeout, InvalidArgument, NotFound, OperationCancelled, OperationFailed, Pci
from tests.offhost.conftest import Configure
from tests.offhost.host import OffHost
from tests.offhost.internals import by_address, pretend_pci, pretend_pci_adds, received_devices
from tests.offhost.store import StoreError
from tests.offhost.test_live_devices import put

FIRST: Final = "0000:03:00.0"
SECOND: Final = "0000:03:00.1"


def record(address: str) -> str:
    """Return the node with the domid of the domain that has a device."""
    return f"/libxl/pci/{address.replace(':', '-').replace('.', '-')}/domid"


def give(offhost: OffHost, domid: int, *addresses: str, **state: str) -> str:
    """Give devices to a domain as libxl does, and return the folder of their backend."""
    front, back = f"/local/domain/{domid}/device/pci/0", f"/local/domain/0/backend/pci/{domid}/0"
    put(offhost, f"/libxl/{domid}/device/pci/0", frontend=front, backend=back)
    put(offhost, back, frontend=front, frontend_id=str(domid), online="1", **state)
    offhost.store.write(f"{back}/num_devs", str(len(addresses)))
    for number, address in enumerate(addresses):
        for name, value in {"dev": address, "key": address, "vdevfn": "0", "opts": "permissive=0"}.items():
            offhost.store.write(f"{back}/{name}-{number}", value)
        offhost.store.write(f"{back}/state-{number}", "4")
        offhost.store.write(record(address), str(domid))
    return back


def had(domain: Domain) -> list[str]:
    """Return the addresses of the devices that a domain has."""
    return [str(device.config.address) for device in domain.pcis]


@pytest.fixture
def functions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the host have a device with two functions."""
    for address in (FIRST, SECOND):
        folder = tmp_path / "devices" / address
        folder.mkdir(parents=True)
        for name in ("class", "vendor", "device"):
            (folder / name).write_text("0x1\n")
    pretend_pci(monkeypatch, tmp_path, lambda: 0, lambda: 0)


@pytest.mark.parametrize("seize", [False, True])
def test_no_domain_gets_what_another_one_has(
    offhost: OffHost, host: pyxen.Host, config: Configure, seize: bool
) -> None:
    """An attach that fails in libxl removes the record of who has it, so that the next one would succeed."""
    owner, other = offhost.add("owner", kind="pv"), host.domains[offhost.add("other", kind="pv")]
    offhost.store.write(record(FIRST), str(owner))
    device = Pci(FIRST, seize=seize)
    wanted = config("pv", name="new", pcis=[device])
    calls: list[Callable[[], Any]] = [
        lambda: other.attach(device),
        lambda: host.create(wanted),
        lambda: host.check_create(wanted),
    ]
    for call in calls:
        with pytest.raises(NotFound, match=rf"{FIRST} is not assignable.*to domain {owner}: detach it there first"):
            call()
        assert offhost.store.read(record(FIRST)) == str(owner)


@pytest.mark.usefixtures("functions")
def test_what_a_domain_had_that_is_gone_is_free(offhost: OffHost, host: pyxen.Host, config: Configure) -> None:
    """Libxl leaves the backend of a PV guest that did not let its devices go, and xl does not remove it."""
    other, gone = host.domains[offhost.add("other", kind="pv")], 77
    back = f"/local/domain/0/backend/pci/{gone}/0"
    calls: list[Callable[[], Any]] = [
        lambda: other.attach(Pci(FIRST)),
        lambda: host.create(config("pv", name="new", pcis=[Pci(FIRST)])),
    ]
    for call in calls:
        for name, value in {"num_devs": "1", "dev-0": FIRST, "vdevfn-0": "0"}.items():
            offhost.store.write(f"{back}/{name}", value)
        offhost.store.write(record(FIRST), str(gone))
        assert {device.domid for device in host.pci.list()} == {None}
        with pytest.raises((NotFound, InvalidArgument), match=r"xl pci-assignable-add|passthrough not supported"):
            call()  # libxl was asked
        with pytest.raises(StoreError, match="ENOENT"):
            offhost.store.read(record(FIRST))


@pytest.mark.usefixtures("functions")
def test_a_domain_has_its_devices_by_their_addresses(offhost: OffHost, host: pyxen.Host, config: Configure) -> None:
    """Libxl's own notes lose a device that has only a name."""
    offhost.store.write(record(FIRST).replace("domid", "name"), "nic")
    named = by_address(host, config("pv", pcis=[Pci(name="nic", seize=True)]))
    assert named.pcis == (Pci(FIRST, seize=True),)
    for restored in received_devices(host, config("pv", pcis=[Pci(name="nic", seize=True)])):
        assert restored.pcis == (Pci(FIRST, seize=True),)


@pytest.mark.usefixtures("functions")
def test_no_domain_gets_a_device_twice(offhost: OffHost, host: pyxen.Host, config: Configure) -> None:
    offhost.store.write(record(FIRST).replace("domid", "name"), "nic")
    wanted = config("pv", name="new", pcis=[Pci(FIRST), Pci(name="nic")])
    for call in (host.create, host.check_create):
        with pytest.raises(InvalidArgument, match=f"pcis has {FIRST} twice"):
            call(wanted)


def test_no_restored_domain_gets_what_another_one_has(
    offhost: OffHost, host: pyxen.Host, config: Configure, tmp_path: Path
) -> None:
    domain, path = host.create(config("pvh")), tmp_path / "saved"
    offhost.guest(domain.domid).obey()
    domain.save(path, timeout=30)
    owner = offhost.add("owner", kind="pv")
    offhost.store.write(record(FIRST), str(owner))
    with pytest.raises(NotFound, match=f"to domain {owner}: detach it there first"):
        host.restore(path, config("pv", pcis=[Pci(FIRST)]), timeout=30)
    assert offhost.store.read(record(FIRST)) == str(owner)


def test_no_domain_gets_what_another_one_is_getting(offhost: OffHost, host: pyxen.Host, config: Configure) -> None:
    first, second = (host.domains[offhost.add(name, kind="pv")] for name in ("first", "second"))
    give(offhost, first.domid, FIRST, state="3")  # its guest has not answered: the attach waits for that
    attaching = first.begin.attach(Pci("04:00.0"))
    for call in (lambda: second.attach(Pci("04:00.0")), lambda: host.create(config("pv", pcis=[Pci("04:00.0")]))):
        with pytest.raises(NotFound, match="assigned to a domain that is getting it now"):
            call()
    attaching.cancel()
    with pytest.raises(OperationCancelled):
        attaching.result()
    with pytest.raises(NotFound, match="xl pci-assignable-add"):  # libxl was asked: nobody has it any more
        second.attach(Pci("04:00.0"))


@pytest.mark.parametrize("verb", ["attach", "detach"])
def test_a_guest_that_does_not_answer_holds_up_nobody(offhost: OffHost, host: pyxen.Host, verb: str) -> None:
    guest, other = (host.domains[offhost.add(name, kind="pv")] for name in ("guest", "other"))
    give(offhost, guest.domid, FIRST, state="7")
    act = guest.begin.attach if verb == "attach" else guest.begin.detach
    waiting: pyxen.Operation[Any] = act(Pci(FIRST if verb == "detach" else "04:00.0"))
    other.pause()
    assert not waiting.done()
    waiting.cancel()
    with pytest.raises(OperationCancelled):
        waiting.result()
    assert had(guest) == [FIRST]


@pytest.mark.parametrize("verb", ["attach", "detach"])
def test_a_guest_that_never_answers(
    offhost: OffHost, host: pyxen.Host, monkeypatch: pytest.MonkeyPatch, verb: str
) -> None:
    monkeypatch.setattr("pyxen.backends.xenlight.operations.passthrough._PATIENCE", 0.1)
    guest = host.domains[offhost.add("guest", kind="pv")]
    give(offhost, guest.domid, FIRST, state="7")
    with pytest.raises(GuestTimeout, match="the guest does not"):
        guest.attach(Pci("04:00.0")) if verb == "attach" else guest.detach(FIRST, force=True)
    assert had(guest) == [FIRST]
    assert offhost.store.read(record(FIRST)) == str(guest.domid)


@pytest.mark.parametrize("force", [False, True])
def test_what_a_guest_does_not_release_is_not_detached(offhost: OffHost, host: pyxen.Host, force: bool) -> None:
    """What libxl says is that it is, and that nobody has it. Here, its wait for the guest fails at once."""
    guest = host.domains[offhost.add("guest", kind="pv")]
    give(offhost, guest.domid, FIRST)  # without a state
    with pytest.raises(GuestTimeout, match=f"does not release the PCI device {FIRST}, and still has it"):
        guest.detach(FIRST, force=force)
    assert had(guest) == [FIRST]
    assert offhost.store.read(record(FIRST)) == str(guest.domid)


def test_all_functions_are_detached(offhost: OffHost, host: pyxen.Host) -> None:
    guest = host.domains[offhost.add("guest")]
    offhost.store.write(f"/libxl/{guest.domid}/type", "pvh")  # where libxl does not wait for the guest
    give(offhost, guest.domid, "0000:02:00.0", FIRST, SECOND, state="4")
    guest.detach("03:00.*")
    assert had(guest) == ["0000:02:00.0"]
    assert not any(map(offhost.store.exists, map(record, (FIRST, SECOND))))


@pytest.mark.usefixtures("functions")
def test_functions_are_attached_one_by_one(
    offhost: OffHost, host: pyxen.Host, config: Configure, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of several, libxl would attach the last one, and report success."""
    asked = pretend_pci_adds(monkeypatch, -3)
    guest = host.domains[offhost.add("guest", kind="pv")]
    both = Pci("03:00.*", vslot=5)
    new = config("pv", name="new", pcis=[both])
    for call in (lambda: guest.attach(both), lambda: host.create(new), lambda: host.check_create(new)):
        with pytest.raises(InvalidArgument, match=rf"name each of them \({FIRST}, {SECOND}\)"):
            call()
    with pytest.raises(NotFound, match="xl pci-assignable-add"):
        guest.attach(Pci("05:00.*"))
    assert asked == []


@pytest.mark.usefixtures("functions")
def test_devices_by_name(offhost: OffHost, host: pyxen.Host, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = pretend_pci_adds(monkeypatch, -3)
    guest, name = host.domains[offhost.add("guest")], record(SECOND).replace("domid", "name")
    offhost.store.write(name, "nic")
    offhost.store.write(f"/libxl/{guest.domid}/type", "pvh")  # where libxl does not wait for the guest
    give(offhost, guest.domid, FIRST, SECOND, state="4")
    guest.detach(Pci(name="nic"))
    assert had(guest) == [FIRST]
    other = host.domains[offhost.add("other", kind="pv")]
    offhost.store.write(name, "nic")
    with pytest.raises(NotFound, match=f"{SECOND} is not assignable"):
        other.attach(Pci(name="nic"))
    assert asked == [(other.domid, SECOND, None)]
    for call in (other.attach, other.detach):
        with pytest.raises(NotFound, match="the host has no PCI device named 'card'"):
            call(Pci(name="card"))


def test_a_failed_attach_says_what_may_be_left(
    offhost: OffHost, host: pyxen.Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    pretend_pci_adds(monkeypatch, -3)
    guest = host.domains[offhost.add("guest", kind="pv")]
    with pytest.raises(OperationFailed, match=f"may still let the domain use {FIRST}: destroy it before another"):
        guest.attach(Pci(FIRST, seize=True))
