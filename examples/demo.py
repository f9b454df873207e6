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
from pyxen import Disk, Domain, DomainConfig, DomainInfo, DomainState, Host

GUESTS = Path("/usr/share/pyxen-guests")

BOOT_SECONDS = 240.0

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


@contextmanager
def tidy(xen: Host) -> Iterator[None]:
    """Destroy what the demonstration has made, should it fail."""
    try:
        yield
    except BaseException:
        ours = {config.name for config in CONFIGS}
        for domain in xen.domains:
            if domain.info().name in ours:
                domain.destroy()
        raise


def show(domains: list[DomainInfo]) -> None:
    """Print domains as a table."""
    print(f"\n{'Name':<12}{'Domid':>6}{'Type':>6}{'Memory':>10}{'vCPUs':>7}  {'State':<10}UUID")
    for info in domains:
        name = info.name or "-"  # one that is just being destroyed has lost it already
        memory = f"{info.memory_kib // 1024} MiB"
        print(f"{name:<12}{info.domid:>6}{info.type:>6}{memory:>10}{info.vcpus:>7}  {info.state:<10}{info.uuid}")
    print(flush=True)


class GuestDiedError(Exception):
    """A guest ended while it booted."""


def wait_for_linux(domain: Domain) -> None:
    """Wait until the userspace of a guest says on its console that it runs; say now and then that it goes on.

    Raises:
        GuestDiedError: It ended instead.
        TimeoutError: It took too long; the message has the end of its console.
    """
    log = Path(f"/var/log/xen/guest-{domain.info().name}.log")
    begun = told = time.monotonic()
    while "pyxen-guest ready" not in (text := log.read_text(errors="replace") if log.exists() else ""):
        if domain.info().state in (DomainState.SHUTDOWN, DomainState.CRASHED):
            raise GuestDiedError(f"domain {domain.domid} ended while it booted: {xen_says(domain)}")
        now = time.monotonic()
        if now - begun > BOOT_SECONDS:
            tail = "\n".join(text.splitlines()[-10:]) or "(nothing)"
            raise TimeoutError(f"Linux did not boot within {BOOT_SECONDS:.0f} s; its console says:\n{tail}")
        if now - told > 10:
            told = now
            print(f"  … {now - begun:.0f} s", flush=True)
        time.sleep(0.2)


def xen_says(domain: Domain) -> str:
    """Return what Xen's log says of a domain that it ended itself."""
    log = subprocess.run(["xl", "dmesg"], check=True, capture_output=True, text=True, timeout=60).stdout
    lines = [line for line in log.splitlines() if f" d{domain.domid}v" in line and "Triple fault" in line]
    return lines[-1] if lines else "Xen's log does not say why"


def boot_linux(xen: Host, config: DomainConfig) -> Domain:
    """Pause and unpause the guest of that name, and wait until its Linux runs.

    An emulated processor (QEMU's) may kill a guest, by a triple fault, which no kernel of ours brings about: then
    another guest gets a second try.
    """
    domain = xen.domains[str(config.name)]
    with timed(f"pause {config.name}"):
        domain.pause()
    print(f"  {config.name} is {domain.info().state}")
    with timed(f"unpause {config.name}"):
        domain.unpause()
    what = "  (Linux boots in a-pvh; slow where QEMU emulates)"
    try:
        with timed(what):
            wait_for_linux(domain)
    except GuestDiedError as error:
        if "Triple fault" not in str(error):
            raise
        print(f"The emulated processor has killed the guest; once more. {error}", flush=True)
        domain.destroy()
        domain = xen.create(config)
        with timed(what):
            wait_for_linux(domain)
    return domain


def main() -> int:
    """Run the demonstration."""
    with timed("connect"):
        xen = pyxen.connect()
    with xen, tidy(xen):
        info = xen.info()
        print(f"Xen {info.xen_version}, CPUs: {info.nr_cpus}, {info.free_memory_kib // 1024} MiB free\n")
        for config in CONFIGS:
            with timed(f"create {config.name} ({str(config.type).upper()})"):
                xen.create(config)
        with timed("list"):
            domains = xen.list()
        show(domains)
        listing = subprocess.run(["xl", "list"], check=True, capture_output=True, text=True, timeout=60)
        print(listing.stdout, flush=True)

        domain = boot_linux(xen, CONFIGS[-1])
        with timed("shutdown a-pvh, waiting for the guest"):
            domain.shutdown(timeout=180)
        for name in ("a-pv", "a-hvm"):
            with timed(f"destroy {name}"):
                xen.domains[name].destroy()
        show(xen.list())
    return 0


if __name__ == "__main__":
    sys.exit(main())
