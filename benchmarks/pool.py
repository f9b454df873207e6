"""In dom0: a guest taken from a pool against one that is created and boots; clones against ``xl restore``, one by one.

Prints a line of JSON.
"""

from __future__ import annotations

import itertools
import json
import os
import select
import sys
import tempfile
import time
from pathlib import Path

import pyxen
from benchmarks.create_destroy import run
from benchmarks.measure import clocked, take_turns
from pyxen import Disk, Domain, DomainConfig, Host, Pool, Vif, xlcfg

TAKES = 5
ROUNDS = 3
CLONES = 6
SECONDS = 300

LINUX = DomainConfig(
    "bench",
    type="pvh",
    kernel="/usr/share/pyxen-guests/vmlinux",
    ramdisk="/usr/share/pyxen-guests/initramfs",
    cmdline="console=hvc0 quiet",
    memory=160,
)
BRIDGED = Vif(bridge="xenbr0")


def main() -> int:
    """Run the benchmark."""
    with tempfile.TemporaryDirectory(dir="/var/tmp") as folder, pyxen.connect() as host:
        image = Path(folder, "disk.img")
        image.write_bytes(bytes(1 << 20))
        saved = save(host, folder, LINUX.replace(disks=[Disk(str(image), vdev="xvda")]))
        bare = save(host, folder, LINUX.replace(name="bare"))
        print(json.dumps({"take": takes(host, bare), "clone": clones(host, saved, Path(folder))}))
    return 0


def save(host: Host, folder: str, config: DomainConfig) -> str:
    """Boot a guest and save it; return the file."""
    domain = boot(host, config)
    time.sleep(3)  # it has something to do after its last line; in QEMU's emulation one that has may die of a save
    domain.save(f"{folder}/{config.name}", timeout=SECONDS)
    return f"{folder}/{config.name}"


def boot(host: Host, config: DomainConfig) -> Domain:
    """Create a guest, and wait until its userspace runs."""
    domain = host.create(config, paused=True, timeout=SECONDS)
    with domain.console() as console:
        domain.unpause()
        seen, end = b"", time.monotonic() + SECONDS
        while b"pyxen-guest ready" not in seen:
            assert select.select([console], [], [], max(0, end - time.monotonic()))[0], seen
            data = os.read(console.fileno(), 4096)
            assert data, seen
            seen += data
    return domain


def takes(host: Host, saved: str) -> dict[str, list[tuple[float, ...]]]:
    """Measure how long it takes until a guest that has booted runs; without devices, and with a vif."""
    names = (f"bench{number}" for number in itertools.count())
    made: list[Domain] = []
    with host.pool(saved=saved, size=2, timeout=SECONDS) as pool:

        def create(*vifs: Vif) -> tuple[float, ...]:
            took = clocked(lambda: made.append(boot(host, LINUX.replace(name=next(names), vifs=vifs))))
            made.pop().destroy()
            return took

        def take(*vifs: Vif) -> tuple[float, ...]:
            took = clocked(lambda: made.append(pool.take(next(names), vifs=vifs)))
            made.pop().destroy()
            settle(pool)
            return took

        settle(pool)
        return take_turns(
            {
                "take": take,
                "create": create,
                "take, with a vif": lambda: take(BRIDGED),
                "create, with a vif": lambda: create(BRIDGED),
            },
            TAKES,
        )


def settle(pool: Pool) -> None:
    """Wait until the pool has nothing to do."""
    pool.wait(timeout=SECONDS)


def clones(host: Host, saved: str, folder: Path) -> dict[str, list[tuple[float, ...]]]:
    """Measure how long it takes to make clones, each with an image of its own."""
    base = LINUX.replace(disks=[Disk(f"{folder}/disk.img", vdev="xvda")])

    def clone() -> tuple[float, ...]:
        made: list[Domain] = []
        took = clocked(lambda: made.extend(host.clone(saved, CLONES, timeout=SECONDS)))
        for domain in made:
            domain.destroy()
        return took

    def restore() -> None:
        for number in range(CLONES):
            image, file = folder / f"clone{number}.qcow2", folder / f"clone{number}.cfg"
            run("qemu-img", "create", "-q", "-f", "qcow2", "-b", f"{folder}/disk.img", "-F", "raw", str(image))
            disk = Disk(str(image), vdev="xvda", format="qcow2")
            file.write_text(xlcfg.dumps(base.replace(name=f"clone{number}", disks=[disk])))
            run("xl", "restore", str(file), saved)

    def xl() -> tuple[float, ...]:
        took = clocked(restore)
        for number in range(CLONES):
            run("xl", "destroy", f"clone{number}")
        return took

    return take_turns({"clone": clone, "xl": xl}, ROUNDS)


if __name__ == "__main__":
    sys.exit(main())
