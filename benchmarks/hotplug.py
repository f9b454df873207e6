"""In dom0: attach and detach a disk and a vif of a running Linux guest, with pyxen and with ``xl``.

Prints a line of JSON: for each kind of device and each contender the seconds of both, round by round.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable

import pyxen
from benchmarks.create_destroy import run
from benchmarks.measure import clocked, take_turns
from benchmarks.pool import LINUX, boot
from pyxen import Disk, Domain, Vif
from pyxen.records.stats import DeviceState

ROUNDS = 5
IN_A_ROW = 2
PATIENCE = 60.0
"""Seconds in which the guest's driver must have connected."""

DISK = Disk("/dev/vdc", vdev="xvdb", readonly=True)
VIF = Vif(bridge="xenbr0", mac="00:16:3e:00:00:01")


def main() -> int:
    """Run the benchmark."""
    with pyxen.connect() as host:
        guest = boot(host, LINUX)
        name = str(guest.domid)
        disk: dict[str, Callable[[], tuple[float, ...]]] = {
            "pyxen": lambda: both(guest, lambda: guest.attach(DISK), lambda: guest.detach("xvdb")),
            "xl": lambda: both(
                guest,
                lambda: run("xl", "block-attach", name, "phy:/dev/vdc,xvdb,r"),
                lambda: run("xl", "block-detach", name, "xvdb"),
            ),
        }
        vif: dict[str, Callable[[], tuple[float, ...]]] = {
            "pyxen": lambda: both(guest, lambda: guest.attach(VIF), lambda: guest.detach(VIF.mac or "")),
            "xl": lambda: both(
                guest,
                lambda: run("xl", "network-attach", name, "bridge=xenbr0", f"mac={VIF.mac}"),
                lambda: run("xl", "network-detach", name, VIF.mac or ""),
            ),
        }
        times = {
            "disk": take_turns(disk, ROUNDS, in_a_row=IN_A_ROW),
            "vif": take_turns(vif, ROUNDS, in_a_row=IN_A_ROW),
        }
        guest.destroy()
    print(json.dumps(times))
    return 0


def both(guest: Domain, attach: Callable[[], object], detach: Callable[[], object]) -> tuple[float, ...]:
    """Attach a device and detach it, once the guest uses it; return how long each took."""
    attached = clocked(attach)
    end = time.monotonic() + PATIENCE
    while not connected(guest):
        assert time.monotonic() < end, "the guest does not use the device"
        time.sleep(0.05)
    detached = clocked(detach)
    assert not len(guest.disks) + len(guest.vifs), "the device is still there"
    return attached + detached


def connected(guest: Domain) -> bool:
    """Tell whether the guest's driver is connected to the one device that it has."""
    states = [(each.frontend_state, each.backend_state) for kind in (guest.disks, guest.vifs) for each in kind]
    return states == [(DeviceState.CONNECTED, DeviceState.CONNECTED)]


if __name__ == "__main__":
    sys.exit(main())
