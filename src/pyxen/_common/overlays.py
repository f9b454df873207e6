"""Overlays: copy-on-write images of disks, which ``qemu-img`` makes."""

from __future__ import annotations

import contextlib
import errno
import os
from typing import Final

from pyxen._common.programs import run_program
from pyxen._common.shortage import is_full
from pyxen.config import DiskFormat
from pyxen.errors import FileMissing, NotEnoughSpace, OperationFailed

__all__ = ["BASE_FORMATS", "make_overlay"]

BASE_FORMATS: Final = {
    DiskFormat.RAW: "raw",
    DiskFormat.QCOW: "qcow",
    DiskFormat.QCOW2: "qcow2",
    DiskFormat.VHD: "vpc",
    DiskFormat.QED: "qed",
}
"""The formats of disks that can be below an overlay, with QEMU's names of them."""

_NO_SPACE: Final = os.strerror(errno.ENOSPC)
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
        ToolMissing: qemu-img is not installed.
        NotEnoughSpace: The file system of the image is full.
        OperationFailed: qemu-img failed, e.g. because a running guest still writes to the disk.
    """
    for needed in (base, os.path.dirname(os.path.abspath(path))):
        if not os.path.exists(needed):
            error = FileMissing(f"no such file on the host: {needed}", operation=verb)
            error.filename = needed
            raise error
    try:
        made = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)  # qemu-img keeps the mode
    except OSError as problem:
        kind_of_error = NotEnoughSpace if is_full(problem) else OperationFailed
        raise kind_of_error(f"cannot make {path}: {problem.strerror}", operation=verb) from problem
    try:
        _fill(verb, base, kind, path, f"/proc/{os.getpid()}/fd/{made}")
    except BaseException:
        with contextlib.suppress(OSError):  # qemu-img may have removed it
            os.unlink(path)
        raise
    finally:
        os.close(made)


def _fill(verb: str, base: str, kind: DiskFormat, path: str, made: str) -> None:
    """Make the image in an empty file.

    qemu-img opens it as a descriptor of this process, not by its path: there, who may write to the folder could have
    put a link to another file meanwhile.
    """
    # An absolute path, since QEMU takes a name with a colon for a protocol.
    command = ["qemu-img", "create", "-q", "-f", "qcow2", "-b", os.path.abspath(base), "-F", BASE_FORMATS[kind], made]
    done = run_program(command, verb=verb, package="qemu-utils", timeout=_TO_MAKE)
    if done.status != 0:
        words = done.stderr.replace(made, path).strip()
        kind_of_error = NotEnoughSpace if _NO_SPACE in words else OperationFailed
        raise kind_of_error(f"qemu-img cannot make {path} over {base}: {words}", operation=verb)
