"""Pools and clones when something fails, and in any order of what happens to a pool."""

from __future__ import annotations

import os
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

import pyxen
from pyxen import (
    CloneFailed,
    Disk,
    Domain,
    DomainConfig,
    HostClosed,
    InvalidArgument,
    NotEnoughMemory,
    Operation,
    OperationCancelled,
    OperationFailed,
    OperationTimeout,
    Pci,
    Pool,
    Vif,
)
from pyxen._common.claims import Claim, Claims
from pyxen._copies.copies import AT_ONCE
from pyxen._copies.orphans import destroy_all
from pyxen._copies.pool_keeper import Keeper
from pyxen._lifetime import Lifetime
from pyxen.backends.base import DomainRef
from pyxen.backends.memory.backend import MemoryBackend
from pyxen.testing import FakeHost
from tests.backends.support import SECONDS, wait_until
from tests.raising import handlers_that_raise
from tests.waiting import join

WEB = DomainConfig("web", type="pvh", kernel="/boot/vmlinuz", memory=64)
LARGE = WEB.replace(memory=128)


def names(fake: FakeHost) -> set[str | None]:
    return {info.name for info in fake.list()} - {"Domain-0"}


def test_the_first_guest_cannot_be_made() -> None:
    with FakeHost() as fake:
        fake.fail("create", NotEnoughMemory("no room"))
        with pytest.raises(NotEnoughMemory, match="no room"):
            fake.pool(WEB, size=2)  # however soon the next try succeeds
        assert names(fake) == set()


def test_guests_cannot_be_made_for_a_while() -> None:
    with FakeHost() as fake, fake.pool(WEB, size=1) as pool:
        fake.fail("create", NotEnoughMemory("no room"), times=2)
        assert pool.take("web1").name == "web1"  # one was ready
        with pytest.raises(NotEnoughMemory, match="no room"):
            pool.take("web2")
        wait_until(lambda: pool.ready)  # it goes on trying
        assert pool.error is None
        assert pool.take("web2").name == "web2"


def test_it_tries_again_after_a_guest_that_failed_late(monkeypatch: pytest.MonkeyPatch) -> None:
    """The create fails on a thread of the host, when the pool's own thread waits already."""
    create, late = MemoryBackend.create, [Operation[DomainRef]("create")]

    def begin(*arguments: Any, **how: Any) -> Operation[DomainRef]:
        return late[0] if late and not late[0].done() else create(*arguments, **how)

    with pyxen.connect("memory:///fails-late") as host, host.pool(WEB, size=1) as pool:
        monkeypatch.setattr(MemoryBackend, "create", begin)
        pool.take("web1")
        rest = pool._keeper._changed
        wait_until(lambda: late[0] in pool._keeper._making and rest._waiters)  # type: ignore[attr-defined]
        late[0].set_exception(NotEnoughMemory("no room"))
        wait_until(lambda: pool.ready)
        assert pool.error is None


def test_a_log_handler_that_raises_when_no_guest_can_be_made() -> None:
    with handlers_that_raise() as raised, pyxen.connect("memory:///loud?memory=1024") as host:
        pool = host.pool(LARGE, size=1)
        host.create(WEB.replace(name="hog", memory=300))
        pool.take("web1")
        wait_until(lambda: pool.error is not None)
        pool.begin.close().result(SECONDS)
    assert {type(error) for error in raised} == {SystemExit}


def test_an_exit_in_a_function_for_guests_ends_no_pool() -> None:
    exits = [True]

    def change(config: DomainConfig) -> DomainConfig:
        if exits:
            exits.pop()
            sys.exit("over")
        return config

    with pyxen.connect("memory:///exits") as host:
        with pytest.raises(OperationFailed, match="ended with SystemExit: over"):
            host.pool(WEB, size=1, change=change)
        with host.pool(WEB, size=1, change=change) as pool:
            exits.append(True)
            pool.take("web1")
            wait_until(lambda: not exits)
            wait_until(lambda: pool.ready)
            assert pool.take("web2").name == "web2"


@pytest.mark.parametrize("verb", ["rename", "set_memory", "attach", "unpause"])
def test_a_step_of_a_take_fails(verb: str) -> None:
    with FakeHost() as fake, fake.pool(WEB, size=1) as pool:
        fake.fail(verb, OperationFailed("broken"))
        with pytest.raises(OperationFailed, match="broken"):
            pool.take("web1", memory=32, vifs=[Vif(bridge="xenbr0")])
        assert "web1" not in names(fake)
        assert pool.take("web1").name == "web1"


def test_a_take_has_a_deadline() -> None:
    with FakeHost(time="real") as fake, fake.pool(WEB, size=1) as pool:
        pool.take("web1")
        fake.fail("create", OperationFailed("broken"), times=None)
        with pytest.raises((OperationTimeout, OperationFailed)):
            pool.take("web2", timeout=0)
        assert "web2" not in names(fake)


def test_a_guest_that_cannot_be_destroyed_does_no_harm() -> None:
    with FakeHost() as fake:
        with fake.pool(WEB, size=1):
            fake.fail("destroy", OperationFailed("broken"))
        assert len(names(fake)) == 1


def test_a_pool_that_nobody_closes() -> None:
    with FakeHost() as fake:
        pools = [fake.pool(WEB, size=2)]
        with pytest.warns(ResourceWarning, match="never closed"):
            pools.clear()
        wait_until(lambda: not names(fake))


def test_guests_of_a_dead_process_are_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with FakeHost() as fake:
        monkeypatch.setattr(type(fake._backend), "claims_folder", str(tmp_path / "run"))
        orphan, taken = (fake.create(WEB.replace(name=name)) for name in ("web--ready-1", "web--ready-2"))
        image = tmp_path / "image"
        image.touch()
        claims = Claims(str(tmp_path / "run"))
        claims.add(Claim(orphan.uuid, (str(image),)))
        claims.add(Claim(taken.uuid))
        with fake.pool(WEB, size=1):
            assert orphan in fake.domains  # its process lives
        claims.drop(taken.uuid)
        claims.close()
        fake.fail("destroy", OperationFailed("broken"))
        with fake.pool(WEB, size=1):
            assert orphan in fake.domains  # it could not be destroyed, and is found again
        with fake.pool(WEB, size=1) as pool:
            assert orphan not in fake.domains
            assert taken in fake.domains  # it is not an orphan, whatever its name
            assert fake.orphans() == ()
            assert pool.ready == 1
        assert list((tmp_path / "run").iterdir()) == []


def test_clones_that_fail(tmp_path: Path) -> None:
    with FakeHost() as fake:
        fake.create(WEB).save(f"{tmp_path}/saved")
        fake.fail("restore", OperationFailed("broken"))
        with pytest.raises(OperationFailed, match="broken"):
            fake.clone(f"{tmp_path}/saved", 3)
        assert names(fake) == set()
        fake.fail("restore", OperationFailed("broken"))
        with pytest.raises(CloneFailed, match=r"1 of 3 clones failed, the others stay; the first: .*broken") as caught:
            fake.clone(f"{tmp_path}/saved", 3, partial=True)
        assert names(fake) == {"web-2", "web-3"}
        assert [type(one) for one in caught.value.results] == [OperationFailed, Domain, Domain]


def test_clones_whose_claims_cannot_be_dropped_are_undone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """They would be removed as orphans otherwise."""

    def fail(_: Claims) -> None:
        raise OperationFailed("cannot be written")

    with FakeHost() as fake:
        fake.create(WEB).save(f"{tmp_path}/saved")
        monkeypatch.setattr(Claims, "drop_all", fail)
        with pytest.raises(OperationFailed, match="cannot be written"):
            fake.clone(f"{tmp_path}/saved", 3)
        assert names(fake) == set()


Restores = list[Operation[DomainRef]]


@pytest.fixture
def restores(monkeypatch: pytest.MonkeyPatch) -> Restores:
    """All that are begun in this process."""
    begun: Restores = []
    restore = MemoryBackend.restore

    def noted(*arguments: Any, **how: Any) -> Operation[DomainRef]:
        begun.append(restore(*arguments, **how))
        return begun[-1]

    monkeypatch.setattr(MemoryBackend, "restore", noted)
    return begun


@pytest.mark.parametrize("error", [SystemExit("over"), KeyboardInterrupt(), GeneratorExit()], ids=repr)
def test_an_exit_in_a_function_for_clones_leaves_nothing(
    tmp_path: Path, restores: Restores, error: BaseException
) -> None:
    asked = []

    def change(config: DomainConfig) -> DomainConfig:
        asked.append(config.name)
        if len(asked) == 2:
            raise error
        return config

    with pyxen.connect("memory:///clones-exit") as host:
        host.create(WEB).save(f"{tmp_path}/saved")
        with pytest.raises(type(error)):
            host.clone(f"{tmp_path}/saved", 3, change=change)
        assert [restore.done() for restore in restores] == [True]
        assert [info.name for info in host.list()] == ["Domain-0"]


def test_a_clone_that_ends_with_what_is_no_error_of_pyxens(
    tmp_path: Path, restores: Restores, monkeypatch: pytest.MonkeyPatch
) -> None:
    restore = MemoryBackend.restore

    def broken(*arguments: Any, **how: Any) -> Operation[DomainRef]:
        if not restores:
            return restore(*arguments, **how)
        operation: Operation[DomainRef] = Operation("restore")
        operation.set_exception(ZeroDivisionError("broken"))
        return operation

    with pyxen.connect("memory:///clones-break") as host:
        host.create(WEB).save(f"{tmp_path}/saved")
        monkeypatch.setattr(MemoryBackend, "restore", broken)
        with pytest.raises(ZeroDivisionError):
            host.clone(f"{tmp_path}/saved", 2)
        assert [restore.done() for restore in restores] == [True]
        assert [info.name for info in host.list()] == ["Domain-0"]


def test_what_only_one_guest_can_have(tmp_path: Path) -> None:
    with FakeHost() as fake:
        fake.create(WEB.replace(disks=[Disk("/dev/vg0/web", vdev="xvda")])).save(f"{tmp_path}/saved")
        with pytest.raises(InvalidArgument, match="two guests cannot have the same PCI devices"):
            fake.clone(f"{tmp_path}/saved", config=WEB.replace(pcis=[Pci("03:00.0")]))
        iscsi = Disk("iqn.2001-05.com.example", vdev="xvda", script="block-iscsi")
        with pytest.raises(InvalidArgument, match=r"xvda: QEMU in dom0 cannot make .*: give disks="):
            fake.clone(f"{tmp_path}/saved", config=WEB.replace(disks=[iscsi]))
        (own,) = fake.clone(
            f"{tmp_path}/saved", disks=lambda config: [Disk(f"/dev/vg0/{config.name}", vdev="xvda")], name="db"
        )
        assert [disk.target for disk in own.config().disks] == ["/dev/vg0/db-1"]
        (plain,) = fake.clone(f"{tmp_path}/saved", name=lambda number: f"web{number}")
        assert [disk.format for disk in plain.config().disks] == ["qcow2"]


@pytest.mark.parametrize("disks", [None, 5])
def test_a_function_that_returns_no_disks(tmp_path: Path, disks: Any) -> None:
    with FakeHost() as fake:
        fake.create(WEB).save(f"{tmp_path}/saved")
        with pytest.raises(InvalidArgument, match=r"takes a Iterable, not .*, from disks"):
            fake.clone(f"{tmp_path}/saved", disks=lambda _: disks)


async def _never(config: DomainConfig) -> Any:
    """Do what nobody awaits."""
    raise AssertionError(config)


@pytest.mark.parametrize("function", [_never, lambda _: _never(WEB)], ids=["async", "returns a coroutine"])
@pytest.mark.parametrize("argument", ["change", "disks", "name"])
def test_async_functions_for_copies(tmp_path: Path, argument: str, function: Any) -> None:
    refused = pytest.raises(InvalidArgument, match=f"a plain function as {argument}")
    with FakeHost() as fake:
        fake.create(WEB).save(f"{tmp_path}/saved")
        with refused:
            fake.clone(f"{tmp_path}/saved", **{argument: function})
        if argument != "name":
            with refused:
                fake.pool(WEB, size=1, **{argument: function})
        assert names(fake) == set()


class WithDisk:
    """A guest with a disk, whose copies have files of their own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.base = folder / "base.img"
        self.base.write_bytes(bytes(1024))
        self.config = WEB.replace(kernel=str(self.base), disks=[Disk(str(self.base), vdev="xvda")])
        self.saved = f"{folder}/saved"

    def overlays(self) -> list[Path]:
        return list(self.folder.glob("*.qcow2"))


@pytest.fixture
def with_disk(tmp_path: Path) -> WithDisk:
    return WithDisk(tmp_path)


@pytest.fixture
def interrupted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let Ctrl-C arrive when an operation has just succeeded."""
    wait = Operation.wait

    def too_late(operation: Operation[Any]) -> Any:
        result = wait(operation)
        if operation.verb in {"clone", "take"}:
            raise KeyboardInterrupt
        return result

    monkeypatch.setattr(Operation, "wait", too_late)


@pytest.mark.usefixtures("interrupted")
def test_clones_that_are_made_when_ctrl_c_comes_leave_no_files(with_disk: WithDisk) -> None:
    with pyxen.connect("memory:///clones-too-late?files=here") as host:
        host.create(with_disk.config).save(with_disk.saved)
        with pytest.raises(KeyboardInterrupt):
            host.clone(with_disk.saved, 2)
        assert [info.name for info in host.list()] == ["Domain-0"]
        assert with_disk.overlays() == []


@pytest.mark.usefixtures("interrupted")
def test_clones_beside_others_that_failed_are_undone_when_ctrl_c_comes(with_disk: WithDisk) -> None:
    with FakeHost() as fake:
        fake._machine.exists, fake._machine.files_are_here = os.path.exists, True
        fake.create(with_disk.config).save(with_disk.saved)
        fake.fail("restore", OperationFailed("broken"))
        with pytest.raises(KeyboardInterrupt):
            fake.clone(with_disk.saved, 3, partial=True)
        assert names(fake) == set()
        assert with_disk.overlays() == []


@pytest.mark.usefixtures("interrupted")
def test_a_guest_that_is_taken_when_ctrl_c_comes_leaves_no_files(with_disk: WithDisk) -> None:
    with pyxen.connect("memory:///take-too-late?files=here") as host:
        with host.pool(with_disk.config, size=1, folder=with_disk.folder) as pool:
            with pytest.raises(KeyboardInterrupt):
                pool.take("web1")
            assert "web1" not in {info.name for info in host.list()}
        assert with_disk.overlays() == []


@pytest.mark.usefixtures("interrupted")
def test_the_files_of_a_clone_that_cannot_be_destroyed_stay(with_disk: WithDisk) -> None:
    with FakeHost() as fake:
        fake._machine.exists, fake._machine.files_are_here = os.path.exists, True
        fake.create(with_disk.config).save(with_disk.saved)
        fake.fail("destroy", OperationFailed("no"), domain="web-1")
        with pytest.raises(KeyboardInterrupt):
            fake.clone(with_disk.saved, 2)
        assert names(fake) == {"web-1"}
        assert [str(path) for path in with_disk.overlays()] == [
            disk.target for disk in fake.domains["web-1"].config().disks
        ]


@pytest.fixture
def hanging(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A program that never ends in place of qemu-img; the file says that it runs."""
    folder = tmp_path / "bin"
    folder.mkdir()
    (folder / "qemu-img").write_text(f"#!/bin/sh\ntouch {tmp_path}/runs\nexec sleep 600\n")
    (folder / "qemu-img").chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    return tmp_path / "runs"


def test_a_program_that_hangs_holds_up_no_clone(with_disk: WithDisk, hanging: Path) -> None:
    with pyxen.connect("memory:///clones-hang?files=here") as host:
        host.create(with_disk.config).save(with_disk.saved)
        with pytest.raises(OperationTimeout):
            host.begin.clone(with_disk.saved, 2, timeout=0.2).result(SECONDS)
        hanging.unlink(missing_ok=True)
        cloning = host.begin.clone(with_disk.saved, 2)
        wait_until(hanging.exists)
        assert cloning.cancel()
        assert isinstance(cloning.exception(SECONDS), OperationCancelled)
        assert with_disk.overlays() == []


def test_a_program_that_hangs_holds_up_no_pool(with_disk: WithDisk, hanging: Path) -> None:
    with ThreadPoolExecutor(1) as threads, pyxen.connect("memory:///pool-hangs?files=here") as host:
        for seconds in (0.2, 2, 20):  # there is more where the time is up before the program runs
            opening = threads.submit(host.pool, with_disk.config, size=1, folder=with_disk.folder, timeout=seconds)
            with pytest.raises(OperationTimeout):
                opening.result(SECONDS)
            assert with_disk.overlays() == []
            if hanging.exists():
                break
        assert hanging.exists()


def test_guests_are_destroyed_some_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """The time of each begins when it has its turn."""
    running: set[Operation[None]] = set()
    most = 0
    destroy = MemoryBackend.destroy

    def noted(*arguments: Any, **how: Any) -> Operation[None]:
        nonlocal most
        operation = destroy(*arguments, **how)
        running.add(operation)
        operation.add_done_callback(running.discard)
        most = max(most, sum(not one.done() for one in running))
        return operation

    with FakeHost() as fake:
        guests = [fake.create(WEB.replace(name=f"web{number}", memory=8)) for number in range(30)]
        monkeypatch.setattr(MemoryBackend, "destroy", noted)
        assert destroy_all(fake._backend, [DomainRef(guest.domid, guest.uuid) for guest in guests]) == []
        assert names(fake) == set()
    assert most <= AT_ONCE


class Uses(RuleBasedStateMachine):
    """Whatever happens to a pool, a guest is either ready, or has one taker, or is gone."""

    @initialize()
    def begin(self) -> None:
        self.fake = FakeHost()
        self.pool: Pool | None = None
        self.taken: dict[str, Domain] = {}

    @precondition(lambda self: self.pool is None)
    @rule(size=st.integers(1, 3))
    def open(self, size: int) -> None:
        self.pool = self.fake.pool(WEB, size=size)

    @precondition(lambda self: self.pool is not None)
    @rule(name=st.sampled_from(["web1", "web2", "web3"]), memory=st.none() | st.just(32))
    def take(self, name: str, memory: int | None) -> None:
        assert self.pool is not None
        if name in self.taken:
            with pytest.raises(OperationFailed):
                self.pool.take(name, memory=memory)
        else:
            self.taken[name] = self.pool.take(name, memory=memory)

    @precondition(lambda self: self.pool is not None)
    @rule(verb=st.sampled_from(["attach", "unpause"]))
    def take_and_fail(self, verb: str) -> None:
        assert self.pool is not None
        self.fake.fail(verb, OperationFailed("broken"))
        with pytest.raises(OperationFailed):
            self.pool.take("web9", vifs=[Vif(bridge="xenbr0")])

    @precondition(lambda self: self.taken)
    @rule()
    def end_one(self) -> None:
        self.taken.popitem()[1].destroy()

    @precondition(lambda self: self.pool is not None)
    @rule()
    def steal(self) -> None:
        for domain in self.fake.domains:
            if domain.name is not None and "--ready-" in domain.name:
                domain.destroy()
                return

    @precondition(lambda self: self.pool is not None)
    @rule()
    def close(self) -> None:
        assert self.pool is not None
        self.pool.close()
        self.pool = None
        assert names(self.fake) == set(self.taken)

    @invariant()
    def everything_has_its_place(self) -> None:
        there = names(self.fake)
        assert set(self.taken) <= there
        ready = {name for name in there - set(self.taken) if name is not None}
        assert all("--ready-" in name for name in ready)
        assert len(ready) <= (0 if self.pool is None else self.pool.size)

    def teardown(self) -> None:
        if hasattr(self, "fake"):
            self.fake.close()


TestUses = Uses.TestCase
TestUses.settings = settings(max_examples=15, stateful_step_count=12, deadline=None)


def slow_to_destroy(monkeypatch: pytest.MonkeyPatch) -> threading.Event:
    """Let undoing wait until the event that this returns is set."""
    go_on, destroy = threading.Event(), MemoryBackend.destroy

    def slow(backend: MemoryBackend, *arguments: Any, **options: Any) -> Operation[None]:
        assert go_on.wait(SECONDS)
        return destroy(backend, *arguments, **options)

    monkeypatch.setattr(MemoryBackend, "destroy", slow)
    return go_on


def test_a_host_that_is_closed_waits_until_its_clones_are_undone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    saved = f"{tmp_path}/saved"
    with FakeHost() as fake:
        fake.create(WEB.replace(memory=2)).save(saved)
        closed: list[str] = []
        go_on = slow_to_destroy(monkeypatch)
        restore, begun = MemoryBackend.restore, list[Operation[Any]]()

        def held_up(*arguments: Any, **how: Any) -> Operation[DomainRef]:
            if len(names(fake)) > 50:  # not all are made before the host is closed
                wait_until(lambda: begun and begun[0].stopped)
            return restore(*arguments, **how)

        monkeypatch.setattr(MemoryBackend, "restore", held_up)
        other = pyxen.connect(fake.uri)
        begun.append(cloning := other.begin.clone(saved, 500))
        wait_until(lambda: len(names(fake)) > 3)

        def close() -> None:
            other.close()
            closed.append("closed")

        closer = threading.Thread(target=close, daemon=True)
        closer.start()
        wait_until(lambda: cloning.stopped)
        assert (cloning.stopped, closed) == ("closed", [])
        go_on.set()
        join(closer)
        assert isinstance(cloning.exception(0), OperationCancelled)
        assert names(fake) == set()


def test_a_host_that_is_closed_while_a_pool_begins(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether the closing sees the pool, or the pool the closing: it does not begin."""
    opened: list[Any] = []

    def add_late(lifetime: Lifetime, keeper: Keeper) -> None:
        lifetime._keepers_end = True
        add(lifetime, keeper)
        opened.append(keeper)

    add = Lifetime.add_pool
    with FakeHost() as fake:
        monkeypatch.setattr(Lifetime, "add_pool", add_late)
        with pytest.raises(HostClosed):
            fake.pool(WEB, size=1)
        assert (opened, names(fake)) == ([], set())


@pytest.mark.parametrize("verb", ["clone", "pool"])
def test_a_function_for_guests_cannot_close_the_host(tmp_path: Path, verb: str) -> None:
    """The close would wait for it."""
    saved = f"{tmp_path}/saved"
    errors: list[RuntimeError] = []

    with FakeHost() as fake, pyxen.connect(fake.uri) as other:
        fake.create(WEB).save(saved)

        def change(config: DomainConfig) -> DomainConfig:
            try:
                other.close()
            except RuntimeError as error:
                errors.append(error)
            return config

        if verb == "clone":
            assert len(other.clone(saved, 2, change=change)) == 2
        else:
            with other.pool(WEB, size=1, change=change) as pool:
                pool.take("web1")
        assert "cannot wait here" in str(errors[0])
