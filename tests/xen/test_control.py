"""What is asked of a domain that lives on: its configuration, another name, a key press, a state to wait for."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest

from pyxen import DomainState, Host, ShutdownReason
from pyxen.errors import (
    InvalidArgument,
    NoGuestDriver,
    OperationFailed,
    OperationTimeout,
)
from tests.xen.support import MakeConfig, MakeDomain, xl, xl_domids


def test_what_xl_made_and_attached_is_in_the_configuration(host: Host, tiny: MakeConfig, tmp_path: Path) -> None:
    kernel = tiny("pvh").kernel
    (tmp_path / "cfg").write_text(
        f"name = 'theirs'\ntype = 'pvh'\nkernel = '{kernel}'\nmemory = 8\nshadow_memory = 1\n"
    )
    xl("create", str(tmp_path / "cfg"))
    domain = host.domains["theirs"]
    assert domain.config().vifs == ()
    xl("network-attach", "theirs", "bridge=xenbr0", "mac=00:16:3e:00:00:07")
    (vif,) = domain.config().vifs
    assert (vif.mac, vif.bridge) == ("00:16:3e:00:00:07", "xenbr0")
    domain.destroy()


@pytest.mark.long
def test_the_configuration_makes_another_domain(host: Host, tiny: MakeConfig) -> None:
    for kind in ("pv", "hvm"):
        first = host.create(tiny(kind, name="first"))
        config = first.config().replace(name="second", uuid=None)
        first.destroy()
        host.create(config).destroy()


@pytest.mark.parametrize("kind", ["pv", "pvh", "hvm"])
def test_the_configuration_is_what_was_asked_for(host: Host, tiny: MakeConfig, kind: str) -> None:
    asked = tiny(kind)
    domain = host.create(asked)
    assert domain.config().canonical() == asked.replace(uuid=domain.uuid).canonical()
    everything = domain.config(defaults=True)
    assert (everything.claim_mode, everything.max_event_channels) == (False, 1023)
    domain.destroy()


def test_dom0_has_a_configuration_too(host: Host) -> None:
    assert host.domains[0].config().name == "Domain-0"


def test_xl_sees_another_name(host: Host, tiny: MakeConfig) -> None:
    domain = host.create(tiny("pvh", name="one"))
    domain.rename("two")
    assert xl_domids()["two"] == domain.domid
    domain.destroy()


def test_wait_for_what_xen_does_not_tell(host: Host, tiny: MakeConfig) -> None:
    domain = host.create(tiny("pvh"), paused=True)
    threading.Timer(0.5, domain.unpause).start()
    begun = time.monotonic()
    info = domain.wait("running", "blocked", timeout=60)
    assert info is not None
    assert time.monotonic() - begun > 0.4
    threading.Timer(0.5, domain.pause).start()
    info = domain.wait(DomainState.PAUSED, timeout=60)
    assert info is not None
    domain.destroy()


def test_the_buttons_of_a_guest_without_a_driver(host: Host, tiny: MakeConfig) -> None:
    domain = host.create(tiny("hvm"))
    domain.send_trigger("power")
    with pytest.raises(NoGuestDriver):
        domain.shutdown(timeout=5)
    with pytest.raises(OperationTimeout):  # it has no ACPI driver either, but libxl presses the button
        domain.shutdown(fallback=True, timeout=1)
    domain.shutdown(wait=False, fallback=True)
    with pytest.raises(NoGuestDriver):
        domain.reboot(timeout=5)
    with pytest.raises(OperationFailed) as reset:
        domain.send_trigger("reset")
    with pytest.raises(OperationFailed) as rebooted:
        domain.reboot(fallback=True, timeout=5)
    assert type(reset.value) is type(rebooted.value)
    with pytest.raises(ValueError, match="kick"):
        domain.send_trigger("kick")  # type: ignore[arg-type]  # wrong on purpose
    domain.send_trigger("nmi")  # of which it may die
    domain.destroy()


def test_sysrq(running_linux: MakeDomain) -> None:
    domain = running_linux(on_reboot="preserve")
    for bad in ("", "ab", "ä", "\n"):
        with pytest.raises(InvalidArgument):
            domain.send_sysrq(bad)
    domain.send_sysrq("b")
    info = domain.wait(timeout=120)
    assert info is not None
    assert info.shutdown_reason is ShutdownReason.REBOOT
    domain.destroy()


def test_notes_go_with_their_domain(host: Host, tiny: MakeConfig) -> None:
    domain = host.create(tiny())
    domain.set_userdata("tool.owner", b"anna")
    assert list(Path("/var/lib/xen").glob(f"userdata*{domain.uuid}*"))
    domain.destroy()
    assert not list(Path("/var/lib/xen").glob(f"userdata*{domain.uuid}*"))
