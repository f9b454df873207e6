"""A block device that becomes an image: nobody else may use it from the first look until the image is complete."""

from __future__ import annotations

import contextlib
import os
import stat
from pathlib import Path
from typing import Final

from pyxen._common.shield import logger
from pyxen.errors import ImageError, VolumeExists, VolumeInUse
from pyxen.images.programs import run

__all__ = ["Device"]

_LOG: Final = logger(__name__)

_NOTHING_FOUND: Final = "exit status 2"
"""How blkid ends when it finds nothing on a device."""

_KEPT_AT_START: Final = 1 << 20
"""Bytes at the start of a device that are made zero when an image was not finished: no system is found there then."""

_SYS: Final = Path("/sys")


class Device:
    """A block device, claimed until it is closed.

    While it is claimed, nobody else can mount it, or claim it for LVM, md or another image. The kernel's own backend of
    disks neither claims devices nor heeds claims, and is looked for. What a program has open without a claim, as QEMU
    has the disks that it serves, is not seen.

    Args:
        path: Its path.

    Raises:
        VolumeInUse: It is mounted or held, or a running guest has it.
        ImageError: It is no block device.

    Attributes:
        path: Its path for programs. It stays the same device if another one gets the name meanwhile.
        size: Its bytes.
        begun: Whether a program has begun to write to it.
    """

    def __init__(self, path: str) -> None:
        self.begun = False
        self._name = path
        self._claim: int | None = None
        with contextlib.ExitStack() as opened:
            opened.callback(self._release)
            try:
                self._claim = _claimed(path)
                # udev looks at a device when one who could write closes it: so it does in the end, and not when the
                # claim ends and a program is about to write.
                self._fd = os.open(f"/proc/{os.getpid()}/fd/{self._claim}", os.O_RDWR | os.O_CLOEXEC)
                opened.callback(os.close, self._fd)
                if not stat.S_ISBLK(os.fstat(self._fd).st_mode):
                    message = f"{path} is no block device any more: what has that name was changed just now"
                    raise ImageError(message, operation="image")
                self.size = os.lseek(self._fd, 0, os.SEEK_END)
            except OSError as error:
                message = f"{path} cannot be used: {error.strerror}. Is it mounted, or a domain's disk?"
                raise VolumeInUse(message, operation="image") from error
            self.path = f"/proc/{os.getpid()}/fd/{self._fd}"
            self._refuse_guests()
            self._opened = opened.pop_all()

    def close(self) -> None:
        """Let others use it."""
        self._opened.close()

    def check_empty(self) -> None:
        """Check that there is nothing on it.

        Raises:
            VolumeExists: There is something.
        """
        try:
            found = run(["blkid", "-p", "-o", "export", self.path], package="util-linux")
        except ImageError as error:
            if not error.message.endswith(_NOTHING_FOUND):
                raise
            found = []
        kinds = [line.partition("=")[2] for line in found if line.startswith(("TYPE=", "PTTYPE="))]
        if found:
            what = ", ".join(kinds) or "a signature"
            raise VolumeExists(f"{self._name} has something on it ({what}): wipefs -a removes it", operation="image")

    def begin(self, *, claims: bool) -> None:
        """Look again whether a guest has it: a program is about to write.

        Args:
            claims: Whether the program claims the device itself. It would refuse one that is claimed, so this claim
                ends. Who is quicker than the program gets the device, and the program refuses that.

        Raises:
            VolumeInUse: A guest has got it meanwhile.
        """
        self._refuse_guests()
        self.begun = True
        if claims:
            self._release()

    def undo(self) -> None:
        """Take away the start of an image that is not finished, unless others use the device by now."""
        if not self.begun:
            return
        try:
            if self._claim is None:
                self._claim = _claimed(self.path)
            self._refuse_guests()
            os.pwrite(self._fd, bytes(min(self.size, _KEPT_AT_START)), 0)
        except (OSError, VolumeInUse) as error:
            _LOG.warning("what was written to %s is left, in case others use it by now: %s", self._name, error)

    def _release(self) -> None:
        claim, self._claim = self._claim, None
        if claim is not None:
            os.close(claim)

    def _refuse_guests(self) -> None:
        domid = _guest_with(os.fstat(self._fd).st_rdev)
        if domid is not None:
            message = f"{self._name} is, or overlaps, a disk of domain {domid}: shut that down, or detach the disk"
            raise VolumeInUse(message, operation="image")


def _claimed(path: str) -> int:
    """Return a descriptor that claims a device, as a mount does, until it is closed."""
    # It may have become something else, such as a pipe, whose opening would wait.
    return os.open(path, os.O_RDONLY | os.O_EXCL | os.O_NONBLOCK | os.O_CLOEXEC)


def _guest_with(device: int) -> str | None:
    """Return the domid of a running guest to which the kernel serves a device, its disk, or a part of it."""
    overlapping = _overlapping(f"{os.major(device)}:{os.minor(device)}")
    for served in sorted(_SYS.glob("bus/xen-backend/devices/vbd-*/physical_device")):
        with contextlib.suppress(OSError, ValueError):  # it is detached meanwhile
            major, minor = (int(number, 16) for number in served.read_text().split(":"))
            if f"{major}:{minor}" in overlapping:
                return served.parent.name.split("-")[1]
    return None


def _overlapping(number: str) -> set[str]:
    """Return the numbers of a device, of its partitions, and of the disk that it is a partition of."""
    here = (_SYS / "dev" / "block" / number).resolve()
    folders = [each.parent for each in here.glob("*/partition")]
    if (here / "partition").exists():
        folders.append(here.parent)
    found = {number}
    for folder in folders:
        with contextlib.suppress(OSError):
            found.add((folder / "dev").read_text().strip())
    return found
