"""The examples run, on a host in memory; tests/xen/test_examples.py runs the demonstration on Xen."""

from __future__ import annotations

import asyncio
import json
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

import pyxen
from examples import check_configs, console_log, lvm_backup, rolling_restart, sandboxes, watch_events
from pyxen import Disk, DomainConfig, ShutdownReason
from pyxen.testing import FakeHost

ROOT = Path(__file__).resolve().parents[2]

WEB = DomainConfig(
    "web1",
    type="pvh",
    kernel="/boot/vmlinuz",
    memory=128,
    disks=[Disk("/dev/vg0/web1", vdev="xvda"), Disk("/dev/vg0/base", vdev="xvdb", readonly=True)],
)


@pytest.fixture
def fake() -> Iterator[FakeHost]:
    with FakeHost() as fake, fake.standing_in():
        yield fake


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A file with a configuration."""
    path = tmp_path / "web1.cfg"
    path.write_text(pyxen.xlcfg.dumps(WEB.replace(disks=())))
    return path


def test_every_example_is_in_the_gallery() -> None:
    gallery = (ROOT / "docs" / "examples.md").read_text()
    examples = sorted(path.name for path in (ROOT / "examples").glob("*.py"))
    assert [name for name in examples if f"../examples/{name}" not in gallery] == []
    assert {name.removesuffix(".py") for name in examples if name != "demo.py"} <= globals().keys()


def test_watch_events(fake: FakeHost, capsys: pytest.CaptureFixture[str]) -> None:
    fake.create(WEB)
    with fake.events(pyxen.DomainShutdown) as told:
        watching = threading.Thread(target=watch_events.watch, args=[fake])
        watching.start()
        while not (fake._machine._subscribers and len(fake._machine._subscribers) > 1):
            threading.Event().wait(0.001)
        fake.guest("web1").crash()
        assert told.get(timeout=60) is not None
        fake.close()
        watching.join(60)
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    (shutdown,) = (line for line in lines if line["event"] == "DomainShutdown")
    assert (shutdown["name"], shutdown["reason"]) == ("web1", "crash")


def test_console_log(fake: FakeHost, tmp_path: Path) -> None:
    fake.create(WEB)
    fake.guest("web1").say(b"login: root\r\nback\x1b[2J\r\n")
    fake.guest("web1").end(ShutdownReason.POWEROFF, after=1)
    path = tmp_path / "log"
    following = threading.Thread(target=console_log.main, args=["web1", str(path)])
    following.start()
    while not path.exists() or path.read_text().count("\n") < 2:
        assert following.is_alive()
        threading.Event().wait(0.001)
    fake.domains["web1"].destroy()
    following.join(60)
    assert not following.is_alive()
    first, second = path.read_text().splitlines()
    assert first.endswith("+00:00 login: root")
    assert second.endswith(r"back\x1b[2J")


@pytest.mark.parametrize("status", [0, 5])
def test_lvm_backup(
    fake: FakeHost, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, status: int, capsys: pytest.CaptureFixture[str]
) -> None:
    fake.create(WEB)
    program = tmp_path / "lvcreate"
    program.write_text(f'#!/bin/sh\necho "$@" >> {tmp_path}/calls\nexit {status}\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    if status:
        with pytest.raises(subprocess.CalledProcessError):
            lvm_backup.main("web1")
    else:
        lvm_backup.main("web1")
        assert capsys.readouterr().out.startswith("web1-2")
    (call,) = (tmp_path / "calls").read_text().splitlines()
    assert call.endswith("/dev/vg0/web1")
    assert fake.domains["web1"].info().is_running
    assert [call.verb for call in fake.calls if call.verb in ("pause", "unpause")] == ["pause", "unpause"]


def test_sandboxes(fake: FakeHost, file: Path) -> None:
    seen: list[int] = []

    async def end_them(xen: pyxen.aio.Host) -> None:
        async with xen.events(pyxen.DomainCreated) as events:
            async for event in events:
                seen.append(len(await xen.list()) - 1)
                fake.guest(str(event.name)).power_off()

    async def main() -> dict[str, str]:
        async with fake.aio() as xen, asyncio.TaskGroup() as group:
            ending = group.create_task(end_them(xen))
            ends = await sandboxes.run_all(xen, pyxen.xlcfg.load(file), 6)
            ending.cancel()
            return ends

    assert asyncio.run(main()) == {f"web1-{number}": "poweroff" for number in range(6)}
    assert max(seen) <= sandboxes.AT_ONCE
    assert [info.domid for info in fake.list()] == [0]


def test_a_sandbox_whose_time_is_up(
    file: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], fake: FakeHost
) -> None:
    monkeypatch.setattr(sandboxes, "SECONDS", 0.01)
    asyncio.run(sandboxes.main(str(file), "1"))
    assert capsys.readouterr().out == "web1-0: out of time\n"
    assert [info.domid for info in fake.list()] == [0]


def test_rolling_restart(fake: FakeHost, file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rolling_restart.main([str(file)])
    before = fake.domains["web1"]
    rolling_restart.main([str(file)])
    assert fake.domains["web1"] != before
    assert capsys.readouterr().out.splitlines() == [f"web1: restarted as domain {domid}" for domid in (1, 2)]
    fake.missing.add("/boot/vmlinuz")
    with pytest.raises(pyxen.FileMissing):
        rolling_restart.main([str(file)])


def test_check_configs(tmp_path: Path, file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert check_configs.main(str(file)) == 0
    wrong = tmp_path / "wrong.cfg"
    wrong.write_text('name = "a"\ntype = "hvm"\nmemory = 0512\nmaxmen = 1024\n')
    assert check_configs.main(str(file), str(wrong)) == 1
    said = capsys.readouterr().out
    assert "[octal]" in said
    assert "did you mean maxmem?" in said
