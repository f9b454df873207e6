"""Operations on a host in memory that is slow: stopped, overtaken, and what is left of them."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import pyxen
from pyxen import (
    Domain,
    DomainConfig,
    DomainCreated,
    DomainDestroyed,
    DomainNotFound,
    DomainShutdown,
    DomainState,
    Event,
    Host,
    HostClosed,
    InvalidArgument,
    InvalidState,
    Operation,
    OperationCancelled,
    OperationTimeout,
    Scheduler,
    ShutdownReason,
    UnsupportedFeature,
    ValidationError,
)
from pyxen.backends.memory.backend import MemoryBackend
from pyxen.backends.memory.durations import QUICK
from pyxen.backends.memory.machine import Machine
from pyxen.config import Disk, UsbCtrl
from pyxen.testing import FakeHost
from tests.unit.memory.configs import config

SECONDS = 30


@pytest.fixture
def machine() -> Machine:
    """A host on which creates and saves take a minute."""
    return Machine("memory:///", timing=replace(QUICK, create=60, save=60))


@pytest.fixture
def host(machine: Machine) -> Iterator[Host]:
    """The way to it."""
    with Host(MemoryBackend(machine)) as host:
        yield host


def wait_until(condition: Callable[[], object]) -> None:
    """Wait until something is so."""
    for _ in range(SECONDS * 1000):
        if condition():
            return
        threading.Event().wait(0.001)
    pytest.fail("it did not happen in time")


def test_a_create_that_is_cancelled_leaves_nothing(host: Host) -> None:
    free = host.info().free_memory_kib
    with host.events() as events:
        creating = host.begin.create(config())
        wait_until(lambda: len(host.domains) == 2)
        assert host.domains["web1"].info().state is DomainState.PAUSED
        assert host.info().free_memory_kib < free
        creating.cancel()
        with pytest.raises(OperationCancelled):
            creating.result(SECONDS)
        assert len(host.domains) == 1
        assert host.info().free_memory_kib == free
        assert events.get(0) is None  # nobody was told of it


def test_a_create_that_is_late(host: Host) -> None:
    with pytest.raises(OperationTimeout):
        host.create(config(), timeout=0.01)
    assert len(host.domains) == 1


def test_a_create_that_is_overtaken_by_a_destroy(host: Host) -> None:
    creating = host.begin.create(config())
    wait_until(lambda: len(host.domains) == 2)
    host.domains["web1"].destroy()
    with pytest.raises(DomainNotFound, match="destroyed meanwhile"):
        creating.result(SECONDS)
    assert len(host.domains) == 1


def test_a_close_in_the_middle_of_a_create(machine: Machine, host: Host) -> None:
    with Host(MemoryBackend(machine)) as other:
        creating = other.begin.create(config())
        wait_until(lambda: len(host.domains) == 2)
    with pytest.raises(OperationCancelled, match="closed"):
        creating.result(SECONDS)
    assert len(host.domains) == 1
    with pytest.raises(HostClosed):
        other.create(config())


def test_a_task_that_is_cancelled_in_a_create(machine: Machine, host: Host) -> None:
    async def main() -> None:
        operation = host.begin.create(config())
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01):
                await operation
        assert operation.done()

    asyncio.run(main())
    assert list(machine.domains) == [0]


def test_a_save_that_is_overtaken(machine: Machine, tmp_path: Path) -> None:
    machine.timing = replace(QUICK, save=60)
    with Host(MemoryBackend(machine)) as host:
        domain = host.create(config())
        saving = domain.begin.save(tmp_path / "file")
        wait_until(lambda: domain.info().state is DomainState.SHUTDOWN)
        domain.destroy()
        with pytest.raises(DomainNotFound):
            saving.result(SECONDS)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("first", ["save", "save_over", "migrate"])
def test_only_one_operation_suspends_a_guest(machine: Machine, tmp_path: Path, first: str) -> None:
    """The second would resume the guest under the first when it ends: the file of the first would be torn."""
    machine.timing = replace(QUICK, save=60)
    with Host(MemoryBackend(machine)) as host, Host(MemoryBackend(machine)) as same, FakeHost() as elsewhere:
        web, again = host.create(config()), same.domains["web1"]
        reader, writer = os.pipe()
        first_of: dict[str, Callable[[], Operation[None]]] = {
            "save": lambda: web.begin.save(tmp_path / "first"),
            "save_over": lambda: web.begin.save(writer),
            "migrate": lambda: web.begin.migrate(elsewhere.uri),
        }
        others: tuple[Callable[[Domain], object], ...] = (
            lambda domain: domain.begin.save(tmp_path / "second", timeout=0.1),
            lambda domain: domain.begin.save(tmp_path / "second", checkpoint=True),
            lambda domain: domain.begin.save(writer),
            lambda domain: domain.begin.suspend(),
            lambda domain: domain.begin.migrate(elsewhere.uri),
        )
        going = first_of[first]()
        for other in others:
            for domain in (web, again):
                with pytest.raises(InvalidState, match=f"a {going.verb} that this process has begun.*wait until that"):
                    other(domain)
        if first != "migrate":  # which sends the memory while the guest runs
            wait_until(lambda: web.info().shutdown_reason is ShutdownReason.SUSPEND)
            with pytest.raises(InvalidState, match=r"a save that this process has begun.*or cancel it"):
                again.resume()
            assert web.info().shutdown_reason is ShutdownReason.SUSPEND
        assert not going.done()
        going.cancel()
        with pytest.raises(OperationCancelled):
            going.result(SECONDS)
        assert web.info().is_running
        machine.timing = QUICK
        again.suspend()
        web.resume()
        web.save(tmp_path / "first")
        os.close(reader)
        os.close(writer)
        assert [path.name for path in tmp_path.iterdir()] == ["first"]


def test_what_is_not_begun_is_in_nobodys_way(machine: Machine, tmp_path: Path) -> None:
    machine.timing = QUICK
    with Host(MemoryBackend(machine)) as host:
        web = host.create(config())
        web.pause()
        kept: list[pyxen.Error] = []  # and with them what was to begin
        with pytest.raises(InvalidState, match="unpause it first") as paused:
            web.save(tmp_path / "file")
        kept.append(paused.value)
        web.unpause()
        with pytest.raises(InvalidArgument) as nowhere:
            web.migrate("elsewhere")
        kept.append(nowhere.value)
        web.save(tmp_path / "file")


def test_users_may_do_the_rest_while_a_guest_is_saved(machine: Machine, tmp_path: Path) -> None:
    machine.timing = replace(QUICK, save=60)
    with Host(MemoryBackend(machine)) as host:
        web = host.create(config())
        saving = web.begin.save(tmp_path / "file")
        wait_until(lambda: web.info().state is DomainState.SHUTDOWN)
        web.pause()
        web.unpause()
        web.rename("web2")
        with pytest.raises(InvalidState, match="it is suspended"):
            web.preserve("-old")
        web.destroy()
        with pytest.raises(DomainNotFound):
            saving.result(SECONDS)


@pytest.mark.parametrize("verb", ["suspend", "save"])
def test_a_cancel_at_the_moment_of_the_suspend(machine: Machine, tmp_path: Path, verb: str) -> None:
    machine.timing = replace(QUICK, save=60)
    with Host(MemoryBackend(machine)) as host:
        web = host.create(config())
        begun: list[Operation[None]] = []
        there = threading.Event()

        def cancel(event: Event) -> None:
            if isinstance(event, DomainShutdown):
                assert there.wait(SECONDS)
                begun[0].cancel()

        unsubscribe = host._backend.subscribe(cancel, lambda: None)
        begun.append(web.begin.suspend() if verb == "suspend" else web.begin.save(tmp_path / "file"))
        there.set()
        with pytest.raises(OperationCancelled, match="was undone"):
            begun[0].result(SECONDS)
        unsubscribe()
        assert (web.info().shutdown_reason, web.info().is_running) == (None, True)


def test_two_creates_that_want_the_last_memory(host: Host) -> None:
    free = host.info().free_memory_kib // 1024
    first = host.begin.create(config("web1", memory=free - 32))
    wait_until(lambda: len(host.domains) == 2)
    with pytest.raises(pyxen.NotEnoughMemory, match="MiB free"):
        host.create(config("web2", memory=64))
    first.cancel()
    first.exception(SECONDS)


def test_progress(tmp_path: Path, machine: Machine) -> None:
    machine.timing = replace(QUICK, save=60)
    with Host(MemoryBackend(machine)) as host:
        domain = host.create(config())
        saving = domain.begin.save(tmp_path / "file")
        wait_until(lambda: saving.progress == ("memory", 0))
        saving.cancel()
        with pytest.raises(OperationCancelled):
            saving.result(SECONDS)
        assert domain.info().state is DomainState.BLOCKED


def test_what_qemu_would_serve(fake: FakeHost) -> None:
    without = fake.create(config("web1", type="pv"))
    with pytest.raises(UnsupportedFeature, match=r"this qdisk disk needs QEMU.*backendtype=phy"):
        without.attach(Disk("/a", vdev="xvdb", backendtype="qdisk"))
    with pytest.raises(UnsupportedFeature, match="this USB controller needs QEMU"):
        without.attach(UsbCtrl(type="qusb"))
    assert without.config().disks == ()
    has = fake.create(config("web2", type="pv", disks=[Disk("/a", vdev="xvda", format="qcow2")]))
    has.attach(Disk("/b", vdev="xvdb", backendtype="qdisk"))
    assert has.attach(UsbCtrl(type="qusb", ports=4)).devid == 0


def test_a_supervisor_acts_as_on_a_real_host() -> None:
    with FakeHost(time="real") as fake, fake.events(DomainCreated, DomainDestroyed) as events:
        outcomes: list[pyxen.Outcome] = []
        with pyxen.Supervisor(fake, on_outcome=outcomes.append, leave=lambda _: None):
            domain = fake.create(config(on_reboot="restart"))
            fake.guest(domain).reboot()
            found = [events.get(SECONDS) for _ in range(3)]
        assert [type(event) for event in found] == [DomainCreated, DomainDestroyed, DomainCreated]
        assert {event.uuid for event in found if event is not None} == {domain.uuid}
        assert fake.domains["web1"] != domain
        assert [outcome.error for outcome in outcomes] == [None]


@pytest.mark.parametrize(
    ("settings", "error", "says"),
    [
        ({"cpus": "900"}, ValidationError, "cpus: 900: the domain's CPU pool has none of them"),
        ({"cpus": "0,^0"}, ValidationError, "cpus: a vCPU needs at least one of 0-3"),
        (
            {"scheduler": Scheduler(kind="rtds")},
            UnsupportedFeature,
            "kind=rtds: .* has the scheduler credit2",
        ),
    ],
)
def test_what_the_cpu_pool_has_not(fake: FakeHost, settings: dict[str, Any], error: type[Exception], says: str) -> None:
    with pytest.raises(error, match=says):
        fake.create(config(**settings))
    fake.create(config(cpus="0,900", scheduler=Scheduler(kind="credit2")))


@pytest.mark.parametrize("cpus", ["all", "nodes:0", ["0", "nodes:0"]])
def test_cpus_that_depend_on_the_host(cpus: Any) -> None:
    with FakeHost(cpus=4) as host:
        made = host.create(config(cpus=cpus, vcpus=2)).config().cpus
    given = DomainConfig("x", vcpus=2, cpus=cpus).resolve_cpus(range(4), {0: range(4)}).cpus
    assert made == given


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda host, _: host.create("name = 'x'"), "create: takes a DomainConfig, not str: pyxen.xlcfg.load"),
        (lambda host, _: host.create(None), "create: takes a DomainConfig, not None"),
        (lambda host, _: host.restore("/x", {}), "restore: takes a DomainConfig, not dict"),
        (lambda host, _: host.define("x"), "define: takes a DomainConfig, not str"),
        (lambda _, web: web.wait("runing"), "wait: 'runing' is not one of dying, .*running"),
        (lambda _, web: web.send_trigger(3), "send_trigger: int is not one of power, "),
        (lambda _, web: web.send_sysrq(b"h"), "send_sysrq: takes a str, not bytes"),
        (lambda _, web: web.set_memory(None), "set_memory: takes a number, not None"),
        (lambda _, web: web.set_maxmem("64"), "set_maxmem: takes a number, not '64'"),
        (lambda _, web: web.set_vcpus("2"), "set_vcpus: takes a whole number, not '2'"),
        (lambda _, web: web.pin_vcpu("0", "0"), "pin_vcpu: takes a whole number, not '0'"),
        (lambda _, web: web.set_scheduler("credit2"), "set_scheduler: takes a Scheduler, not str"),
        (lambda _, web: web.save(3.5), "save: takes a str, not float, as the path"),
        (lambda _, web: web.core_dump(None), "core_dump: takes a str, not None, as the path"),
        (lambda host, _: host.restore(b"/x"), "restore: takes a str, not bytes, as the path"),
        (lambda _, web: web.insert_cdrom("hdc", None), "insert_cdrom: takes a str, not None, as the path"),
        (lambda _, web: web.userdata(3), "userdata: takes a str, not int, as the key"),
        (lambda _, web: web.set_userdata("a", "b"), "set_userdata: takes a bytes, not str, as the data"),
        (lambda host, _: host.domains[None], "domains: takes a name, a domid or a uuid, not NoneType"),
        (lambda host, _: host.domains.get(3.5), "domains: takes a name, a domid or a uuid, not float"),
    ],
)
def test_arguments_of_the_wrong_kind(call: Callable[[Any, Any], object], says: str) -> None:
    with FakeHost() as host:
        web = host.create(config())
        with pytest.raises(InvalidArgument, match=says):
            call(host, web)


def test_a_closing_that_ctrl_c_interrupts_is_gone_on_with(monkeypatch: pytest.MonkeyPatch) -> None:
    def ctrl_c() -> None:
        raise KeyboardInterrupt

    with FakeHost() as fake:
        host, engine = pyxen.connect(fake.uri), fake._machine.engine
        users = engine._users
        with monkeypatch.context() as patch:
            patch.setattr(host._backend, "_end_subscriptions", ctrl_c)
            with pytest.raises(KeyboardInterrupt):
                host.close()
        with pytest.raises(HostClosed):
            host.list()
        assert engine._users == users
        for _ in range(2):
            host.close()
            assert engine._users == users - 1
