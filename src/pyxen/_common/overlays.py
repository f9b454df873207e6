"""Overlays: copy-on-write images of disks, which ``qemu-img`` makes."""

from __future__ import annotations

import os
from typing import Final

from pyxen.config import DiskFormat
from pyxen.errors import FileMissing, NotFound, OperationFailed

__all__ = ["BASE_FORMATS", "make_overlay"]

BASE_FORMATS: Final = {
    DiskFormat.RAW: "raw",
    DiskFormat.QCOW: "qcow",
    DiskFormat.QCOW2: "qcow2",
    DiskFormat.VHD: "vpc",
    DiskFormat.QED: "qed",
}
"""The formats of disks that can be below an overlay, with QEMU's names of them."""

_TO_MAKE: Final = 60.0  # seconds, for a file of some hundred KiB


def make_overlay(verb: str, base: str, kind: DiskFormat, path: str) -> None:
    """Make an empty qcow2 image over a disk: what is written goes to the image, what is read comes from the disk below.

    Args:
        verb: The verb that needs it, for errors.
        base: The disk: a file or a block device. It must not change any more.
        kind: The disk's format, one of `BASE_FORMATS`.
        path: The new file.

    Raises:
        FileMissing: There is no such disk, or no such folder for the image.
        NotFound: qemu-img is not installed.
        OperationFailed: qemu-img failed, e.g. because a running guest still writes to the disk.
    """
    import subprocess  # loaded only if an overlay is made

    for needed in (base, os.path.dirname(path)):
        if not os.path.exists(needed):
            error = FileMissing(f"no such file on the host: {needed}", operation=verb)
            error.filename = needed
            raise error
    # Absolute paths, since QEMU takes a name with a colon for a protocol.
    command = ["qemu-img", "create", "-q", "-f", "qcow2", "-b", os.path.abspath(base), "-F", BASE_FORMATS[kind]]
    try:
        done = subprocess.run(
            [*command, os.path.abspath(path)],
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_TO_MAKE,
            umask=0o077,
            stdin=subprocess.DEVNULL,
            check=False,
        )
    except FileNotFoundError:
        message = "qemu-img is not installed: install it (on Debian: qemu-utils), or give disks of your own"
        raise NotFound(message, operation=verb) from None
    except subprocess.TimeoutExpired:
        raise OperationFailed(f"qemu-img did not make {path} within {_TO_MAKE:g} s", operation=verb) from None
    if done.returncode != 0:
        message = f"qemu-img cannot make {path} over {base}: {done.stderr.strip()}"
        raise OperationFailed(message, operation=verb, log=tuple(done.stderr.splitlines()))
