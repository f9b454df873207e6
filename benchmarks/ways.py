"""In dom0: a hundred domains listed, and one more created and destroyed, by each way to the host and without pyxen.

The domains are made through libvirt, which lists none but its own. Prints a line of JSON.
"""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pyxen
from benchmarks.create_destroy import XL_CONFIG, run
from benchmarks.measure import clocked, take_turns
from benchmarks.python.create_destroy import CONFIG
from pyxen import Host, libvirtxml

ROUNDS = 12
DOMAINS = 100
LIBVIRT = "xen:///system"
PLAIN = CONFIG.replace(shadow_memory=None)  # which libvirt cannot be told


def main() -> int:
    """Run the benchmark."""
    import libvirt

    subprocess.run(["lab-libvirtd"], check=True, stdout=subprocess.DEVNULL, timeout=600)
    with contextlib.ExitStack() as stack:
        here, there = (stack.enter_context(pyxen.connect(uri)) for uri in ("xenlight:///", LIBVIRT))
        bare = libvirt.open(LIBVIRT)
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        (folder / "new.xml").write_text(libvirtxml.dumps(PLAIN.replace(name="new")))
        (folder / "new.cfg").write_text(XL_CONFIG.replace('"bench"', '"new"'))
        with ThreadPoolExecutor(4) as threads:
            domains = list(threads.map(lambda number: create(there, f"bench{number}"), range(DOMAINS)))
        lists: dict[str, Callable[[], tuple[float, ...]]] = {
            "xenlight": lambda: clocked(here.list),
            "libvirt": lambda: clocked(there.list),
            "bare": lambda: clocked(lambda: bare_list(libvirt, bare)),
            "virsh": lambda: clocked(lambda: run("virsh", "-c", LIBVIRT, "list")),
            "xl": lambda: clocked(lambda: run("xl", "list")),
        }
        listed = take_turns(lists, ROUNDS)
        creates: dict[str, Callable[[], tuple[float, ...]]] = {
            "xenlight": lambda: clocked(lambda: create(here, "new").destroy()),
            "libvirt": lambda: clocked(lambda: create(there, "new").destroy()),
            "bare": lambda: clocked(lambda: bare.createXML((folder / "new.xml").read_text(), 1).destroy()),
            "virsh": lambda: clocked(lambda: virsh(folder / "new.xml")),
            "xl": lambda: clocked(lambda: xl(folder / "new.cfg")),
        }
        created = take_turns(creates, ROUNDS)
        for domain in domains:
            domain.destroy()
    print(json.dumps({"list": listed, "create and destroy": created}))
    return 0


def create(host: Host, name: str) -> pyxen.Domain:
    """Create a domain that does nothing."""
    return host.create(PLAIN.replace(name=name), paused=True)


def virsh(file: Path) -> None:
    """Create a domain and destroy it."""
    run("virsh", "-c", LIBVIRT, "-q", "create", "--paused", str(file))
    run("virsh", "-c", LIBVIRT, "-q", "destroy", "new")


def xl(file: Path) -> None:
    """Create a domain and destroy it."""
    run("xl", "create", "-q", "-p", str(file))
    run("xl", "destroy", "new")


def bare_list(libvirt: Any, connection: Any) -> list[tuple[Any, ...]]:
    """List the domains with what `Host.list` tells of them and may change, as one would without pyxen.

    libvirt's Xen driver has no bulk statistics.
    """
    return [
        (domain.ID(), domain.name(), domain.UUIDString(), *domain.info())
        for domain in connection.listAllDomains(libvirt.VIR_CONNECT_LIST_DOMAINS_ACTIVE)
    ]


if __name__ == "__main__":
    sys.exit(main())
