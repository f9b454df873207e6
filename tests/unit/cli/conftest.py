"""A host in memory for the commands, and the command run on it."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import typer.main
from typer.testing import CliRunner, Result

from pyxen import Disk, DomainConfig, Vif
from pyxen.cli.app import app
from pyxen.testing import FakeHost

Run = Callable[..., Result]

WEB = DomainConfig(
    "web1",
    type="pvh",
    kernel="/boot/vmlinuz",
    memory=512,
    maxmem=1024,
    vcpus=2,
    disks=[Disk("/dev/vg0/web1", vdev="xvda")],
    vifs=[Vif(bridge="xenbr0", mac="00:16:3e:01:02:03")],
)


_built = functools.cache(typer.main.get_command)


@pytest.fixture(autouse=True)
def built_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let typer's runner assemble the commands once for all tests, and not for each call."""
    monkeypatch.setattr("typer.testing._get_command", _built)


@pytest.fixture
def host() -> Iterator[FakeHost]:
    """The host that every URI opens, with the guest web1, whose domid is 1."""
    with FakeHost() as host, host.standing_in():
        host.create(WEB)
        host.advance(60)  # it has booted
        yield host


@pytest.fixture
def run(host: FakeHost) -> Run:  # noqa: ARG001 (it stands in for every host)
    """Return a function that runs the command with arguments, and gives its result."""
    return lambda *arguments, **options: CliRunner().invoke(app, arguments, **options)


@pytest.fixture
def done(run: Run) -> Callable[..., str]:
    """Return a function that runs the command, which must succeed, and gives what it printed."""

    def invoke(*arguments: str, **options: Any) -> str:
        result = run(*arguments, **options)
        assert (result.exit_code, result.stderr) == (0, ""), result.output
        return result.stdout

    return invoke


@pytest.fixture
def told(done: Callable[..., str]) -> Callable[..., Any]:
    """Return a function that runs the command with ``--json``, and gives its document."""
    return lambda *arguments, **options: json.loads(done(*arguments, "--json", **options))


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """The configuration of a guest web2, as a file."""
    path = tmp_path / "web2.cfg"
    path.write_text('name = "web2"\ntype = "pvh"\nkernel = "/boot/vmlinuz"\nmemory = 64\n')
    return path
