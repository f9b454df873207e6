"""Snapshots of a booted dom0: what makes a start cost seconds instead of half a minute."""

from __future__ import annotations

import shutil
import time
from typing import TYPE_CHECKING

from lab import cache, qemu
from lab.errors import BootFailed, LabError
from lab.progress import say

if TYPE_CHECKING:
    from pathlib import Path

    from lab.image import Image
    from lab.releases import Release

BOOT_SECONDS = 240.0
RESTORE_SECONDS = 60.0
_SAVE_SECONDS = 120.0


def _place(release: Release, image: Image, accelerator: str, cpus: int) -> tuple[Path, str]:
    return cache.root() / release.xen / f"snapshot-{cpus}", f"{image.build}-{qemu.machine_key(cpus, accelerator)}"


def ensure(release: Release, image: Image, accelerator: str, cpus: int = 1) -> Path:
    """The folder of the snapshot (``state``, ``disk.qcow2``); made, by booting once, if there is none.

    Raises:
        BootFailed: The machine does not boot.
    """
    kind, key = _place(release, image, accelerator, cpus)
    return cache.made(kind, key, lambda work: _make(release, image, accelerator, cpus, work))


def discard(release: Release, image: Image, accelerator: str, cpus: int = 1) -> None:
    """Remove a snapshot that could not be restored."""
    kind, key = _place(release, image, accelerator, cpus)
    with cache.locked(kind.with_suffix(".lock")):
        shutil.rmtree(kind / key, ignore_errors=True)


def _make(release: Release, image: Image, accelerator: str, cpus: int, work: Path) -> None:
    say(f"Xen {release.xen}: booting for the first time, by {accelerator.upper()}, to make a snapshot (about 30 s)")
    machine = boot(image, accelerator, cpus)
    try:
        machine.save(work / "state", time.monotonic() + _SAVE_SECONDS)
        # The disk goes with the state: dom0 has written to it, and holds the rest in memory.
        (machine.folder / "overlay.qcow2").rename(work / "disk.qcow2")
    finally:
        machine.end()
        shutil.rmtree(machine.folder)
    say(f"Xen {release.xen}: snapshot made ({(work / 'state').stat().st_size >> 20} MiB)")


def boot(image: Image, accelerator: str, cpus: int = 1) -> qemu.Qemu:
    """A machine that has booted from nothing.

    Raises:
        BootFailed: It did not, within the deadline; the message has the tail of its console.
    """
    disk = image.folder / "disk.img"
    return _started(qemu.Qemu(qemu.new_folder(), image, disk=disk, accelerator=accelerator, cpus=cpus), restored=False)


def restore(image: Image, snapshot: Path, accelerator: str, cpus: int = 1) -> qemu.Qemu:
    """A machine that continues from a snapshot.

    Raises:
        BootFailed: It did not, within the deadline; the message has the tail of its console.
    """
    disk, state = snapshot / "disk.qcow2", snapshot / "state"
    return _started(
        qemu.Qemu(qemu.new_folder(), image, disk=disk, accelerator=accelerator, cpus=cpus, state=state), restored=True
    )


def _started(machine: qemu.Qemu, *, restored: bool) -> qemu.Qemu:
    try:
        if restored:
            deadline = time.monotonic() + RESTORE_SECONDS
            machine.finish_restore(deadline)
        else:
            deadline = time.monotonic() + BOOT_SECONDS
            machine.agent.wait_for_start(deadline)
        machine.agent.ping(deadline)
    except LabError as error:
        tail = machine.log_tail()
        machine.end()
        raise BootFailed(f"{error}\n{tail}\n  (all of it: {machine.folder})") from error
    except BaseException:
        machine.end()
        raise
    return machine
