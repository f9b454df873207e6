"""A run of the script on a host, and the comparison of two runs by the list."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final

from pyxen import Domain, Host
from pyxen.backends.memory.backend import MemoryBackend
from pyxen.testing import FakeGuest
from tests.differential.differences import differences, excuses
from tests.differential.plain import Leaves
from tests.differential.prober import World

__all__ = ["complaints", "simulated_world", "world"]

_MOST_SHOWN: Final = 40


def world(host: Host, folder: Path, guests: Path) -> World:
    """Return a host with the files that the probes need.

    Args:
        host: The host.
        folder: An empty folder.
        guests: The folder with the lab's guests.
    """
    (folder / "sub").mkdir()
    (folder / "data.img").write_bytes(bytes(1 << 20))
    (folder / "disc.iso").write_bytes(bytes(1 << 16))
    kernels = {kind: str(guests / f"tiny-{kind}") for kind in ("pv", "pvh")}
    return World(host, str(folder), {**kernels, "hvm": str(guests / "tiny-hvm.img")}, lambda _: None)


def simulated_world(host: Host, real: World) -> World:
    """Return a host in memory with the same files and USB devices."""
    backend = host._backend
    assert isinstance(backend, MemoryBackend)
    machine = backend.machine
    machine.devices.usb[:] = real.host.usb.list()

    def take_drivers(domain: Domain) -> None:
        guest = FakeGuest(machine, machine.domains[domain.domid])
        guest.drivers = guest.answers = False

    return World(host, real.folder, real.kernels, take_drivers)


def complaints(real: Mapping[str, Leaves], simulated: Mapping[str, Leaves], release: str) -> list[str]:
    """Return each difference that the list does not excuse, and each line of the list that excuses none."""
    listed = excuses(release)
    used: set[int] = set()
    found: list[str] = []
    for difference in differences(real, simulated):
        fitting = [number for number, excuse in enumerate(listed) if excuse.fits(difference)]
        used.update(fitting[:1])
        if not fitting:
            found.append(str(difference))
    unused = [f"not needed: {excuse.probe} {excuse.leaf}" for number, excuse in enumerate(listed) if number not in used]
    more = [f"… and {len(found) - _MOST_SHOWN} more"] if len(found) > _MOST_SHOWN else []
    return [*found[:_MOST_SHOWN], *more, *unused]
