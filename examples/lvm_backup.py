"""Take a snapshot of each of a guest's disks on LVM, all of the same moment.

The guest is paused for as long as the snapshots take, so that they fit together. They have what a disk has after a
power cut, which journalling file systems and databases recover from.

python3 examples/lvm_backup.py NAME [URI]
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

import pyxen
from pyxen import Domain

SECONDS = 30
"""How long one snapshot may take."""


def volumes(domain: Domain) -> list[str]:
    """Return the block devices that the guest may write to."""
    disks = domain.config().disks
    return [disk.target for disk in disks if disk.target and disk.target.startswith("/dev/") and not disk.readonly]


@contextmanager
def paused(domain: Domain) -> Iterator[None]:
    """Pause a guest, and let it go on whatever happens."""
    domain.pause()
    try:
        yield
    finally:
        domain.unpause()


def backup(domain: Domain) -> list[str]:
    """Take the snapshots and return their names."""
    stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
    made = []
    with paused(domain):
        for volume in volumes(domain):
            name = f"{volume.rsplit('/', 1)[-1]}-{stamp}"
            command = ["lvcreate", "--snapshot", "--extents", "20%ORIGIN", "--name", name, volume]
            subprocess.run(command, check=True, timeout=SECONDS)
            made.append(name)
    return made


def main(name: str, uri: str = "xenlight:///") -> None:
    """Back up one guest."""
    with pyxen.connect(uri) as xen:
        for snapshot in backup(xen.domains[name]):
            print(snapshot)


if __name__ == "__main__":
    main(*sys.argv[1:])
