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
from examples import (
    check_configs,
    console_log,
    lvm_backup,
    rolling_restart,
    rolling_upgrade,
    sandbox_farm,
    sandboxes,
    watch_events,
)
from pyxen import Disk, DomainConfig, NotEnoughMemory, ShutdownReason
from pyxen.distributed import Fleet
from pyxen.testing import FakeHost
from tests.unit.distributed.cluster import Cluster, cluster
from tests.waiting import until

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
        until(lambda: len(fake._machine._subscribers) > 1, "nobody watches")
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
    until(lambda: path.exists() and path.read_text().count("\n") > 1, "the log does not have two lines")
    assert following.is_alive()
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


class Rack:
    """Hosts with an inventory, which reboot when they are told to."""

    def __init__(self, inventory: Path, hosts: dict[str, FakeHost]) -> None:
        self.hosts = hosts
        self.path = str(inventory)
        inventory.write_text("".join(f'{name} = "{host.uri}"\n' for name, host in hosts.items()))
        self.rebooted: list[str] = []

    def reboot(self, uri: str) -> None:
        (name,) = (name for name, host in self.hosts.items() if host.uri == uri)
        assert len(self.hosts[name].list()) == 1, "guests would be lost"
        self.hosts[name].restart()
        self.rebooted.append(name)

    def guests(self) -> dict[str, list[str]]:
        return {name: sorted(str(guest.name) for guest in host.guests) for name, host in self.hosts.items()}


@pytest.fixture
def rack(tmp_path: Path) -> Iterator[Rack]:
    """Three hosts of 2 GiB, with two guests on the first and one on the second."""
    with (
        FakeHost(memory=2048, seed=1) as h1,
        FakeHost(memory=2048, seed=2) as h2,
        FakeHost(memory=2048, seed=3) as h3,
    ):
        h1.create(WEB.replace(memory=256))
        h1.create(WEB.replace(name="web2", memory=512))
        h2.create(WEB.replace(name="web3", memory=512))
        yield Rack(tmp_path / "hosts.toml", {"h1": h1, "h2": h2, "h3": h3})


def test_rolling_upgrade(rack: Rack, capsys: pytest.CaptureFixture[str]) -> None:
    before = rack.guests()
    rolling_upgrade.upgrade(rack.path, [], rack.reboot)
    assert rack.rebooted == ["h1", "h2", "h3"]
    assert rack.guests() == before == {"h1": ["web1", "web2"], "h2": ["web3"], "h3": []}
    said = capsys.readouterr().out
    assert said.index("web2: h1 -> h3") < said.index("web1: h1 -> h2")  # the largest first, to the roomiest host
    assert said.index("h1: Xen 4.20.0 -> 4.20.0") < said.index("web2: h3 -> h1")


def test_a_rolling_upgrade_of_one_host(rack: Rack) -> None:
    rolling_upgrade.upgrade(rack.path, ["h2"], rack.reboot)
    assert rack.rebooted == ["h2"]


def test_a_rolling_upgrade_without_room_reboots_nothing(rack: Rack) -> None:
    for name in ("h2", "h3"):
        rack.hosts[name].create(WEB.replace(name=f"large-{name}", memory=900))
    with pytest.raises(NotEnoughMemory, match="no other host has room"):
        rolling_upgrade.upgrade(rack.path, ["h1"], rack.reboot)
    assert rack.rebooted == []
    assert sorted(name for names in rack.guests().values() for name in names if name.startswith("web")) == [
        "web1",
        "web2",
        "web3",
    ]


def test_a_rolling_upgrade_that_was_stopped_is_begun_again(rack: Rack) -> None:
    rack.hosts["h2"].fail("receive_migration", pyxen.MigrationFailed("no"))
    with pytest.raises(pyxen.MigrationFailed):
        rolling_upgrade.upgrade(rack.path, [], rack.reboot)
    assert (rack.rebooted, rack.guests()["h3"]) == ([], ["web2"])
    rolling_upgrade.upgrade(rack.path, [], rack.reboot)
    assert rack.rebooted == ["h1", "h2", "h3"]
    assert sorted(name for names in rack.guests().values() for name in names) == ["web1", "web2", "web3"]


def test_a_rolling_upgrade_with_a_host_that_is_down(rack: Rack) -> None:
    rack.hosts["h3"].vanish()
    with pytest.raises(ExceptionGroup, match="1 of 3 hosts failed: h3"):
        rolling_upgrade.upgrade(rack.path, [], rack.reboot)
    assert rack.rebooted == []


def test_a_reboot_waits_until_the_host_was_away_and_answers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ssh = tmp_path / "ssh"
    ssh.write_text(f'#!/bin/sh\necho "$@" >> {tmp_path}/calls\nexit 255\n')
    ssh.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    monkeypatch.setattr(rolling_upgrade, "LOOK_SECONDS", 0.01)
    answers = iter([True, True, False, False, True])
    monkeypatch.setattr(rolling_upgrade, "answers", lambda _: next(answers))
    rolling_upgrade.reboot("xenlight+ssh://root@host1/")
    assert next(answers, None) is None
    assert (tmp_path / "calls").read_text() == "-o BatchMode=yes root@host1 systemctl reboot\n"
    monkeypatch.setattr(rolling_upgrade, "answers", lambda _: True)
    monkeypatch.setattr(rolling_upgrade, "REBOOT_SECONDS", 0.05)
    with pytest.raises(TimeoutError, match="has not gone down"):
        rolling_upgrade.reboot("xenlight+ssh://root@host1/")


def test_a_host_answers_or_not(fake: FakeHost) -> None:
    assert rolling_upgrade.answers(fake.uri)
    fake.vanish()
    assert not rolling_upgrade.answers(fake.uri)


async def _end_guests(hosts: Cluster) -> None:
    """Let each guest power off soon after its start."""
    while True:
        await asyncio.sleep(0.01)
        for host in hosts.hosts.values():
            if host._machine.lost is None:
                for info in host.list():
                    if info.domid and info.is_running and "--ready-" not in str(info.name):
                        host.guest(info.domid).power_off()


@pytest.mark.parametrize("dies", [False, True])
def test_sandbox_farm(monkeypatch: pytest.MonkeyPatch, dies: bool) -> None:
    monkeypatch.setattr(sandbox_farm, "BATCH", 5)

    async def main() -> dict[str, str]:
        async with cluster() as hosts:
            for name in ("h1", "h2", "h3"):
                await hosts.add(name, cpus=8, create=0.001)
            async with Fleet(hosts.client) as fleet, asyncio.TaskGroup() as group:
                ending = group.create_task(_end_guests(hosts))
                farming = group.create_task(sandbox_farm.run_all(fleet, WEB.replace(disks=()), 60))
                if dies:
                    await hosts.until(lambda: any(call.verb == "destroy" for call in hosts.hosts["h1"].calls))
                    await hosts.kill("h1")
                ends = await farming
                ending.cancel()
            assert set(map(tuple, hosts.names().values())) == {()}
            return ends

    ends = asyncio.run(asyncio.wait_for(main(), 120))
    assert ends == {f"web1-{number}": "done" for number in range(60)}
