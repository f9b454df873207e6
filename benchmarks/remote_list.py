"""What ``list()`` costs over a link: ``python -m benchmarks.remote_list`` from the top of the checkout.

A simulated host of 300 domains, in this process, and behind `pyxen serve` in another: one round trip over two pipes, to
which ssh adds the way and its cipher.
"""

from __future__ import annotations

import sys
from collections.abc import Callable

import pyxen
from benchmarks.measure import clocked
from pyxen import DomainConfig, Host
from pyxen._common.piped_program import PipedProgram
from pyxen.backends.remote.backend import RemoteBackend
from pyxen.backends.remote.client import Client
from pyxen.backends.remote.link import Link
from pyxen.backends.remote.messages import FromServer
from pyxen.errors import ConnectFailed

DOMAINS = 300
ROUNDS = 200
URI = "memory:///farm?memory=100000"


class Program:
    """The server's process."""

    def __init__(self) -> None:
        self._program = PipedProgram(
            [sys.executable, "-m", "pyxen", "--uri", URI, "serve", "--stdio"], no_pipes=ConnectFailed
        )
        self.link = Link(*self._program.detach(), FromServer)

    def why(self, reason: str) -> str:
        """Return why it has ended."""
        return reason

    def close(self) -> None:
        """Let it end."""
        self._program.hang_up()


def fill(host: Host) -> None:
    """Create the domains."""
    for number in range(DOMAINS):
        host.create(DomainConfig(f"web{number}", type="pvh", kernel="/boot/vmlinuz", memory=8), paused=True)


def best_ms(work: Callable[[], object]) -> float:
    """Return the milliseconds of the best round."""
    return min(clocked(work)[0] for _ in range(ROUNDS)) * 1000


def main() -> None:
    """Measure, and print a table."""
    program = Program()
    client = Client(program.link, program, "there")
    with pyxen.connect(URI) as here, Host(RemoteBackend(client, "xenlight+ssh://there/")) as there:
        for host in (here, there):
            fill(host)
        before = client.round_trips
        assert len(there.list()) == DOMAINS + 1
        trips = client.round_trips - before
        local, remote = best_ms(here.list), best_ms(there.list)
        few = best_ms(lambda: there.domains.get("web0"))
    print(f"list() of {DOMAINS} domains: {local:.2f} ms here, {remote:.2f} ms over a link, {trips} round trip")
    print(f"one domain by its name: {few:.2f} ms over a link")


if __name__ == "__main__":
    main()
