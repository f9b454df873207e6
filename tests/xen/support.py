"""What several tests in dom0 need: the other toolstack's view, and patience."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import UUID

from pyxen import Domain, DomainConfig, DomainState, Host, ShutdownReason
from pyxen.storage import VolumeGroup

__all__ = [
    "GUESTS",
    "MakeConfig",
    "MakeDomain",
    "at_rest",
    "children",
    "end_guest",
    "in_guest",
    "joined",
    "ready",
    "run",
    "runs",
    "volume_group",
    "wait_for_firmware",
    "wait_for_linux",
    "wait_until",
    "xenstore_entries",
    "xl",
    "xl_domids",
    "xl_rows",
]

GUESTS = Path("/usr/share/pyxen-guests")
LONG = "PYXEN_LONG" in os.environ
"""Whether `make test-long` runs: counts of domains are higher then."""

_CONTAINERS = {"/vm", "/libxl", "/local/domain/0/backend", "/local/domain/0/device-model"}
_OF_THE_HOST = ("/tool", "/local/domain/0/memory", "/local/domain/0/cpu", f"/vm/{UUID(int=0)}")

MakeConfig = Callable[..., DomainConfig]
MakeDomain = Callable[..., Domain]


def run(*command: str) -> str:
    """Run a program, and return what it prints."""
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=250).stdout


def xl(*arguments: str) -> str:
    """Run xl, the other toolstack, and return what it prints."""
    return subprocess.run(["xl", *arguments], check=True, capture_output=True, text=True, timeout=120).stdout


def xl_rows(verb: str, domain: Domain) -> list[list[str]]:
    """Return the cells of what xl lists of a domain, without the head."""
    return [line.split() for line in xl(verb, str(domain.domid)).splitlines()[1:]]


def xl_domids() -> dict[str, int]:
    """Return the domains that xl sees: name and domid."""
    return {item["config"]["c_info"]["name"]: item["domid"] for item in json.loads(xl("list", "-l"))}


def xenstore_entries() -> set[str]:
    """Return the entries of xenstore that belong to domains other than dom0, as far as they come with a domain."""
    listing = subprocess.run(["xenstore-ls", "-f"], check=True, capture_output=True, text=True, timeout=120).stdout
    paths = {line.split(" = ", 1)[0] for line in listing.splitlines()}
    return {path for path in paths if path not in _CONTAINERS and not path.startswith(_OF_THE_HOST)}


def children(parent: int | None = None) -> list[int]:
    """Return the children of a process, by default of this one, those that ended and nobody has waited for too."""
    threads = Path(f"/proc/{parent or os.getpid()}/task").glob("*/children")
    return sorted(int(child) for thread in threads for child in thread.read_text().split())


def end_guest(domain: Domain, reason: ShutdownReason) -> None:
    """Let a guest shut down for that reason, without asking it; as Xen does with one that is beyond help."""
    subprocess.run([sys.executable, "-c", _END_GUEST, str(domain.domid), str(int(reason))], check=True, timeout=120)


_END_GUEST = """
import ctypes, sys
xenctrl = ctypes.CDLL(__import__("glob").glob("/usr/lib/*/libxenctrl.so.4.*")[0])
xenctrl.xc_interface_open.restype = ctypes.c_void_p
xc = ctypes.c_void_p(xenctrl.xc_interface_open(None, None, 0))
assert xenctrl.xc_domain_shutdown(xc, int(sys.argv[1]), int(sys.argv[2])) == 0
"""


def joined(thread: threading.Thread, seconds: float = 180) -> None:
    """Wait until a thread has ended."""
    thread.join(seconds)
    assert not thread.is_alive(), f"{thread.name} has not ended within {seconds:.0f} s"


def wait_for_linux(domain: Domain) -> None:
    """Wait until the userspace of a Linux guest runs: before that it would not follow a request to shut down."""
    log = Path(f"/var/log/xen/guest-{domain.info().name}.log")
    wait_until(lambda: log.exists() and "pyxen-guest ready" in log.read_text(errors="replace"), seconds=180)


def in_guest(domain: Domain, *commands: str) -> str:
    """Run commands in a Linux guest's shell, one after the other, and return what they print."""
    script = "; ".join(["echo begun-$((40 + 2))", *commands, "echo done-$((40 + 2))"])
    end, said = time.monotonic() + 120, b""
    with domain.console_stream() as console:
        console.write(f"\r{script}\r")
        while b"done-42" not in said:
            assert time.monotonic() < end, f"the guest does not answer {script!r}: {said!r}"
            data = console.read(timeout=10)
            assert data != b"", f"the console has ended: {said!r}"
            said += data or b""
    return said.rpartition(b"begun-42")[2].partition(b"done-42")[0].decode().replace("\r\n", "\n").strip()


@contextmanager
def volume_group(host: Host, folder: Path) -> Iterator[VolumeGroup]:
    """Have a volume group of 256 MiB, on a loop device."""
    with (folder / "pv").open("wb") as file:
        file.truncate(260 << 20)
    device = run("losetup", "-f", "--show", str(folder / "pv")).strip()
    try:
        run("vgcreate", "--yes", "pyxen-test", device)
        yield VolumeGroup("pyxen-test", host=host)
        run("vgremove", "--yes", "--force", "pyxen-test")
    finally:
        run("losetup", "-d", device)


def runs(domain: Domain, seconds: float = 20) -> bool:
    """Tell whether a guest's vCPU does anything within some seconds: an idle Linux wakes up again and again."""
    before, end = domain.info().cpu_time_ns, time.monotonic() + seconds
    while domain.info().cpu_time_ns == before:
        if time.monotonic() > end:
            return False
        time.sleep(0.1)
    return True


def wait_for_firmware(domain: Domain) -> None:
    """Wait until the firmware of an HVM guest has found nothing to boot: before, QEMU cannot be saved and loaded."""
    wait_until(lambda: domain.info().cpu_time_ns > 1_500_000_000)


def at_rest(guest: Domain) -> Domain:
    """Wait until a Linux guest is up, and has nothing to do.

    In an emulated machine (QEMU's), a guest whose writes Xen logs may die of a triple fault when it is interrupted
    in its userspace.
    """
    wait_for_linux(guest)

    def rests() -> bool:
        for _ in range(10):
            if guest.info().state is not DomainState.BLOCKED:
                return False
            time.sleep(0.1)
        return True

    wait_until(rests)
    return guest


def ready(guest: Domain) -> Domain:
    """Wait until a tiny guest that is willing waits for what it is asked: before, libxl could not save it."""
    assert guest.wait("blocked", timeout=60) is not None
    return guest


def wait_until(condition: Callable[[], bool], seconds: float = 60) -> None:
    """Wait until something is so."""
    end = time.monotonic() + seconds
    pause = 0.05
    while not condition():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(pause)
        pause = min(pause * 1.5, 0.3)  # the guest has the same processor
