"""Create, list, pause, shut down and destroy real domains: a PV, a PVH and an HVM guest. Run it in dom0.

``make demo`` runs it in dom0 of a Xen host inside QEMU, and so it can be tried without Xen.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyxen
from pyxen import Disk, DomainConfig, DomainInfo

GUESTS = Path("/usr/share/pyxen-guests")

LINUX: dict[str, Any] = {"kernel": GUESTS / "vmlinux", "ramdisk": GUESTS / "initramfs", "cmdline": "console=hvc0 quiet"}

CONFIGS = [
    DomainConfig("a-hvm", type="hvm", memory=32, disks=[Disk(GUESTS / "tiny-hvm.img", vdev="hda")]),
    DomainConfig("a-pv", type="pv", kernel=GUESTS / "tiny-pv", memory=8),
    # Last, since Linux begins to boot at once, and that keeps an emulated host busy.
    DomainConfig("a-pvh", type="pvh", memory=160, **LINUX),
]


@contextmanager
def timed(what: str) -> Iterator[None]:
    """Print how long something took."""
    start = time.perf_counter()
    yield
    print(f"{what:<48}{time.perf_counter() - start:8.3f} s", flush=True)


def show(domains: list[DomainInfo]) -> None:
    """Print domains as a table."""
    print(f"\n{'Name':<12}{'Domid':>6}{'Type':>6}{'Memory':>10}{'vCPUs':>7}  {'State':<10}UUID")
    for info in domains:
        name = info.name or "-"  # one that is just being destroyed has lost it already
        memory = f"{info.memory_kib // 1024} MiB"
        print(f"{name:<12}{info.domid:>6}{info.type:>6}{memory:>10}{info.vcpus:>7}  {info.state:<10}{info.uuid}")
    print(flush=True)


def wait_for_linux(name: str) -> None:
    """Wait until the userspace of a guest says on its console that it runs."""
    log = Path(f"/var/log/xen/guest-{name}.log")
    while "pyxen-guest ready" not in log.read_text(errors="replace"):
        time.sleep(0.2)


def main() -> int:
    """Run the demonstration."""
    with timed("connect"):
        xen = pyxen.connect()
    with xen:
        info = xen.info()
        print(f"Xen {info.xen_version}, {info.nr_cpus} CPUs, {info.free_memory_kib // 1024} MiB free\n")
        for config in CONFIGS:
            with timed(f"create {config.name} ({config.type.upper()})"):
                xen.create(config)
        with timed("list"):
            domains = xen.list()
        show(domains)
        print(subprocess.run(["xl", "list"], check=True, capture_output=True, text=True).stdout, flush=True)

        domain = xen.domains["a-pvh"]
        with timed("pause a-pvh"):
            domain.pause()
        print(f"  a-pvh is {domain.info().state}")
        with timed("unpause a-pvh"):
            domain.unpause()
        with timed("  (Linux boots in a-pvh, without hardware's help)"):
            wait_for_linux("a-pvh")
        with timed("shutdown a-pvh, waiting for the guest"):
            domain.shutdown(timeout=60)
        for name in ("a-pv", "a-hvm"):
            with timed(f"destroy {name}"):
                xen.domains[name].destroy()
        show(xen.list())
    return 0


if __name__ == "__main__":
    sys.exit(main())
