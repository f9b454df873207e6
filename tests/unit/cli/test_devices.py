"""The commands for devices."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from pyxen import Disk, DomainConfig
from pyxen.testing import FakeHost
from tests.unit.cli.conftest import Run

Told = Callable[..., Any]
Done = Callable[..., str]


@pytest.mark.parametrize(
    "spec",
    [
        ["phy:/dev/vg0/data", "xvdb", "w"],
        ["phy:/dev/vg0/data,xvdb,w"],
        ["vdev=xvdb", "target=/dev/vg0/data"],
        ["target=/dev/vg0/data", "vdev=xvdb", "access=rw"],
    ],
)
def test_disks(host: FakeHost, done: Done, told: Told, spec: list[str]) -> None:
    attached = told("block-attach", "web1", *spec)
    assert attached.keys() == {"domid", "name", "uuid", "device"}
    assert host.domains["web1"].config().disks[1].target == "/dev/vg0/data"
    rows = [line.split() for line in done("block-list", "web1").splitlines()]
    assert rows[2] == ["xvdb", "0", "connected", "w", "raw", "/dev/vg0/data"]
    assert [disk["config"]["vdev"] for disk in told("block-list", "web1")] == ["xvda", "xvdb"]
    done("block-detach", "web1", "xvdb")
    assert [disk["config"]["vdev"] for disk in told("block-list", "web1")] == ["xvda"]


def test_vifs(host: FakeHost, done: Done, told: Told) -> None:
    assert "00:16:3e:0a:0b:0c" in done("network-attach", "web1", "mac=00:16:3e:0a:0b:0c", "bridge=xenbr1")
    assert [vif["bridge"] for vif in told("network-list", "web1")] == ["xenbr0", "xenbr1"]
    row = done("network-list", "web1").splitlines()[2].split()
    assert row[:6] == ["1", "0", "00:16:3e:0a:0b:0c", "connected", "vif1.1", "xenbr1"]
    done("network-detach", "web1", "00:16:3e:0a:0b:0c")
    done("network-detach", "web1", "0")
    assert host.domains["web1"].config().vifs == ()


@pytest.mark.parametrize("word", ["brigde=xenbr0", "type=viff"])
def test_a_word_that_xl_does_not_know_is_refused(host: FakeHost, run: Run, word: str) -> None:
    result = run("network-attach", "web1", word)
    assert result.exit_code == 2
    assert word.partition("=")[2] in result.stderr
    assert len(host.domains["web1"].config().vifs) == 1


DIGITS = "9" * 5000


@pytest.mark.parametrize(
    "arguments",
    [
        ["domid", DIGITS],
        ["mem-set", "web1", DIGITS],
        ["mem-set", "web1", "9" * 400 + "k"],
        ["network-detach", "web1", DIGITS],
        ["vtpm-detach", "web1", DIGITS],
        ["vcpu-pin", "web1", DIGITS, "0"],
        ["cpupool-destroy", DIGITS],
        ["sched-rtds", "-d", "web1", "-v", DIGITS],
    ],
    ids=lambda arguments: arguments[0],
)
def test_numbers_of_thousands_of_digits_are_refused(run: Run, arguments: list[str]) -> None:
    result = run(*arguments)
    assert isinstance(result.exception, SystemExit)
    assert result.exit_code in (1, 2, 3)
    assert result.stdout == ""


@pytest.mark.parametrize(
    ("name", "spec"), [("vtpm", "backend=Domain-0"), ("vkb", "backend-type=linux"), ("9pfs", "tag=a,path=/x")]
)
def test_kinds_that_are_alike(done: Done, told: Told, name: str, spec: str) -> None:
    if name == "9pfs":
        spec += ",security_model=none"
    done(f"{name}-attach", "web1", spec)
    assert len(told(f"{name}-list", "web1")) == 1
    devid = done(f"{name}-list", "web1").splitlines()[1].split()[0]
    done(f"{name}-detach", "web1", devid)
    assert told(f"{name}-list", "web1") == []


@pytest.mark.parametrize(
    ("arguments", "status"),
    [
        (["block-detach", "web1", "xvdz"], 3),
        (["block-attach", "web1", "phy:/dev/vg0/web1,xvda,w"], 1),
        (["block-attach", "web1", "xvdb"], 2),
        (["vtpm-detach", "web1", "first"], 2),
        (["cd-eject", "web1", "hdc"], 5),
    ],
)
def test_what_is_refused(run: Run, arguments: list[str], status: int) -> None:
    result = run(*arguments)
    assert (result.exit_code, result.stdout) == (status, "")
    assert result.stderr.startswith("error: ")


def test_discs(host: FakeHost, done: Done) -> None:
    drive = Disk("/srv/a.iso", vdev="hdc", cdrom=True)
    host.create(DomainConfig("hvm1", type="hvm", memory=64, disks=[drive]))
    done("cd-insert", "hvm1", "hdc", "/srv/b.iso")
    assert host.domains["hvm1"].config().disks[0].target == "/srv/b.iso"
    done("cd-eject", "hvm1", "hdc")
    assert host.domains["hvm1"].config().disks[0].target is None


def test_channels(done: Done, told: Told) -> None:
    assert done("channel-list", "web1").split() == ["Idx", "Name", "Connection", "Path"]
    assert told("channel-list", "web1") == []


CARD = ["CARD, short-name=Main, sample-formats=s16_le;s8;u32_be", "PCM, name=Main"]
STREAMS = ["STREAM, unique-id=0, type=p", "STREAM, unique-id=1, type=c, channels-max=2"]


@pytest.mark.parametrize(
    "spec",
    [
        ["CARD,short-name=Main"],
        ["CARD, short-name=Main"],
        [*CARD, *STREAMS],
        ['["CARD, short-name=Main", "PCM, name=Main"]'],
    ],
)
def test_sound_cards(host: FakeHost, done: Done, told: Told, spec: list[str]) -> None:
    told("vsnd-attach", "web1", *spec)
    (card,) = host.domains["web1"].config().vsnds
    assert card.short_name == "Main"
    if len(spec) > 1:
        assert [(pcm.name, [stream.unique_id for stream in pcm.streams]) for pcm in card.pcms] == [("Main", ["0", "1"])]
    assert len(told("vsnd-list", "web1")) == 1
    done("vsnd-detach", "web1", "0")


@pytest.mark.parametrize("spec", [["CARD, colour=red"], ["LOUD"], ['["CARD"'], ["CARD, short-name=\0"]])
def test_what_is_no_sound_card(run: Run, spec: list[str]) -> None:
    result = run("vsnd-attach", "web1", *spec)
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.startswith("error: ")
    assert "vsnd: " in result.stderr


def test_a_vtpm_by_its_uuid(host: FakeHost, done: Done, run: Run) -> None:
    uuid = "6b0a4a0c-5e0a-4d2c-9d51-8a8a4b1d4c11"
    done("vtpm-attach", "web1", "backend=Domain-0", f"uuid={uuid}")
    other = run("vtpm-detach", "web1", uuid.replace("6", "7"))
    assert (other.exit_code, other.stdout) == (3, "")
    done("vtpm-detach", "web1", uuid)
    assert host.domains["web1"].config().vtpms == ()
    assert run("vkb-detach", "web1", uuid).exit_code == 2
