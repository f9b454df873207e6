"""A console for a domain that has none: as for those that Xen makes when the host starts."""

from __future__ import annotations

import os
import re
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pyxen import DeviceExists, Domain, DomainNotFound, Feature, Host, InvalidArgument, NotFound, UnsupportedFeature
from tests.xen.support import MakeConfig, wait_until

PID_FILE = Path("/run/xenconsoled.pid")


def entries(domain: Domain) -> dict[str, str]:
    """Return what xenstore has of a guest's console, values and rights; any terminal is as good as another."""
    listing = subprocess.run(
        ["xenstore-ls", "-f", "-p"], check=True, capture_output=True, text=True, timeout=120
    ).stdout
    found = dict(line.split(" = ", 1) for line in listing.splitlines())
    return {path: re.sub(r"/dev/pts/\d+", "TTY", value) for path, value in found.items() if path.startswith(of(domain))}


def of(domain: Domain) -> tuple[str, ...]:
    """Return where xenstore has a guest's console."""
    return (
        f"/local/domain/{domain.domid}/console",
        f"/local/domain/0/backend/console/{domain.domid}",
        f"/libxl/{domain.domid}/device/console",
    )


def has_terminal(domain: Domain) -> bool:
    """Tell whether xenconsoled has told the terminal of a guest's console."""
    return any("TTY" in value for value in entries(domain).values())


def stop_xenconsoled() -> list[bytes]:
    """End xenconsoled, and return the command that begins it."""
    pid = int(PID_FILE.read_text())
    command = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")[:-1]
    fd = os.pidfd_open(pid)
    os.kill(pid, signal.SIGTERM)
    wait_until(lambda: not Path(f"/proc/{pid}").exists())
    os.close(fd)
    return command


@pytest.fixture
def without_console(host: Host, tiny: MakeConfig) -> Iterator[Callable[[str], tuple[Domain, dict[str, str]]]]:
    """Make a domain of whose console neither xenstore nor xenconsoled knows; with it comes what xenstore had."""

    def make(guest: str) -> tuple[Domain, dict[str, str]]:
        domain = host.create(tiny(guest))
        wait_until(lambda: has_terminal(domain))
        had = entries(domain)
        command = stop_xenconsoled()
        for path in of(domain):
            subprocess.run(["xenstore-rm", path], check=True, timeout=120)
        subprocess.run(command, check=True, timeout=120)
        return domain, had

    yield make
    for domain in host.domains:
        if domain.domid:
            domain.destroy()


def number(had: dict[str, str], name: str) -> int:
    """Return a number that xenstore had of a console."""
    (value,) = [value for path, value in had.items() if path.endswith(f"/console/{name}")]
    return int(value.split('"')[1])


@pytest.mark.parametrize("guest", ["pvh", "pv"])
def test_a_console_comes(
    host: Host, without_console: Callable[[str], tuple[Domain, dict[str, str]]], guest: str
) -> None:
    if not host.supports(Feature.ADD_CONSOLE):
        with pytest.raises(UnsupportedFeature, match=r"Xen 4\.18"):
            host.domains[0].add_console()
        return
    domain, had = without_console(guest)
    assert not entries(domain)
    with pytest.raises(NotFound):
        domain.console()
    with pytest.raises(DomainNotFound, match="no domain 4242"):
        domain.add_console(backend_domid=4242)
    with pytest.raises(InvalidArgument, match="port=0"):
        domain.add_console(port=0, gfn=1)
    assert not entries(domain)
    if guest == "pv":
        with pytest.raises(InvalidArgument, match="say port and gfn"):
            domain.add_console()
        domain.add_console(port=number(had, "port"), gfn=number(had, "ring-ref"))
    else:
        domain.add_console()
    wait_until(lambda: has_terminal(domain))
    assert entries(domain) == had
    domain.console().close()
    with pytest.raises(DeviceExists):
        domain.add_console()
