"""Memory that a simulated dom0 gives up for a new domain."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from pyxen import DomainConfig, Host, MemoryTargetChanged, NotEnoughMemory
from pyxen._common.autoballoon import is_automatic
from pyxen.testing import FakeHost


def config(name: str = "web1", memory: int = 256) -> DomainConfig:
    return DomainConfig(name, type="pvh", kernel="/boot/vmlinuz", memory=memory)


def target_mib(host: Host) -> float:
    return (host.domains[0].memory().target_kib or 0) / 1024


@pytest.fixture
def small() -> Iterator[FakeHost]:
    """A host of 600 MiB, of which dom0 has 512."""
    with FakeHost(memory=600, time="virtual") as small:
        yield small


def test_dom0_gives_up_what_is_short(small: FakeHost) -> None:
    with small.events(MemoryTargetChanged) as events:
        web = small.create(config(), autoballoon=True)
        event = events.get(5)
        assert isinstance(event, MemoryTargetChanged)
        assert event.domid == 0
    assert target_mib(small) == 600 - 260  # with what libxl keeps for its page tables and itself
    assert web.info().memory_kib == 256 * 1024
    assert small.info().free_memory_kib == 2048  # that was needed only to build it


def test_dom0_keeps_what_the_command_line_gives_it(small: FakeHost) -> None:
    for autoballoon in (None, False):
        with pytest.raises(NotEnoughMemory, match="88 MiB free"):
            small.create(config(), autoballoon=autoballoon)
    assert target_mib(small) == 512


def test_several_at_once_share_it(small: FakeHost) -> None:
    creating = [small.begin.create(config(f"web{n}", 100), autoballoon=True) for n in range(3)]
    small.advance(60)
    assert [one.result(5).info().memory_kib for one in creating] == [100 * 1024] * 3
    assert 600 - 3 * 104 <= target_mib(small) <= 600 - 3 * 100  # one that is made needs less than it may need before


def test_dom0_cannot_give_up_so_much(small: FakeHost) -> None:
    with pytest.raises(NotEnoughMemory, match=r"dom0 cannot give up so much, it keeps 128 MiB"):
        small.create(config(memory=500), autoballoon=True)
    assert target_mib(small) == 512


def test_dom0_does_not_follow(small: FakeHost) -> None:
    small.guest(small.domains[0]).answers = False
    with pytest.raises(NotEnoughMemory, match="it keeps 512 MiB"):
        small.create(config(), autoballoon=True)
    assert target_mib(small) == 512
    assert [domain.domid for domain in small.list()] == [0]


def test_a_restore_gets_room_too(small: FakeHost, tmp_path: Path) -> None:
    web = small.create(config(), autoballoon=True)
    small.guest(web).boot()
    web.save(tmp_path / "web1")
    small.domains[0].set_memory(512)
    small.domains[0].wait_memory()
    with pytest.raises(NotEnoughMemory):
        small.restore(tmp_path / "web1")
    assert small.restore(tmp_path / "web1", autoballoon=True).info().memory_kib == 256 * 1024


@pytest.mark.parametrize(
    ("command_line", "automatic"),
    [
        ("", True),
        ("console=vga loglvl=all", True),
        ("dom0_mem=1280M,max:1280M dom0_max_vcpus=1", False),
        ("loglvl=all dom0_mem=1g", False),
        ("dom0_mem=min:1024,max:2G", False),
        ("dom0_mem=50%", False),
        ("dom0_mem=512M+10%,max:-1G x", False),
        ("dom0_mem=max:2048M", False),
        ("xdom0_mem=1G", True),
        ("dom0_mem=lots", True),
        ("dom0_mem=", True),
        ("dom0_mem=1G;x", True),
    ],
)
def test_what_the_command_line_says(command_line: str, automatic: bool) -> None:
    assert is_automatic(command_line) is automatic
