"""The guests that the lab carries: each kind runs and ends as it is told, on every release."""

from __future__ import annotations

import time

import pytest

from lab import Lab, MachineHangs
from tests.lab.guests import GUESTS, LINUX, TINY, await_line, create

# The last letter of xl list's state, once a domain has shut down.
REASONS = {"poweroff": "-", "reboot": "r", "suspend": "s", "crash": "c", "watchdog": "w"}


def domid(dom0: Lab, name: str) -> int:
    return int(dom0.run(["xl", "domid", name], check=True).stdout)


def state(dom0: Lab, name: str) -> str:
    """The six letters of `xl list`: running, blocked, paused, shut down, the reason of that, dying."""
    return dom0.run(["xl", "list", name], check=True).stdout.splitlines()[1].split()[4]


@pytest.mark.parametrize("kind", list(TINY))
def test_a_tiny_guest_idles_and_ignores_a_shutdown(any_dom0: Lab, kind: str) -> None:
    create(any_dom0, "idle", TINY[kind])
    try:
        # What `xl shutdown` does; xl itself would then wait a minute for the answer.
        request = f"/local/domain/{domid(any_dom0, 'idle')}/control/shutdown"
        any_dom0.run(["xenstore-write", request, "poweroff"], check=True)
        time.sleep(1)
        assert any_dom0.run(["xenstore-read", request], check=True).stdout == "poweroff\n"
        assert state(any_dom0, "idle") == "-b----"
    finally:
        any_dom0.run(["xl", "destroy", "idle"], check=True)


@pytest.mark.parametrize("reason", list(REASONS))
@pytest.mark.parametrize("kind", list(TINY))
def test_a_tiny_guest_ends_as_its_command_line_says(any_dom0: Lab, kind: str, reason: str) -> None:
    create(any_dom0, reason, [*TINY[kind], f'extra="{reason}"'])
    try:
        deadline = time.monotonic() + 60
        while state(any_dom0, reason)[3] != "s":
            assert time.monotonic() < deadline, "it did not shut down"
        assert state(any_dom0, reason)[4] == REASONS[reason]
    finally:
        any_dom0.run(["xl", "destroy", reason], check=True)


@pytest.mark.parametrize("verb", ["shutdown", "reboot"])
def test_a_willing_guest_does_as_it_is_told(any_dom0: Lab, verb: str) -> None:
    create(any_dom0, verb, [*TINY["pv"], 'extra="willing"'])
    try:
        await_line(any_dom0, f"/var/log/xen/guest-{verb}.log", "pyxen-guest ready", 60)
        saved = f"/srv/{verb}"
        any_dom0.run(["xl", "save", "-c", verb, saved], check=True, timeout=120)  # it goes on as it was
        any_dom0.run(["xl", "save", verb, saved], check=True, timeout=120)
        any_dom0.run(["xl", "restore", saved], check=True, timeout=120)
        any_dom0.run(["xl", verb, "-w", verb], check=True, timeout=120)
        assert state(any_dom0, verb) == {"shutdown": "---s--", "reboot": "---sr-"}[verb]
    finally:
        any_dom0.run(["xl", "destroy", verb], check=True)


def boot_hvm_guest(dom0: Lab) -> None:
    disk = f'disk=["{GUESTS}/tiny-hvm.img,raw,xvda,w"]'
    create(dom0, "hvm", ['type="hvm"', "memory=32", "vnc=0", 'serial="file:/tmp/serial.log"', disk])
    try:
        await_line(dom0, "/tmp/serial.log", "pyxen-guest ready", 120)
    finally:
        dom0.run(["xl", "destroy", "hvm"], check=True)


def test_an_hvm_guest_boots_from_its_disk() -> None:
    with Lab(xen="4.17") as dom0:  # on 4.20 tests/xen have HVM guests
        try:
            boot_hvm_guest(dom0)
        except MachineHangs:  # now and then QEMU loses an emulated CPU over an HVM guest: lab/README.md has more
            dom0.close()
            dom0.start()
            boot_hvm_guest(dom0)


@pytest.mark.long
def test_linux_uses_its_devices_and_obeys(any_dom0: Lab) -> None:
    kind = {"4.17": "pvh", "4.20": "pv"}[any_dom0.release.xen]
    any_dom0.run(["truncate", "-s", "16M", "/srv/disk.img"], check=True)
    devices = [
        'disk=["/srv/disk.img,raw,xvda,w"]',
        'vif=["bridge=xenbr0"]',
        'extra="console=hvc0 quiet pyxen.ip=192.168.77.2/24"',
    ]
    create(any_dom0, f"linux-{kind}", [f'type="{kind}"', *LINUX, *devices])
    try:
        await_line(any_dom0, f"/var/log/xen/guest-linux-{kind}.log", "pyxen-guest ready", 90)
        any_dom0.run(["ping", "-c", "1", "-w", "20", "192.168.77.2"], check=True)
        assert "\n51712 " in any_dom0.run(["xl", "block-list", f"linux-{kind}"], check=True).stdout
        any_dom0.run(["xl", "shutdown", "-w", f"linux-{kind}"], check=True, timeout=120)
    finally:
        any_dom0.run(["xl", "destroy", f"linux-{kind}"])
