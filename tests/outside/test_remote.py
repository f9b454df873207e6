"""A host over ssh, seen from outside of it: the whole interface, and the ways in which ssh refuses."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

import pyxen
from lab import Lab
from pyxen import ConnectFailed, DomainCreated, DomainState, Host, NotPrivileged
from tests.backends.hosts import boot
from tests.backends.serving import ssh_with
from tests.outside.guests import LINUX, TINY

CONFIG: Final = """
Host changed
    UserKnownHostsFile {folder}/changed
Host unknown
    UserKnownHostsFile /dev/null
Host down
    Port 1
Host readonly
    IdentityFile {folder}/readonly
Host refused
    IdentityFile {folder}/other
Host lab changed unknown
    IdentityFile {folder}/key
Host *
    HostName 127.0.0.1
    User root
    Port {port}
    IdentitiesOnly yes
    StrictHostKeyChecking yes
    ConnectTimeout 20
    UserKnownHostsFile {folder}/known
    GlobalKnownHostsFile /dev/null
"""

pytestmark = pytest.mark.timeout(3600)


@pytest.fixture(scope="module")
def dom0() -> Iterator[Lab]:
    """A host."""
    with Lab() as dom0:
        dom0.run(["lab-sshd"], check=True, timeout=60)
        yield dom0


@pytest.fixture(scope="module")
def ssh(dom0: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Have ssh know that host by several names, with this test's own settings."""
    folder = tmp_path_factory.mktemp("ssh")
    port = dom0.forward(22)
    dom0.get("/root/.ssh/id_ed25519", folder / "key")
    (folder / "key").chmod(0o600)
    for name in ("readonly", "other"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", folder / name], check=True, timeout=60)
    own = dom0.run(["cat", "/etc/ssh/ssh_host_ed25519_key.pub"], check=True, timeout=60).stdout.split()
    wrong = (folder / "other.pub").read_text().split()
    (folder / "known").write_text(f"[127.0.0.1]:{port} {own[0]} {own[1]}\n")
    (folder / "changed").write_text(f"[127.0.0.1]:{port} {wrong[0]} {wrong[1]}\n")
    forced = f'command="pyxen serve --stdio --read-only",restrict {(folder / "readonly.pub").read_text().strip()}'
    dom0.run(["sh", "-c", f"echo '{forced}' >>/root/.ssh/authorized_keys"], check=True, timeout=60)
    with ssh_with(folder, CONFIG.format(folder=folder, port=port)):
        yield


def alive(host: Host) -> list[str | None]:
    """Return the names of the domains that Xen is not taking apart."""
    return [info.name for info in host.list() if info.state is not DomainState.DYING]


@pytest.fixture
def host(ssh: None) -> Iterator[Host]:  # noqa: ARG001 (it says where ssh leads)
    """The host, over ssh."""
    with pyxen.connect("xenlight+ssh://lab/") as host:
        yield host


@pytest.mark.long
def test_the_whole_life(host: Host, tmp_path: Path) -> None:
    assert host.info().xen_version.startswith("4.")
    assert alive(host) == ["Domain-0"]
    with host.events(DomainCreated) as events:
        domain = boot(host, LINUX)
        event = events.get(timeout=30)
        assert event is not None
        assert event.uuid == domain.uuid
    with domain.console() as console:
        console.write(b"echo $((6*7))\n")
        seen, end = b"", time.monotonic() + 60
        while b"42" not in seen and time.monotonic() < end:
            seen += os.read(console.fileno(), 4096)
        assert b"42" in seen
    saved = tmp_path / "web1"
    with saved.open("wb+") as file:
        domain.save(file, timeout=1200)
        assert saved.stat().st_size > 90 << 20
        assert alive(host) == ["Domain-0"]
        file.seek(0)
        back = host.restore(file, timeout=1200)
    assert back.uuid == domain.uuid
    assert back.info().is_running
    assert host.xenstore.read(f"/local/domain/{back.domid}/name") == "web1"
    back.destroy()
    assert alive(host) == ["Domain-0"]


@pytest.mark.long
def test_a_save_whose_reader_goes_away(host: Host) -> None:
    domain = boot(host, LINUX)
    reader, writer = os.pipe()
    saving = domain.begin.save(writer, timeout=1200)
    os.close(writer)
    got = 0
    while got < 50 << 20:
        got += len(os.read(reader, 1 << 16))
    os.close(reader)
    with pytest.raises(pyxen.OperationFailed, match="cannot write to the descriptor: Broken pipe; the domain goes on"):
        saving.result(timeout=120)
    before = domain.info().cpu_time_ns
    time.sleep(3)
    assert domain.info().is_running
    assert domain.info().cpu_time_ns >= before
    domain.destroy()


def test_a_lost_link(dom0: Lab, host: Host) -> None:
    """What was going on is undone there, and calls fail here."""
    kept = host.create(TINY, paused=True, timeout=60)
    waiting = kept.begin.wait("shutdown", timeout=300)
    creating = host.begin.create(LINUX, timeout=300)
    dom0.run(["pkill", "-f", "sshd.*notty"], timeout=60)
    for operation in (waiting, creating):
        with pytest.raises(ConnectFailed, match="the connection to lab is lost"):
            operation.result(timeout=60)
    began = time.monotonic()
    with pytest.raises(ConnectFailed, match="connect again"):
        host.list()
    assert time.monotonic() - began < 1
    with pyxen.connect("xenlight+ssh://lab/") as again:
        end = time.monotonic() + 60
        while len(alive(again)) > 2 and time.monotonic() < end:
            time.sleep(0.5)
        assert alive(again) == ["Domain-0", "tiny1"]
        again.domains["tiny1"].destroy()
    servers = dom0.run(["pgrep", "-fc", "pyxen serve"], timeout=60).stdout.strip()
    assert servers == "0"


def test_a_key_that_only_looks(host: Host) -> None:
    domain = host.create(TINY, paused=True, timeout=60)
    with pyxen.connect("xenlight+ssh://readonly/") as looking:
        assert alive(looking) == ["Domain-0", "tiny1"]
        with pytest.raises(NotPrivileged, match="only looks"):
            looking.domains["tiny1"].destroy()
    domain.destroy()


@pytest.mark.usefixtures("ssh")
@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("refused", "no key is accepted there.*Permission denied"),
        ("changed", "the key of the host has changed.*ssh-keygen -R"),
        ("unknown", "the host is not known yet"),
        ("down", "no ssh server listens there"),
    ],
)
def test_ssh_refuses(name: str, words: str) -> None:
    with pytest.raises(ConnectFailed, match=f"(?s){words}"):
        pyxen.connect(f"xenlight+ssh://{name}/")


@pytest.mark.usefixtures("ssh")
def test_no_pyxen_there() -> None:
    with pytest.raises(ConnectFailed, match=r"(?s)not installed there.*pip install.*pyxen\[cli,remote\]"):
        pyxen.connect("xenlight+ssh://lab/?command=/nowhere/pyxen")
