"""A domain that migrates between two hosts of libvirt's, both seen from outside."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

import pyxen
from lab import Lab
from pyxen import ConnectFailed, Host
from tests.backends.hosts import boot
from tests.outside.guests import LINUX

LIBVIRT, SSH, DATA = 16509, 22, 49152  # ports; the last is the first that libvirt receives migrations on


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


@contextmanager
def way(source: Lab, destination: Lab, folder: Path) -> Iterator[None]:
    """Let what is sent to a port of the source's own loopback arrive at the destination: the labs share no network."""
    key, port = folder / "key", source.forward(SSH)
    source.run(["lab-sshd"], check=True, timeout=60)
    source.get("/root/.ssh/id_ed25519", key)
    key.chmod(0o600)
    options = ["-i", str(key), "-p", str(port), "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null"]
    forward = f"127.0.0.1:{DATA}:127.0.0.1:{destination.forward(DATA)}"
    ssh = subprocess.Popen(
        ["ssh", "-N", "-q", *options, "-o", "ExitOnForwardFailure=yes", "-R", forward, "root@127.0.0.1"]
    )
    try:
        yield
    finally:
        ssh.terminate()
        ssh.wait()


def names(host: Host) -> list[str | None]:
    return [info.name for info in host.list()]


def test_from_one_host_to_another(tmp_path: Path) -> None:
    with ExitStack() as stack:
        # The source finds the destination's name at the end of its tunnel.
        source = stack.enter_context(host("one", 1, "127.0.0.1 two"))
        destination = stack.enter_context(host("two", 2, "10.0.2.15 two"))
        stack.enter_context(way(source, destination, tmp_path))
        uris = [f"xen+tcp://127.0.0.1:{dom0.forward(LIBVIRT)}/system" for dom0 in (source, destination)]
        here, there = (stack.enter_context(pyxen.connect(uri)) for uri in uris)
        domain = boot(here, LINUX)
        with pytest.raises(ConnectFailed):
            domain.migrate("xen+tcp://127.0.0.1:1/system")
        assert domain in here.domains
        domain.migrate(uris[1], timeout=300)
        assert names(here) == ["Domain-0"]
        moved = there.domains["web1"]
        assert moved.uuid == domain.uuid
        before = moved.info().cpu_time_ns
        time.sleep(2)
        assert moved.info().cpu_time_ns > before
        moved.shutdown(timeout=60)
        assert names(there) == ["Domain-0"]
