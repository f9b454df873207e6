"""``pyxen serve --socket`` on a real host: a program that is not root, and what it may do there."""

from __future__ import annotations

import grp
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import pytest

import pyxen
from pyxen import Host
from tests.xen.support import MakeConfig, wait_until, xl

GROUP: Final = "daemon"

PROGRAM: Final = """
import os, pwd, sys, pyxen
import pyxen.backends.remote.local, pyxen.backends.remote.ssh
pyxen.NotPrivileged
with pyxen.connect("memory:///") as host:  # loads what is needed: root alone may read where it is
    made = host.create(pyxen.DomainConfig("a", type="pvh", kernel="/a", memory=8))
    host.domains["a"].pause()
    made.begin.wait("shutdown").cancel()
    made.destroy()
nobody = pwd.getpwnam("nobody")
os.setgroups([int(group) for group in sys.argv[2:]])
os.setresgid(*[nobody.pw_gid] * 3)
os.setresuid(*[nobody.pw_uid] * 3)
with pyxen.connect(sys.argv[1]) as host:
    names = [info.name for info in host.list()]
    print(names)
    if "shown" in names:
        host.domains["shown"].pause()
        try:
            host.domains["shown"].destroy()
        except pyxen.NotPrivileged as error:
            print(error)
        waiting = host.domains["shown"].begin.wait("shutdown")
        print("waits", flush=True)
        sys.stdin.readline()
"""


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that other users may look into."""
    with TemporaryDirectory(dir="/tmp") as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


@pytest.fixture
def server(folder: Path) -> Iterator[subprocess.Popen[str]]:
    """The server, which runs as root."""
    settings = folder / "serve.toml"
    settings.write_text(f'group = "{GROUP}"\nverbs = ["read-only", "pause"]\n')
    command = [sys.executable, "-m", "pyxen", "serve", "--socket", str(folder / "s"), "--config", str(settings)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as found:
        wait_until(lambda: (folder / "s").is_socket() and (folder / "s").stat().st_mode & 0o060 == 0o060)
        yield found
        found.kill()


def begun(uri: str, groups: list[int]) -> subprocess.Popen[str]:
    """Run the program as the user nobody, in some groups."""
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM, uri, *map(str, groups)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        text=True,
    )


def test_a_program_without_root(host: Host, tiny: MakeConfig, folder: Path, server: subprocess.Popen[str]) -> None:
    """It sees the real domains, and does what the file says; SIGTERM ends its link, and the domain lives on."""
    uri = f"xenlight+unix://{folder}/s"
    domain = host.create(tiny(name="shown"), timeout=60)
    with begun(uri, []) as stranger:
        assert (
            "this user may not connect: only root and members of group daemon may"
            in stranger.communicate(timeout=120)[0]
        )
    with begun(uri, [grp.getgrnam(GROUP).gr_gid]) as member:
        assert member.stdout is not None
        assert "'shown'" in member.stdout.readline()
        assert "destroy: this way to" in member.stdout.readline()
        assert member.stdout.readline() == "waits\n"
        assert domain.info().state is pyxen.DomainState.PAUSED
        server.terminate()
        assert server.wait(timeout=120) == 0
        member.communicate("\n", timeout=120)
    assert not (folder / "s").exists()
    assert "shown" in xl("list")
    domain.destroy()
