"""What runs the lab's machine: KVM where it nests, else QEMU's emulation of a processor.

For PVH and HVM guests Xen needs hardware virtualisation, so a KVM under it must hand that on. Not every ``/dev/kvm``
can, and not every one that says so keeps guests alive. So it is tried, once for each image, with a guest of each type.
"""

from __future__ import annotations

import os
import platform
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from lab import cache, qemu, snapshots
from lab.cache import HERE
from lab.errors import BootFailed, LabError
from lab.progress import say

if TYPE_CHECKING:
    from lab.image import Image
    from lab.releases import Release

VARIABLE = "PYXEN_LAB_ACCEL"
DEVICE = Path("/dev/kvm")
NESTING = (Path("/sys/module/kvm_intel/parameters/nested"), Path("/sys/module/kvm_amd/parameters/nested"))
_TRIAL_SECONDS = 300.0
_REFUSED = "refused"


def choose(release: Release, image: Image) -> str:
    """What is to run machines with this image: ``kvm`` or ``tcg``, as QEMU calls them.

    ``$PYXEN_LAB_ACCEL`` decides if it is set; with ``kvm`` it is an error if KVM is of no use.

    Raises:
        LabError: The variable has another value, or asks for a KVM that does not nest.
        BootFailed: It asks for a KVM that Xen does not boot on, or that does not keep guests alive.
    """
    asked = os.environ.get(VARIABLE, "")
    if asked not in ("", qemu.KVM, qemu.TCG):
        raise LabError(f"{VARIABLE} is {asked!r}: set it to {qemu.KVM} or {qemu.TCG}, or leave it out")
    if asked == qemu.TCG:
        return qemu.TCG
    problem = obstacle()
    if problem is not None:
        if asked == qemu.KVM:
            raise LabError(f"{VARIABLE} asks for KVM, but {problem}")
        return qemu.TCG
    key = cache.key_of([image.build, qemu.machine_key(1, qemu.KVM), platform.release(), asked], [HERE / "trial.sh"])
    kind = cache.root() / release.xen / "accelerator"
    tried = cache.made(kind, key, lambda work: _try(release, image, work, must=asked == qemu.KVM))
    return qemu.TCG if (tried / _REFUSED).exists() else qemu.KVM


def obstacle() -> str | None:
    """Why KVM cannot be used on this computer, as far as that shows without a try."""
    if not DEVICE.exists():
        return f"there is no {DEVICE}"
    if not os.access(DEVICE, os.R_OK | os.W_OK):
        return f"this user may not open {DEVICE}: join its group"
    if not any(path.exists() and path.read_text(encoding="ascii").strip() in ("1", "Y") for path in NESTING):
        return f"this KVM does not nest: there is neither {NESTING[0]} nor kvm_amd's, or it says no"
    return None


def _try(release: Release, image: Image, work: Path, *, must: bool) -> None:
    """Note in a folder whether KVM is of use."""
    say(f"Xen {release.xen}: trying it on KVM (about 20 s)")
    try:
        _trial(release, image)
    except LabError as error:
        if must:
            raise
        why = str(error).splitlines()[0]
        say(f"Xen {release.xen}: KVM is of no use here, so the processor is emulated: {why} (kept in {work.parent})")
        (work / _REFUSED).write_text(str(error), encoding="utf-8")


def _trial(release: Release, image: Image) -> None:
    """Boot on KVM, save the machine and restore it, and start guests.

    Raises:
        LabError: That failed; the first line of the message says what did.
    """
    machine = snapshots.restore(image, snapshots.ensure(release, image, qemu.KVM), qemu.KVM)
    printed = bytearray()
    try:
        request = {"argv": ["sh", "-c", (HERE / "trial.sh").read_text(encoding="ascii")], "cwd": "/", "env": {}}
        status = machine.agent.execute(
            {**request, "tty": None, "stdin": False}, lambda _kind, data: printed.extend(data), timeout=_TRIAL_SECONDS
        )
        if status != 0:
            lines = printed.decode(errors="replace").splitlines() or [f"status {status}"]
            raise BootFailed("\n".join([lines[-1], *lines, machine.log_tail()]))
    finally:
        machine.end()
        shutil.rmtree(machine.folder)
