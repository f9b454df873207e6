"""Upgrade hosts one after the other: move the guests of each away, reboot it, and move them back.

Install the new Xen on the hosts first; this reboots them into it. It stops at the first thing that fails: all guests
run then, and are listed with the host where they are. An interrupted run can be begun again.

python3 examples/rolling_upgrade.py hosts.toml [HOST ...]
"""

from __future__ import annotations

import contextlib
import subprocess
import sys
import time
from collections.abc import Callable
from urllib.parse import urlsplit
from uuid import UUID

import pyxen
from pyxen import DomainInfo, Host, Hosts, NotEnoughMemory

MIGRATE_SECONDS = 1800
"""How long one guest may take to move."""
REBOOT_SECONDS = 900
"""How long a host may take to go down and come back."""
LOOK_SECONDS = 2.0
"""How often a host that reboots is asked."""
SPARE_KIB = 64 << 10
"""What a guest takes besides its memory, at most: page tables, and QEMU in dom0."""


def ssh_of(uri: str) -> str:
    """Return what `migrate` and ssh take for the host of a URI: ``root@host1`` for ``xen+ssh://root@host1/system``."""
    return urlsplit(uri).netloc or uri


def drain(hosts: Hosts, name: str) -> dict[UUID, str]:
    """Move all guests of a host away, the largest first, each to the host with the most free memory.

    Returns:
        Where each guest is now.
    """
    moved: dict[UUID, str] = {}
    guests: list[DomainInfo] = [guest.info() for guest in hosts[name].guests]
    for guest in sorted(guests, key=lambda guest: guest.maxmem_kib, reverse=True):
        free = {other: info.free_memory_kib for other, info in hosts.info().succeeded.items() if other != name}
        roomiest = max(free, key=free.__getitem__, default=None)
        if roomiest is None or free[roomiest] < guest.maxmem_kib + SPARE_KIB:
            raise NotEnoughMemory("no other host has room for it", operation="drain", domain=guest.name)
        guest.domain.migrate(ssh_of(hosts.uris[roomiest]), timeout=MIGRATE_SECONDS)
        moved[guest.uuid] = roomiest
        print(f"{guest.name}: {name} -> {roomiest}")
    return moved


def refill(hosts: Hosts, name: str, moved: dict[UUID, str]) -> None:
    """Move guests back to a host; those that have ended meanwhile are passed over."""
    for uuid, other in moved.items():
        guest = hosts[other].guests.get(uuid)
        if guest is not None:
            guest.migrate(ssh_of(hosts.uris[name]), timeout=MIGRATE_SECONDS)
            print(f"{guest.name}: {other} -> {name}")


def reboot(uri: str) -> None:
    """Reboot a host over ssh, and wait until it was away and answers again."""
    command = ["ssh", "-o", "BatchMode=yes", ssh_of(uri), "systemctl", "reboot"]
    subprocess.run(command, check=False, timeout=60)  # the connection breaks, so the status says nothing
    end = time.monotonic() + REBOOT_SECONDS
    for wanted in (False, True):
        while answers(uri) != wanted:
            if time.monotonic() > end:
                raise TimeoutError(
                    f"{uri} {'has not come back' if wanted else 'has not gone down'}: look at its console"
                )
            time.sleep(LOOK_SECONDS)


def answers(uri: str) -> bool:
    """Tell whether a host answers."""
    with contextlib.suppress(pyxen.Error), Hosts({"host": uri}, timeout=10) as hosts:
        return hosts.info()["host"].ok
    return False


def version_of(xen: Host) -> str:
    """Return the release of Xen that runs on a host."""
    return str(xen.info().xen_version)


def upgrade(path: str, names: list[str], reboot: Callable[[str], None] = reboot) -> None:
    """Upgrade some hosts of an inventory, or all."""
    with Hosts.load(path) as hosts:
        hosts.open().check()  # all are needed: no host goes down while another one is
        todo = names or list(hosts)
        for name in todo:
            before = version_of(hosts[name])
            moved = drain(hosts, name)
            reboot(hosts.uris[name])
            # A connection to a host that has rebooted is a broken one: these are new.
            with Hosts(hosts.uris) as again:
                print(f"{name}: Xen {before} -> {version_of(again[name])}")
                refill(again, name, moved)


if __name__ == "__main__":
    upgrade(sys.argv[1], sys.argv[2:])
