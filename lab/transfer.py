"""Files into dom0 and out of it: tar archives on a raw disk, since the serial port is slow inwards."""

from __future__ import annotations

import os
import shlex
import shutil
import tarfile
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from lab import tools
from lab.errors import LabError

if TYPE_CHECKING:
    from collections.abc import Callable

DEVICE = "/dev/vdb"
_BLOCK = 1 << 20


def write_archive(disk: Path, limit: int, fill: Callable[[tarfile.TarFile], None]) -> str:
    """Write a tar archive to the start of the disk and return the shell command that unpacks it below / in dom0.

    Args:
        disk: The file behind the disk.
        limit: The disk's size in bytes.
        fill: Adds the members; their names are full paths in dom0.

    Raises:
        LabError: The archive does not fit.
    """
    with disk.open("r+b") as file:
        with tarfile.open(fileobj=file, mode="w") as archive:
            fill(archive)
        blocks = -(-file.tell() // _BLOCK)
    if blocks * _BLOCK > limit:
        os.truncate(disk, limit)
        raise LabError(f"the files are bigger than the {limit >> 20} MiB of the transfer disk")
    return f"dd if={DEVICE} iflag=direct bs={_BLOCK} count={blocks} status=none | tar -x -C / -f - --no-same-owner"


def pack_command(source: str) -> str:
    """The shell command that packs a file or folder of dom0 onto the disk."""
    folder, name = os.path.split(os.path.normpath(source))
    pack = f"tar -c -C {shlex.quote(folder or '/')} -f - -- {shlex.quote(name or '.')}"
    write = f"dd of={DEVICE} oflag=direct bs={_BLOCK} iflag=fullblock conv=sync status=none"
    return f"set -o pipefail; {pack} | {write}"


def read_archive(disk: Path, destination: Path) -> None:
    """Unpack the one member that `pack_command` put onto the disk, as `destination`.

    Raises:
        LabError: The destination is a folder that is already there.
    """
    destination = destination.absolute()
    destination.parent.mkdir(parents=True, exist_ok=True)
    if destination.is_dir():
        raise LabError(f"{destination} is there already, and is a folder")
    with tempfile.TemporaryDirectory(dir=destination.parent, prefix=".from-dom0-") as folder:
        tools.call(["tar", "-x", "--no-same-owner", "-C", folder, "-f", str(disk)], what="unpacking what dom0 sent")
        (member,) = Path(folder).iterdir()
        shutil.move(member, destination)
