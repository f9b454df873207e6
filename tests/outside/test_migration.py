"""Domains that migrate between two hosts of libvirt's, both seen from outside."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

import pyxen
from lab import Lab
from pyxen import ConnectFailed, Domain, Host, LibvirtJob, UnsupportedFeature
from tests.backends.hosts import boot
from tests.backends.support import wait_until
from tests.outside.guests import LINUX

LIBVIRT, SSH, DATA = 16509, 22, 49152  # ports; the last is the first that libvirt receives migrations on
NEXT = 16510
"""The port of the source's own loopback that leads to the destination's libvirt."""
AS_THE_SOURCE_SEES_IT = f"xen+tcp://two:{NEXT}/system"


@contextmanager
def host(name: str, number: int, addresses: str) -> Iterator[Lab]:
    """Have a host that libvirt can tell from another one, though both go on from the same snapshot."""
    with Lab() as dom0:
        config = f'host_uuid = "6b1f0d6e-0000-4000-8000-00000000000{number}"'
        for command in (
            f"hostname {name}",
            f"echo '{addresses}' >>/etc/hosts",
            f"echo '{config}' >>/etc/libvirt/libvirtd.conf",
            "lab-libvirtd",
        ):
            dom0.run(["sh", "-c", command], check=True, timeout=60)
        yield dom0


@dataclass
class Pair:
    """Two hosts.

    Attributes:
        here: The source, seen from outside.
        there: The destination.
        uri: The destination's URI, as it is seen from outside.
    """

    source: Lab
    destination: Lab
    folder: Path
    here: Host
    there: Host
    uri: str

    @contextmanager
    def way(self, *ports: tuple[int, int]) -> Iterator[None]:
        """Let ports of the source's own loopback lead to ports of the destination: the labs share no network."""
        key = self.folder / "key"
        self.source.run(["lab-sshd"], check=True, timeout=60)
        self.source.get("/root/.ssh/id_ed25519", key)
        key.chmod(0o600)
        control = ["-o", f"ControlPath={self.folder / 'way'}"]
        options = ["-i", str(key), "-p", str(self.source.forward(SSH)), "-o", "ExitOnForwardFailure=yes"]
        options += ["-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null"]
        for near, far in ports:
            options += ["-R", f"127.0.0.1:{near}:127.0.0.1:{self.destination.forward(far)}"]
        # It goes into the background when the ports lead there.
        begin, end = ["ssh", "-fNMq", *control, *options], ["ssh", "-q", *control, "-O", "exit"]
        subprocess.run([*begin, "root@127.0.0.1"], check=True, stdin=subprocess.DEVNULL, timeout=60)
        try:
            yield
        finally:
            subprocess.run([*end, "root@127.0.0.1"], check=True, timeout=60)


@pytest.fixture(scope="module")
def pair() -> Iterator[Pair]:
    """Two hosts; the source finds the destination's name at the end of its tunnels."""
    with ExitStack() as stack:
        source = stack.enter_context(host("one", 1, "127.0.0.1 two"))
        destination = stack.enter_context(host("two", 2, "10.0.2.15 two"))
        folder = Path(stack.enter_context(TemporaryDirectory()))
        uris = [f"xen+tcp://127.0.0.1:{dom0.forward(LIBVIRT)}/system" for dom0 in (source, destination)]
        here, there = (stack.enter_context(pyxen.connect(uri)) for uri in uris)
        yield Pair(source, destination, folder, here, there, uris[1])


def names(host: Host) -> list[str | None]:
    return [info.name for info in host.list()]


def goes_on_there(pair: Pair, domain: Domain) -> None:
    """Check that a domain has moved, and that its guest does what it is asked for."""
    assert names(pair.here) == ["Domain-0"]
    moved = pair.there.domains["web1"]
    assert moved.uuid == domain.uuid
    before = moved.info().cpu_time_ns
    time.sleep(2)
    assert moved.info().cpu_time_ns > before
    moved.shutdown(timeout=60)
    assert names(pair.there) == ["Domain-0"]


def test_from_one_host_to_another(pair: Pair) -> None:
    domain = boot(pair.here, LINUX)
    with pytest.raises(ConnectFailed):
        domain.migrate("xen+tcp://127.0.0.1:1/system")
    assert domain in pair.here.domains
    with pair.way((DATA, DATA)):
        domain.migrate(pair.uri, timeout=300)
    goes_on_there(pair, domain)


@pytest.mark.long
@pytest.mark.timeout(600)  # two machines are emulated at once
@pytest.mark.parametrize("tunnelled", [True, False])
def test_from_daemon_to_daemon(pair: Pair, *, tunnelled: bool) -> None:
    """Only the source is asked; a tunnelled migration needs no way but that of the daemons' own connection."""
    domain = boot(pair.here, LINUX)
    on = pair.here.libvirt
    with pytest.raises(ConnectFailed, match=f"two:{NEXT}"):  # it is the source that cannot reach it
        on.migrate(domain, AS_THE_SOURCE_SEES_IT, tunnelled=tunnelled, timeout=60)
    assert on.job(domain) is None
    ports = [(NEXT, LIBVIRT), *([] if tunnelled else [(DATA, DATA)])]
    with pair.way(*ports), ThreadPoolExecutor() as pool:
        migration = pool.submit(on.migrate, domain, AS_THE_SOURCE_SEES_IT, tunnelled=tunnelled, timeout=300)
        job = under_way(pair.here, domain)
        wait_until(lambda: under_way(pair.here, domain).elapsed_ms > job.elapsed_ms)
        with pytest.raises(UnsupportedFeature, match="xenlight:///"):
            on.abort_job(domain)
        migration.result(300)
    goes_on_there(pair, domain)


def under_way(host: Host, domain: Domain) -> LibvirtJob:
    """Wait until libvirt is doing something with a domain, and return what."""
    end = time.monotonic() + 60
    while (job := host.libvirt.job(domain)) is None:
        assert time.monotonic() < end, "libvirt does nothing with it"
        time.sleep(0.05)
    return job
