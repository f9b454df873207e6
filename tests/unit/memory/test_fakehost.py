"""What a test can do to its host."""

from __future__ import annotations

import asyncio
import threading
import traceback
from collections.abc import Callable
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest

import pyxen
from pyxen import (
    ConnectFailed,
    CpuSet,
    Disk,
    DiskEjected,
    DomainCreated,
    DomainDestroyed,
    DomainNotFound,
    DomainShutdown,
    Event,
    FileMissing,
    HostClosed,
    InvalidArgument,
    InvalidState,
    NotEnoughMemory,
    NotFound,
    OperationCancelled,
    OperationFailed,
    OperationTimeout,
    ShutdownReason,
    UnsupportedFeature,
    Vif,
)
from pyxen.testing import Call, FakeHost
from tests.forks import told_by_a_child
from tests.unit.memory.configs import config
from tests.waiting import until


def test_a_verb_that_fails_once(fake: FakeHost) -> None:
    fake.fail("create", NotEnoughMemory("no room"))
    with pytest.raises(NotEnoughMemory, match="create web1: no room") as caught:
        fake.create(config())
    assert (caught.value.operation, caught.value.domain) == ("create", "web1")
    assert len(fake.domains) == 1
    fake.create(config())


def test_each_failure_is_an_error_of_its_own(fake: FakeHost) -> None:
    first, second = fake.create(config("web1")), fake.create(config("web2"))
    given = OperationFailed("stuck")
    fake.fail("destroy", given, times=None)
    caught: list[OperationFailed] = []
    for domain in (first, second, first):
        try:
            raise ValueError("what the program was busy with")
        except ValueError:
            with pytest.raises(OperationFailed) as info:
                domain.destroy()
            caught.append(info.value)
    assert [error.domain for error in caught] == [first.domid, second.domid, first.domid]
    assert len({len(traceback.extract_tb(error.__traceback__)) for error in caught}) == 1
    assert (given.operation, given.domain, given.__traceback__, given.__context__) == (None, None, None, None)


def test_a_failure_that_cannot_be_copied(fake: FakeHost) -> None:
    class Odd(Exception):
        def __init__(self, one: int, other: int) -> None:
            super().__init__(f"{one} and {other}")

    fake.fail("list", Odd(1, 2), times=2)
    for _ in range(2):
        with pytest.raises(Odd, match="1 and 2"):
            fake.list()


def test_a_failure_keeps_what_was_put_into_it(fake: FakeHost) -> None:
    error = OSError(28, "No space left on device", "/srv/file")
    error.__cause__ = ValueError("why")
    fake.fail("save", error)
    with pytest.raises(OSError, match="No space") as caught:
        fake.create(config()).save("/srv/file")
    assert (caught.value.errno, caught.value.filename, caught.value.__cause__) == (28, "/srv/file", error.__cause__)


def test_a_verb_that_fails_for_one_domain(fake: FakeHost) -> None:
    first, second = fake.create(config("web1")), fake.create(config("web2"))
    fake.fail("pause", OperationFailed("stuck"), domain="web2", times=2)
    first.pause()
    for _ in range(2):
        with pytest.raises(OperationFailed, match="stuck"):
            second.pause()
    second.pause()


def test_a_failure_names_a_domain_that_does_not_run_by_its_uuid(fake: FakeHost) -> None:
    uuid = fake.define(config()).uuid
    fake.fail("start", OperationFailed("stuck"))
    with pytest.raises(OperationFailed) as caught:
        fake.start("web1")
    assert caught.value.domain == str(uuid)


def test_a_verb_that_always_fails(fake: FakeHost) -> None:
    fake.fail("list", ConnectFailed("no answer"), times=None)
    for _ in range(3):
        with pytest.raises(ConnectFailed):
            fake.list()
    with pytest.raises(InvalidArgument, match="not a verb"):
        fake.fail("teleport", OperationFailed("no"))


@pytest.mark.parametrize("verb", ["info", "events", "define", "defined", "stats", "console", "attach", "wait", "start"])
def test_every_verb_can_fail(fake: FakeHost, verb: str) -> None:
    domain = fake.create(config())
    fake.define(config())
    calls: dict[str, Callable[[], object]] = {
        "info": domain.info,
        "events": fake.events,
        "define": lambda: fake.define(config("web3")),
        "defined": fake.defined,
        "stats": domain.stats,
        "console": domain.console,
        "attach": lambda: domain.attach(Vif()),
        "wait": domain.wait,
        "start": lambda: fake.start("web1"),
    }
    fake.fail(verb, OperationFailed("as the test says"))
    with pytest.raises(OperationFailed, match="as the test says"):
        calls[verb]()


def test_files_and_bridges(fake: FakeHost) -> None:
    fake.missing.add("/boot/vmlinuz")
    with pytest.raises(FileMissing) as caught:
        fake.create(config())
    assert caught.value.filename == "/boot/vmlinuz"
    with pyxen.connect("memory:///?bridges=xenbr0,xenbr1") as other:
        other.create(config(vifs=[Vif(bridge="xenbr1")]))
        with pytest.raises(NotFound, match="no bridge br7"):
            other.create(config("web2", vifs=[Vif(bridge="br7")]))


def test_an_old_xen() -> None:
    with FakeHost(xen="4.17.0") as old:
        assert old.info().xen_version == "4.17.0"
        with pytest.raises(UnsupportedFeature, match=r"Xen 4\.17 does not support vifs\[0\]\.vlan"):
            old.create(config(vifs=[Vif(vlan="10")]))


def test_a_host_with_numa() -> None:
    with FakeHost(memory=4096, cpus=5, nodes=2) as numa:
        topology = numa.topology()
        assert topology.node_cpus == {0: (0, 1, 2), 1: (3, 4)}
        assert [cpu.core for cpu in topology.cpus] == [0, 1, 2, 0, 1]
        assert [(node.memory_kib, node.distances) for node in topology.nodes] == [(2**21, (10, 20)), (2**21, (20, 10))]
        assert (numa.info().nr_nodes, topology.nr_sockets) == (2, 2)
        guest = numa.create(config(cpus="nodes:1"))
        assert guest.config().cpus == CpuSet("3-4")
        guest.pin_vcpu(0, "nodes:0")
        with pytest.raises(InvalidArgument, match="no NUMA node 2"):
            guest.pin_vcpu(0, "nodes:2")


def test_its_clock_is_that_of_the_host(fake: FakeHost) -> None:
    assert fake.info().uptime_s == 0
    assert fake.idle_times_ns() == dict.fromkeys(range(4), 0)
    fake.advance(100)
    assert fake.info().uptime_s == 100
    assert all(0 < idle <= 100 * 10**9 for idle in fake.idle_times_ns().values())
    domain = fake.create(config(), paused=True)
    created = domain.uptime()
    fake.advance(60)
    later = domain.uptime()
    assert (later.start_time, later.uptime_s) == (created.start_time, (created.uptime_s or 0) + 60)
    fake.restart()
    assert fake.info().uptime_s == 0
    assert [uptime.uptime_s for uptime in fake.uptimes()] == [0]


def test_events_have_the_time_of_the_host(fake: FakeHost) -> None:
    with fake.events() as events:
        fake.advance(86400)
        domain = fake.create(config())
        fake.define(config())
        fake.undefine("web1")
        created, *_, defined, undefined = (events.get(30) for _ in range(4))
    assert created is not None
    started = domain.uptime().start_time
    assert started is not None
    assert created.time - started == timedelta(seconds=0.5)  # what a create takes
    assert [event.time for event in (defined, undefined) if event is not None] == [created.time] * 2


def test_time_beyond_the_calendar(fake: FakeHost) -> None:
    fake.advance(1e12)
    fake.advance(1e15)
    started = fake.create(config()).uptime().start_time
    assert started is not None
    assert started.year == 9999
    fake.define(config())


@pytest.mark.parametrize("xen", ["", "4", "four"])
def test_a_release_that_cannot_be(xen: str) -> None:
    with pytest.raises(InvalidArgument, match="not a version of Xen"):
        FakeHost(xen=xen)


@pytest.mark.parametrize(("memory", "cpus"), [(511, 1), (4096, 0)])
def test_a_host_that_cannot_be(memory: int, cpus: int) -> None:
    with pytest.raises(InvalidArgument, match="at least 512 MiB, for its dom0"):
        FakeHost(memory=memory, cpus=cpus)


def test_arguments_of_the_wrong_kind(fake: FakeHost) -> None:
    wrong: list[dict[str, Any]] = [{"memory": "64"}, {"cpus": 2.5}, {"nodes": None}, {"seed": "x"}, {"memory": True}]
    for settings in wrong:
        with pytest.raises(InvalidArgument, match="connect: takes a whole number, not "):
            FakeHost(**settings)
    wrong = [{"xen": 4.2}, {"time": "rael"}]
    for settings, message in zip(wrong, ("takes a str, not float, as xen", "one of virtual, real"), strict=True):
        with pytest.raises(InvalidArgument, match=message):
            FakeHost(**settings)
    for seconds in ("64", float("nan"), -1, 1j, None, True, float("inf"), 10**400):
        with pytest.raises(InvalidArgument, match=r"advance: .*give (a finite number of|a number of|seconds)"):
            fake.advance(seconds)  # type: ignore[arg-type]  # likewise
    assert fake.info().uptime_s == 0
    guest = fake.guest(fake.create(config()))
    calls: list[Callable[[], object]] = [
        lambda: guest.end("poweroff"),  # type: ignore[arg-type]  # likewise
        lambda: guest.end(ShutdownReason.CRASH, after=-1),
        lambda: guest.say("text"),  # type: ignore[arg-type]  # likewise
        lambda: fake.write_log(b"text"),  # type: ignore[arg-type]  # likewise
        lambda: fake.fail("create", "no"),  # type: ignore[arg-type]  # likewise
        lambda: fake.fail("create", OperationFailed("no"), times=0),
        lambda: fake.fail("create", OperationFailed("no"), times="2"),  # type: ignore[arg-type]  # likewise
    ]
    for call in calls:
        with pytest.raises(InvalidArgument):
            call()
    assert fake.unused_failures == ()


def test_a_backend_that_was_asked_for_is_kept(fake: FakeHost) -> None:
    disks = [Disk("/a", vdev="xvda", backendtype="phy"), Disk("/b", vdev="xvdb")]
    domain = fake.create(config(disks=disks))
    made = [domain.attach(Disk("/c", vdev="xvdc", backendtype="phy")), domain.attach(Disk("/d", vdev="xvdd"))]
    assert [disk.backendtype for disk in made] == ["phy", "phy"]
    asked = ["phy", None, "phy", None]
    assert [disk.backendtype for disk in domain.config().disks] == asked
    assert [entry.config.backendtype for entry in domain.disks.list()] == asked


def test_a_host_that_goes_away(fake: FakeHost) -> None:
    domain = fake.create(config())
    events = fake.events()
    waiting = domain.begin.wait()
    fake.vanish()
    with pytest.raises(ConnectFailed):
        waiting.result(30)
    for call in (fake.list, fake.info, domain.info, domain.destroy, fake.events, lambda: fake.create(config("web2"))):
        with pytest.raises(ConnectFailed):
            call()
    lost: list[ConnectFailed] = []
    for _ in range(2):
        with pytest.raises(ConnectFailed) as caught:
            fake.list()
        lost.append(caught.value)
    assert lost[0] is not lost[1]
    assert list(events) == []
    with pytest.raises(HostClosed):
        events.get()
    with pytest.raises(ConnectFailed):
        pyxen.connect(fake.uri)


def test_a_host_that_restarts(fake: FakeHost) -> None:
    fake.define(config("web1"), autostart=True)
    fake.define(config("web2"))
    first = fake.start("web1")
    fake.create(config("web3"))
    fake.restart()
    assert [info.name for info in fake.list()] == ["Domain-0", "web1"]
    assert first not in fake.domains
    assert fake.domains["web1"].uuid == first.uuid


def test_a_host_that_restarts_and_cannot_start_all(fake: FakeHost) -> None:
    for name, kernel in (("web1", "/gone"), ("web2", "/boot/vmlinuz"), ("web3", "/gone")):
        fake.define(config(name, kernel=kernel), autostart=True)
    fake.missing.add("/gone")
    with pytest.raises(ExceptionGroup, match="some domains did not start") as caught:
        fake.restart()
    assert [(type(error), str(error).partition(":")[0]) for error in caught.value.exceptions] == [
        (FileMissing, "start web1"),
        (FileMissing, "start web3"),
    ]
    assert [info.name for info in fake.list()] == ["Domain-0", "web2"]


def test_what_was_pinned(fake: FakeHost) -> None:
    domain = fake.create(config(vcpus=2))
    domain.pin_vcpu(1, "0-1", cpus_soft="all,^0")
    assert fake.guest(domain).pins == {1: (CpuSet("0-1"), CpuSet("1-3"))}


def test_it_is_the_same_each_time() -> None:
    def told(seed: int) -> list[Event]:
        with FakeHost(seed=seed) as fake, fake.events() as events:
            domain = fake.create(config(vifs=[Vif(), Vif()]))
            assert all(vif.mac for vif in domain.config().vifs)
            macs.append([vif.mac for vif in domain.config().vifs])
            domain.shutdown()
            fake.close()
            return list(events)

    macs: list[list[str | None]] = []
    first, second, other = ([(type(event), event.uuid) for event in told(seed)] for seed in (1, 1, 2))
    assert first == second != other
    assert macs[0] == macs[1] != macs[2]


def test_the_other_faces_of_it(fake: FakeHost) -> None:
    async def main() -> None:
        async with fake.aio() as xen:
            domain = await xen.create(config())
            await domain.shutdown(timeout=60)
            with pytest.raises(OperationTimeout):
                await (await xen.create(config("web2", cmdline="ignore"))).shutdown(timeout=3600)

    asyncio.run(main())
    assert [info.name for info in fake.list()] == ["Domain-0", "web2"]
    with fake.standing_in(), pyxen.connect("xenlight:///") as xen:
        assert xen.uri == fake.uri
        assert xen.domains["web2"].uuid == fake.domains["web2"].uuid
    with pytest.raises(pyxen.UnsupportedFeature):
        pyxen.connect("nothing:///")


def test_its_uri_leads_nowhere_when_it_was_closed() -> None:
    fake = FakeHost()
    fake.create(config())
    uri = fake.uri
    fake.close()
    fake.close()
    with pyxen.connect(uri) as other:
        assert len(other.domains) == 1
    with pytest.raises(HostClosed):
        fake.advance(1)


def test_time_that_is_real() -> None:
    with FakeHost(time="real") as fake:
        with pytest.raises(InvalidArgument, match="real"):
            fake.advance(1)
        with fake.events(DomainShutdown) as events:
            fake.create(config(cmdline="crash"))
            event = events.get(30)
        assert isinstance(event, DomainShutdown)
        assert event.reason is ShutdownReason.CRASH


def test_events_have_come_when_a_call_returns(fake: FakeHost) -> None:
    with fake.events() as events:
        domain = fake.create(config(cmdline="poweroff", type="hvm", disks=[Disk("/a.iso", vdev="hdc", cdrom=True)]))
        domain.insert_cdrom("hdc", "/b.iso")
        domain.eject_cdrom("hdc")
        domain.eject_cdrom("hdc")
        fake.guest(domain).crash()
        domain.destroy()
        names = []
        while (event := events.get(0)) is not None:
            names.append(type(event).__name__)
    devices = ["DeviceAdded"] * 3
    gone = ["DeviceRemoved"] * 3
    assert names == [
        "DomainCreated",
        *devices,
        "DiskEjected",
        "DiskEjected",
        "DomainShutdown",
        *gone,
        "DomainDestroyed",
    ]
    assert DiskEjected.__name__ in names


def test_a_preserved_domain_is_another_one(fake: FakeHost) -> None:
    domain = fake.create(config())
    fake.guest(domain).crash()
    with fake.events() as events:
        old = domain.preserve("-old")
        found = [events.get(0) for _ in range(4)]
        assert events.get(0) is None
    gone, created, _, ended = found
    assert isinstance(gone, DomainDestroyed)
    assert isinstance(created, DomainCreated)
    assert isinstance(ended, DomainShutdown)
    assert (gone.name, gone.uuid, created.name, created.uuid) == ("web1", domain.uuid, "web1-old", old.uuid)


def test_a_domid_is_kept_back(fake: FakeHost) -> None:
    domain = fake.create(config(domid=7))
    with pytest.raises(OperationFailed, match="File exists"):
        fake.create(config("web2", domid=7))
    domain.destroy()
    with pytest.raises(OperationFailed) as caught:
        fake.create(config(domid=7))
    assert caught.value.log == ("Domain 7:domain id recently used: Operation not supported",)
    fake.advance(61)
    again = fake.create(config(domid=7))
    assert again.domid == 7
    assert domain not in fake.domains


def test_dom0(fake: FakeHost) -> None:
    dom0 = fake.domains[0]
    assert (dom0.info().name, dom0.uuid) == ("Domain-0", UUID(int=0))
    assert dom0.config().name == "Domain-0"
    for call in (dom0.destroy, dom0.pause, dom0.shutdown, dom0.suspend):
        with pytest.raises(OperationFailed, match="dom0"):
            call()


def test_closing_stops_what_runs(fake: FakeHost) -> None:
    with pyxen.connect(fake.uri) as other:
        fake.create(config(cmdline="ignore"))
        waiting = other.domains["web1"].begin.wait()
    with pytest.raises(OperationCancelled, match="the host was closed"):
        waiting.result(30)
    assert "web1" in fake.domains


def test_a_callback_must_not_wait_for_itself(fake: FakeHost) -> None:
    def wait(_: object) -> None:
        try:
            fake.create(config("web2"))
        except RuntimeError as error:
            raised.append(error)
        tried.set()

    raised: list[RuntimeError] = []
    tried = threading.Event()
    fake.begin.create(config()).add_done_callback(wait)
    assert tried.wait(30)
    assert len(raised) == 1


def test_after_a_fork(fake: FakeHost) -> None:
    domain = fake.create(config())
    assert told_by_a_child([fake.list, fake.info, domain.info, domain.destroy]) == ["HostClosed"] * 4
    domain.destroy()


def test_no_thread_is_left() -> None:
    before = threading.enumerate()
    for _ in range(3):
        with FakeHost() as fake:
            fake.create(config())
    until(lambda: not [thread for thread in threading.enumerate() if thread not in before], "a thread is left")


def test_the_calls_are_logged(fake: FakeHost) -> None:
    domain = fake.create(config())
    with pyxen.connect(fake.uri) as other:
        other.domains["web1"].pause()
    with pytest.raises(InvalidState):
        domain.shutdown()
    fake.fail("create", NotEnoughMemory("no room"))
    with pytest.raises(NotEnoughMemory):
        fake.create(config("web2"))
    domain.destroy()
    with pytest.raises(DomainNotFound):
        domain.save("/srv/file")
    looks = {"list", "info"}
    assert [(call.verb, call.subject) for call in fake.calls if call.verb not in looks] == [
        ("create", "web1"),
        ("pause", "web1"),
        ("shutdown", "web1"),
        ("create", "web2"),
        ("destroy", "web1"),
        ("save", domain.domid),
    ]
    assert Call("list", None) in fake.calls
    fake.forget_calls()
    assert fake.calls == ()
