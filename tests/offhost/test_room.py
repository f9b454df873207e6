"""Memory that dom0 gives up for a new domain: what pyxen asks of libxl, and what it does when dom0 does not follow."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from uuid import UUID

import pytest

import pyxen
from pyxen import DomainConfig
from pyxen.errors import LockFailed, NotEnoughMemory, OperationTimeout, XenstoreError
from tests.locks import holding
from tests.offhost import moves
from tests.offhost.host import OffHost, until
from tests.offhost.internals import (
    after_a_look_at_free_memory,
    before_libxl_tells_of_free_memory,
    building,
    refuse_targets_of_dom0,
)
from tests.waiting import SECONDS, join

Configure = Callable[..., DomainConfig]

TARGET = "/local/domain/0/memory/target"
ROOM = "pyxen.backends.xenlight.operations.room"
FREE_MIB = 64


@pytest.fixture
def full(offhost: OffHost) -> OffHost:
    """A host with 64 MiB of free memory."""
    offhost.world.add(UUID(int=5), memory=offhost.world.free_kib() // 1024 - FREE_MIB)
    assert offhost.world.free_kib() // 1024 == FREE_MIB
    return offhost


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give dom0 longer to make headway: one that counts as stalled is asked for the same memory again."""
    monkeypatch.setattr(f"{ROOM}.STALL", SECONDS)
    monkeypatch.setattr(f"{ROOM}.CREDIT", 2 * SECONDS)


@contextlib.contextmanager
def following(offhost: OffHost, host: pyxen.Host) -> Iterator[None]:
    """Let dom0 have what its target says, as its balloon driver does."""
    done = threading.Event()

    def balloon() -> None:
        while not done.wait(0.01):
            memory = host.domains[0].memory()
            if memory.target_kib is not None and memory.current_kib != memory.target_kib:
                offhost.world.set_memory(0, memory.target_kib // 1024)

    thread = threading.Thread(target=balloon)
    thread.start()
    try:
        yield
    finally:
        done.set()
        join(thread)


def target_mib(host: pyxen.Host) -> float | None:
    """Return dom0's target."""
    kib = host.domains[0].memory().target_kib
    return None if kib is None else kib / 1024


@pytest.mark.parametrize("workers", [0, 1])
def test_dom0_gives_up_what_is_short(full: OffHost, config: Configure, workers: int) -> None:
    with pyxen.connect(workers=workers) as host, following(full, host):
        before = host.domains[0].info().memory_kib / 1024
        web = host.create(config(memory=256), autoballoon=True, timeout=60)
        assert web.config().memory == 256
        given = before - (target_mib(host) or 0)
        assert 256 - FREE_MIB <= given <= 256 - FREE_MIB + 16  # libxl counts some more for the domain itself
        host.create(config(name="small", memory=8), autoballoon=True, timeout=60)
        assert before - (target_mib(host) or 0) <= given + 8 + 16
        web.destroy()


def test_dom0_keeps_what_the_command_line_gives_it(full: OffHost, host: pyxen.Host, config: Configure) -> None:
    assert "dom0_mem=" in (host.info().xen_commandline or "")
    with following(full, host):
        for autoballoon in (None, False):
            with pytest.raises(NotEnoughMemory, match="64 MiB free"):
                host.create(config(memory=256), autoballoon=autoballoon)
    assert target_mib(host) in {None, host.domains[0].info().memory_kib / 1024}


def test_several_at_once_share_it(full: OffHost, host: pyxen.Host, config: Configure) -> None:
    with following(full, host):
        before = host.domains[0].info().memory_kib / 1024
        creating = [
            host.begin.create(config(name=f"web{number}", memory=128), autoballoon=True, timeout=60)
            for number in range(4)
        ]
        assert [one.result(60).info().memory_kib // 1024 for one in creating] == [128] * 4
        given = before - (target_mib(host) or 0)
        assert 4 * 128 - FREE_MIB <= given <= 4 * (128 + 16) - FREE_MIB


@pytest.mark.usefixtures("full")
@pytest.mark.parametrize("workers", [0, 1])
def test_what_is_promised_to_an_earlier_domain_is_waited_for(
    config: Configure, monkeypatch: pytest.MonkeyPatch, workers: int
) -> None:
    """Also where dom0 gives nothing up, and by another host of the process."""
    looks: list[None] = []
    after_a_look_at_free_memory(monkeypatch, lambda: looks.append(None))
    with pyxen.connect(workers=workers) as host, pyxen.connect(workers=0) as other:
        with building(other, FREE_MIB - 16):
            creating = host.begin.create(config(memory=24), autoballoon=False, timeout=60)
            until(lambda: len(looks) > 20, "it does not look again and again")
            assert not creating.done()
        assert creating.result(60).info().memory_kib // 1024 == 24


def test_what_an_earlier_domain_has_taken(full: OffHost, host: pyxen.Host, config: Configure) -> None:
    with building(host, FREE_MIB - 16):
        creating = host.begin.create(config(memory=24), autoballoon=False, timeout=60)
        full.world.add(UUID(int=6), memory=FREE_MIB - 16)
    assert isinstance(creating.exception(60), NotEnoughMemory)
    assert [domain.domid for domain in host.list()] == [0, 1, 2]


@pytest.mark.usefixtures("full")
def test_an_earlier_domain_is_not_waited_for_for_ever(
    host: pyxen.Host, config: Configure, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pyxen.backends.xenlight.operations.room.CREDIT", 0.2)
    with building(host, FREE_MIB - 16):
        host.create(config(memory=24), autoballoon=False, timeout=60)


def test_what_dom0_gives_up_meanwhile_is_not_asked_for_twice(
    full: OffHost, host: pyxen.Host, config: Configure, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = host.domains[0].info().memory_kib // 1024
    host.domains[0].set_memory(before - 300)

    def follow() -> None:
        full.world.set_memory(0, int(target_mib(host) or 0))

    after_a_look_at_free_memory(monkeypatch, follow)
    host.create(config(memory=512), autoballoon=True, timeout=60)
    assert 512 - FREE_MIB <= before - (target_mib(host) or 0) <= 512 + 16 - FREE_MIB


def test_dom0_gets_back_what_it_gives_up_too_much(
    full: OffHost, host: pyxen.Host, config: Configure, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It does nothing for long, is asked again, and then does all that it was asked."""
    monkeypatch.setattr(f"{ROOM}.STALL", 0.2)
    before = host.domains[0].info().memory_kib // 1024

    def follow() -> None:
        target = int(target_mib(host) or before)
        if target < before:  # it is waited for, and next time for longer
            monkeypatch.setattr(f"{ROOM}.STALL", SECONDS)
        if before - target > 256:
            full.world.set_memory(0, target)

    after_a_look_at_free_memory(monkeypatch, follow)
    host.create(config(memory=256), autoballoon=True, timeout=60)
    assert 256 - FREE_MIB <= before - (target_mib(host) or 0) <= 256 + 16 - FREE_MIB


def test_dom0_cannot_give_up_so_much(full: OffHost, host: pyxen.Host, config: Configure) -> None:
    with following(full, host):
        host.create(config(name="first", memory=128), autoballoon=True, timeout=60)
        before = target_mib(host)
        with pytest.raises(NotEnoughMemory, match=r"dom0 cannot give up so much, it keeps 128 MiB"):
            host.create(config(memory=1500), autoballoon=True)
        assert target_mib(host) == before


@pytest.mark.usefixtures("full")
def test_dom0_does_not_follow(host: pyxen.Host, config: Configure) -> None:
    before = host.domains[0].info().memory_kib / 1024
    creating = host.begin.create(config(memory=256), autoballoon=True)
    until(lambda: (target_mib(host) or before) < before, "dom0 is not asked", 60)
    creating.stop("timeout")  # as its deadline would
    with pytest.raises(OperationTimeout):
        creating.result(SECONDS)
    assert target_mib(host) == before
    assert [domain.domid for domain in host.list()] == [0, 1]


@pytest.mark.usefixtures("full")
def test_dom0_gets_a_bounded_time(host: pyxen.Host, config: Configure, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(f"{ROOM}.STALL", 0.1)
    before = host.domains[0].info().memory_kib / 1024
    with pytest.raises(NotEnoughMemory, match="64 MiB free"):
        host.create(config(memory=256), autoballoon=True)
    assert target_mib(host) == before
    assert [domain.domid for domain in host.list()] == [0, 1]


def test_a_target_that_xenstored_does_not_take(
    full: OffHost, host: pyxen.Host, config: Configure, monkeypatch: pytest.MonkeyPatch
) -> None:
    with following(full, host):
        host.create(config(memory=128), autoballoon=True, timeout=60).destroy()  # from now on, dom0 has a target
        before = target_mib(host)
        refuse_targets_of_dom0(monkeypatch, lower=True)
        with pytest.raises(XenstoreError, match=r"memory/target should be [0-9]+, and is"):
            host.create(config(memory=512), autoballoon=True, timeout=60)
        assert target_mib(host) == before


def test_a_target_that_xenstored_does_not_take_back(
    host: pyxen.Host, full: OffHost, config: Configure, monkeypatch: pytest.MonkeyPatch
) -> None:
    with following(full, host):
        host.create(config(memory=128), autoballoon=True, timeout=60).destroy()
    monkeypatch.setattr(f"{ROOM}.STALL", 0.1)
    refuse_targets_of_dom0(monkeypatch, lower=False)
    with pytest.raises(NotEnoughMemory, match=r"dom0 does not get back the [0-9]+ KiB"):
        host.create(config(memory=512), autoballoon=True, timeout=60)


def test_a_domain_that_arrives_gets_what_dom0_gives_up(
    offhost: OffHost, host: pyxen.Host, config: Configure, tmp_path: Path
) -> None:
    web = host.create(config(memory=256))
    offhost.guest(web.domid).obey()
    web.save(tmp_path / "web", timeout=60)
    offhost.world.add(UUID(int=5), memory=offhost.world.free_kib() // 1024 - FREE_MIB)

    def receive(*, autoballoon: bool) -> pyxen.Domain:
        sender = moves.Sender((tmp_path / "web").read_bytes())
        try:
            fd = sender.end.fileno()
            return host.receive_migration(fd, fd, autoballoon=autoballoon, timeout=60)
        finally:
            sender.close()

    with following(offhost, host):
        with pytest.raises(NotEnoughMemory, match="64 MiB free"):
            receive(autoballoon=False)
        assert receive(autoballoon=True).config().memory == 256


def test_the_lock_of_xl(offhost: OffHost, config: Configure, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = str(tmp_path / "xl")
    settings = pyxen.XlConf(lockfile=path, autoballoon=True)
    with pyxen.connect(xl_conf=settings) as host:
        with holding(path):
            with pytest.raises(OperationTimeout):
                host.create(config(), timeout=0.5)
            host.create(config(name="other"), autoballoon=False, timeout=60).destroy()
            monkeypatch.setattr("pyxen.backends.xenlight.operations.xl_lock._PATIENCE", 0.1)
            with pytest.raises(LockFailed, match=f"another program has held xl's lock {path} .*autoballoon=False"):
                host.create(config(), timeout=60)
            assert offhost.left() == []
            monkeypatch.undo()
            waiting = host.begin.create(config(), timeout=60)
        web = waiting.result(SECONDS)
        with holding(path, wait=False):  # it is released as soon as the domain is built
            pass
        offhost.guest(web.domid).obey()
        web.save(tmp_path / "web", timeout=60)
        with holding(path), pytest.raises(OperationTimeout):
            host.restore(tmp_path / "web", timeout=0.5)

        def allow(_: pyxen.DomainConfig) -> bool:
            with holding(path, wait=False):  # it is not held while somebody decides, or while a disk is slow
                return True

        host.restore(tmp_path / "web", allow=allow, timeout=60).destroy()
    with (
        pyxen.connect(xl_conf=pyxen.XlConf(lockfile=str(tmp_path), autoballoon=True)) as host,
        pytest.raises(LockFailed, match=r"cannot lock .*, the lockfile of xl\.conf: Is a directory"),
    ):
        host.create(config())


def test_memory_that_a_guest_takes_meanwhile_is_its_own(
    offhost: OffHost, host: pyxen.Host, config: Configure, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It grows while its new target is compared with what it has and with what is free."""
    web = host.create(config(memory=256), timeout=60)
    web.set_memory(128)
    offhost.world.set_memory(web.domid, 128)
    offhost.world.add(UUID(int=5), memory=offhost.world.free_kib() // 1024 - FREE_MIB)
    before_libxl_tells_of_free_memory(monkeypatch, lambda: offhost.world.set_memory(web.domid, 180))
    web.set_memory(180)
    assert web.memory().target_kib == 180 * 1024
