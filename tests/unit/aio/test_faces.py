"""The two faces, blocking and for asyncio, match: names, signatures, docstrings, and what they ask of a backend."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

import pyxen.aio
from pyxen import CpuSet, Disk, DomainRenamed, DomainState, RemusOptions, Scheduler
from pyxen.aio._calls import Calls
from pyxen.begin import DomainOperations, HostOperations
from tests.unit.aio.fakehost import CONFIG, DEFINED, FakeBackend

FACES = [
    (pyxen.Host, pyxen.aio.Host),
    (pyxen.Domain, pyxen.aio.Domain),
    (pyxen.Domains, pyxen.aio.Domains),
    (pyxen.Guests, pyxen.aio.Guests),
    (pyxen.Vm, pyxen.aio.Vm),
    (pyxen.Pool, pyxen.aio.Pool),
    (pyxen.Cpupool, pyxen.aio.Cpupool),
    (pyxen.Cpupools, pyxen.aio.Cpupools),
    (pyxen.PciDevices, pyxen.aio.PciDevices),
    (pyxen.UsbDevices, pyxen.aio.UsbDevices),
    (pyxen.LibvirtVerbs, pyxen.aio.LibvirtVerbs),
    (pyxen.EventReader, pyxen.aio.EventReader),
    (pyxen.Hypfs, pyxen.aio.Hypfs),
    (pyxen.LiveDevices, pyxen.aio.LiveDevices),
    (pyxen.LogReader, pyxen.aio.LogReader),
    (pyxen.ConsoleStream, pyxen.aio.ConsoleStream),
    (pyxen.Flask, pyxen.aio.Flask),
    (pyxen.Psr, pyxen.aio.Psr),
    (pyxen.DeviceTree, pyxen.aio.DeviceTree),
    (pyxen.Qmp, pyxen.aio.Qmp),
    (pyxen.QmpEvents, pyxen.aio.QmpEvents),
    (pyxen.Xenstore, pyxen.aio.Xenstore),
    (pyxen.XenstoreWatch, pyxen.aio.XenstoreWatch),
]

NOT_AWAITED = {
    pyxen.aio.Domain.console_stream,
    pyxen.aio.Host.events,
    pyxen.aio.Host.follow_log,
    pyxen.aio.Host.supports,
    pyxen.aio.Host.vm,
    pyxen.aio.Qmp.events,
    pyxen.aio.Xenstore.watch,
}
"""Methods of the asyncio face that have nothing to wait for."""


def public(cls: type) -> set[str]:
    """Return the names of a class and of its own base, but not those of the collections of Python."""
    names = {name for kind in cls.__mro__ if kind.__module__.startswith("pyxen.") for name in vars(kind)}
    return {name for name in names if not name.startswith("_") or name == "__getitem__"}


METHODS = [
    pytest.param(getattr(blocking, name), getattr(awaited, name), id=f"{blocking.__name__}.{name}")
    for blocking, awaited in FACES
    for name in sorted(public(blocking))
    if inspect.isfunction(getattr(blocking, name))
]

PROPERTIES = [
    pytest.param(getattr(blocking, name), getattr(awaited, name), id=f"{blocking.__name__}.{name}")
    for blocking, awaited in FACES
    for name in sorted(public(blocking))
    if isinstance(getattr(blocking, name), property)
]


@pytest.mark.parametrize(("blocking", "awaited"), FACES)
def test_the_names_are_the_same(blocking: type, awaited: type) -> None:
    assert public(awaited) == public(blocking)


@pytest.mark.parametrize(("blocking", "awaited"), METHODS)
def test_the_methods_are_the_same(blocking: Callable[..., Any], awaited: Callable[..., Any]) -> None:
    assert inspect.iscoroutinefunction(awaited) is (awaited not in NOT_AWAITED)
    assert not inspect.iscoroutinefunction(blocking)
    assert inspect.signature(awaited) == inspect.signature(blocking)
    assert awaited.__doc__ == blocking.__doc__ is not None


@pytest.mark.parametrize(("blocking", "awaited"), PROPERTIES)
def test_the_properties_are_the_same(blocking: property, awaited: property) -> None:
    assert inspect.signature(awaited.fget or print) == inspect.signature(blocking.fget or print)
    assert awaited.__doc__ == blocking.__doc__ is not None


def test_connect_is_the_same() -> None:
    blocking, awaited = inspect.signature(pyxen.connect), inspect.signature(pyxen.aio.connect)
    assert awaited.parameters == blocking.parameters
    assert pyxen.aio.connect.__doc__ == pyxen.connect.__doc__


# What they ask of a backend

DISK = Disk("/dev/vg0/data", vdev="xvdb")
REMUS = RemusOptions(interval=1, netbuf=False, diskbuf=False, allow_unsafe=True)

CALLS: dict[str, Callable[[Any, Any], Any]] = {
    "Host.create": lambda host, _: host.create(CONFIG, paused=True, autoballoon=True, timeout=5),
    "Host.restore": lambda host, _: host.restore(
        Path("/srv/web1.save"), CONFIG, paused=True, autoballoon=False, timeout=5
    ),
    "Host.receive_migration": lambda host, _: host.receive_migration(0, 1, remus=True, paused=True, timeout=5),
    "Host.start": lambda host, _: host.start("web9", paused=True, timeout=5),
    "Host.devd": lambda host, _: host.devd(timeout=5),
    "Domain.pause": lambda _, domain: domain.pause(),
    "Domain.unpause": lambda _, domain: domain.unpause(),
    "Domain.shutdown": lambda _, domain: domain.shutdown(wait=False, fallback=True, timeout=5),
    "Domain.reboot": lambda _, domain: domain.reboot(timeout=5),
    "Domain.destroy": lambda _, domain: domain.destroy(timeout=5),
    "Domain.wait": lambda _, domain: domain.wait("paused", DomainState.CRASHED, timeout=5),
    "Domain.suspend": lambda _, domain: domain.suspend(timeout=5),
    "Domain.resume": lambda _, domain: domain.resume(),
    "Domain.save": lambda _, domain: domain.save(Path("/srv/a"), checkpoint=True, leave_paused=True, timeout=5),
    "Domain.migrate": lambda _, domain: domain.migrate("root@host2", paused=True, timeout=5),
    "Domain.migrate_over": lambda _, domain: domain.migrate_over(0, 1, timeout=5),
    "Domain.remus": lambda _, domain: domain.remus(None, REMUS, timeout=5),
    "Domain.remus_over": lambda _, domain: domain.remus_over(0, 1, REMUS, timeout=5),
    "Domain.core_dump": lambda _, domain: domain.core_dump(Path("/srv/web1.core"), timeout=5),
    "Domain.soft_reset": lambda _, domain: domain.soft_reset(timeout=5),
    "Domain.config": lambda _, domain: domain.config(),
    "Domain.update_config": lambda _, domain: domain.update_config(CONFIG),
    "Domain.rename": lambda _, domain: domain.rename("web2"),
    "Domain.preserve": lambda _, domain: domain.preserve("-20250131T0730Z"),
    "Domain.send_trigger": lambda _, domain: domain.send_trigger("nmi", vcpu=1),
    "Domain.send_sysrq": lambda _, domain: domain.send_sysrq("s"),
    "Domain.attach": lambda _, domain: domain.attach(DISK, timeout=5),
    "Domain.detach": lambda _, domain: domain.detach("xvdb", force=True, timeout=5),
    "Domain.insert_cdrom": lambda _, domain: domain.insert_cdrom("hdc", Path("/srv/a.iso"), timeout=5),
    "Domain.eject_cdrom": lambda _, domain: domain.eject_cdrom("hdc", timeout=5),
    "Domain.set_memory": lambda _, domain: domain.set_memory(256.5),
    "Domain.wait_memory": lambda _, domain: domain.wait_memory(timeout=5),
    "Domain.set_maxmem": lambda _, domain: domain.set_maxmem(512),
    "Domain.set_vcpus": lambda _, domain: domain.set_vcpus(2),
    "Domain.set_node_affinity": lambda _, domain: domain.set_node_affinity([1]),
    "Domain.pin_vcpu": lambda _, domain: domain.pin_vcpu(2, "0-3", cpus_soft=[1], force=True),
    "Domain.set_scheduler": lambda _, domain: domain.set_scheduler(Scheduler(weight=512), vcpu="all"),
    "Domain.set_cpupool": lambda _, domain: domain.set_cpupool("batch"),
    "Domain.monitor_command": lambda _, domain: domain.monitor_command("info block", timeout=5),
    "Domain.userdata": lambda _, domain: domain.userdata("tool"),
    "Domain.add_console": lambda _, domain: domain.add_console(port=3, gfn=0xFEFFC, backend_domid=2),
    "Domain.set_userdata": lambda _, domain: domain.set_userdata("tool", b"note"),
}
"""A call of each method that begins an operation, given a host and its domain web1, with no argument as by default."""

DEFAULTS: dict[str, Callable[[Any, Any], Any]] = {
    "Host.create": lambda host, _: host.create(CONFIG),
    "Host.restore": lambda host, _: host.restore("/srv/web1.save"),
    "Host.receive_migration": lambda host, _: host.receive_migration(0, 1),
    "Host.start": lambda host, _: host.start(DEFINED.uuid),
    "Host.devd": lambda host, _: host.devd(),
    "Domain.add_console": lambda _, domain: domain.add_console(),
    "Domain.shutdown": lambda _, domain: domain.shutdown(),
    "Domain.reboot": lambda _, domain: domain.reboot(),
    "Domain.destroy": lambda _, domain: domain.destroy(),
    "Domain.wait": lambda _, domain: domain.wait(),
    "Domain.suspend": lambda _, domain: domain.suspend(),
    "Domain.save": lambda _, domain: domain.save("/srv/web1.save"),
    "Domain.migrate": lambda _, domain: domain.migrate(["xl", "migrate-receive"]),
    "Domain.migrate_over": lambda _, domain: domain.migrate_over(0, 1),
    "Domain.remus": lambda _, domain: domain.remus("root@host2"),
    "Domain.remus_over": lambda _, domain: domain.remus_over(0, 1),
    "Domain.core_dump": lambda _, domain: domain.core_dump("/srv/web1.core"),
    "Domain.soft_reset": lambda _, domain: domain.soft_reset(),
    "Domain.send_trigger": lambda _, domain: domain.send_trigger("power"),
    "Domain.attach": lambda _, domain: domain.attach(DISK),
    "Domain.detach": lambda _, domain: domain.detach(DISK),
    "Domain.insert_cdrom": lambda _, domain: domain.insert_cdrom("hdc", "/srv/a.iso"),
    "Domain.eject_cdrom": lambda _, domain: domain.eject_cdrom("hdc"),
    "Domain.set_memory": lambda _, domain: domain.set_memory(memory_kib=262656),
    "Domain.wait_memory": lambda _, domain: domain.wait_memory(),
    "Domain.set_maxmem": lambda _, domain: domain.set_maxmem(maxmem_kib=524289),
    "Domain.pin_vcpu": lambda _, domain: domain.pin_vcpu("all", CpuSet("nodes:0")),
    "Domain.set_scheduler": lambda _, domain: domain.set_scheduler(Scheduler(weight=512)),
    "Domain.scheduler": lambda _, domain: domain.scheduler(),
}
"""The same, with as few arguments as can be."""

ASKED: dict[str, Callable[[Any, Any], Any]] = {
    "Host.define": lambda host, _: host.define(CONFIG, autostart=True),
    "Host.defined_config": lambda host, _: host.defined_config("web9"),
    "Host.undefine": lambda host, _: host.undefine("web9"),
    "Host.set_autostart": lambda host, _: host.set_autostart(DEFINED.uuid, autostart=True),
    "Host.stats": lambda host, _: host.stats(),
    "Domain.stats": lambda _, domain: domain.stats(),
    "Host.topology": lambda host, _: host.topology(),
    "Host.idle_times_ns": lambda host, _: host.idle_times_ns(),
    "Host.uptimes": lambda host, _: host.uptimes(),
    "Domain.uptime": lambda _, domain: domain.uptime(),
    "Domain.memory": lambda _, domain: domain.memory(),
    "Domain.vcpus": lambda _, domain: domain.vcpus(),
    "Domain.node_affinity": lambda _, domain: domain.node_affinity(),
    "Domain.scheduler": lambda _, domain: domain.scheduler(vcpu=1),
    "Domain.endpoints": lambda _, domain: domain.endpoints(),
    "Domain.console_log": lambda _, domain: domain.console_log(),
}
"""A call of each method that asks a backend something, and begins no operation."""

OTHERS = {
    *("Host.close", "Host.info", "Host.list", "Host.orphans", "Host.defined", "Host.supports"),
    *("Domain.info", "Domain.console", "Domains.get", "Domains.__getitem__", "Guests.get", "Guests.__getitem__"),
    *("Host.vm", "Vm.domain", "Vm.get", "Vm.info", "Vm.wait_start"),
}
"""Methods that the asyncio face leaves to the blocking one."""

OF_XENSTORE = {param.id for param in METHODS if str(param.id).startswith("Xenstore")}
"""Methods that tests/unit/aio/test_xenstore.py calls."""

OF_COPIES = {"Host.pool", "Host.clone", "Pool.take", "Pool.wait", "Pool.close"}
"""Methods that test_pool.py calls."""

OF_PLANS = {"Host.apply", "Host.check_create"}
"""Methods that tests/unit/memory/test_apply.py and tests/unit/aio/test_guests.py call."""

OF_CONSOLES = {param.id for param in METHODS if str(param.id).startswith("ConsoleStream")} | {"Domain.console_stream"}
"""Methods that tests/unit/test_consolestream.py calls."""
OF_ALL = {"Guests.shutdown_all", "Guests.reboot_all"}
"""Methods that test_guests.py calls."""

OF_LIBVIRT = {param.id for param in METHODS if str(param.id).startswith("LibvirtVerbs")}
"""Methods that tests/libvirt/test_own_verbs.py calls."""


OF_QEMU = {"Qmp.execute", "Qmp.events", "QmpEvents.get", "QmpEvents.close"}
"""Methods that tests/offhost/test_qmp.py calls."""

OF_EVENTS = {"Host.events", "EventReader.get", "EventReader.close"}
"""Methods that begin no operation."""

OF_XEN = {
    *("Host.log", "Host.follow_log", "Host.debug_keys", "Host.set_parameters", "LogReader.get", "LogReader.close"),
    *("Hypfs.__getitem__", "Hypfs.get", "Hypfs.list", "Hypfs.write"),
    *(f"Flask.{name}" for name in ("enforcing", "set_enforcing", "load_policy", "label", "ssidref")),
    *(f"Psr.{name}" for name in ("monitoring", "cache_kib", "attach", "detach", "is_attached", "sample")),
    *(f"Psr.{name}" for name in ("allocations", "get", "set")),
    *(f"DeviceTree.{name}" for name in ("add", "remove", "attach")),
}
"""Methods for Xen itself, which take no time: ``begin`` has none of them. See test_hypervisor.py."""
OF_POOLS = {
    *("Cpupool.info", "Cpupool.rename", "Cpupool.destroy", "Cpupool.add_cpus", "Cpupool.remove_cpus"),
    *("Cpupool.scheduler", "Cpupool.set_scheduler"),
    *("Cpupools.__getitem__", "Cpupools.get", "Cpupools.list", "Cpupools.create", "Cpupools.numa_split"),
    "Cpupools.free_cpus",
}
"""The methods of CPU pools, all of which `test_cpupools.py` calls."""

OF_DEVICES = {f"LiveDevices.{name}" for name in ("__getitem__", "get", "list", "attach", "detach")}
"""The methods of the devices of a domain, all of which `test_live_devices.py` calls."""

OF_HOST_DEVICES = {
    *(f"PciDevices.{name}" for name in ("__getitem__", "get", "list")),
    *(f"PciDevices.assignable_{name}" for name in ("list", "add", "remove")),
    *(f"UsbDevices.{name}" for name in ("__getitem__", "get", "list")),
}
"""The methods for the host's devices, all of which `test_host_devices.py` calls."""


@pytest.fixture
def backend() -> FakeBackend:
    backend = FakeBackend()
    backend.at_once = {name.partition(".")[2] for name in CALLS}
    return backend


def ask_blocking(backend: FakeBackend, call: Callable[[Any, Any], Any]) -> Any:
    with pyxen.Host(backend) as host:
        return call(host, host.domains["web1"])


def ask_awaited(backend: FakeBackend, call: Callable[[Any, Any], Any]) -> Any:
    async def main() -> Any:
        async with pyxen.aio.Host(backend, Calls()) as host:
            return await call(host, await host.domains["web1"])

    return asyncio.run(main())


def plain(value: object) -> object:
    """Return what two results have in common if they are the same domain, each of its face."""
    if isinstance(value, pyxen.Domain | pyxen.aio.Domain):
        return value.domid, value.uuid
    return value


def test_every_method_is_called() -> None:
    called = CALLS.keys() | ASKED.keys() | OTHERS | OF_EVENTS | OF_XEN | OF_XENSTORE | OF_POOLS | OF_QEMU | OF_PLANS
    called |= OF_COPIES | OF_CONSOLES | OF_DEVICES | OF_HOST_DEVICES | OF_LIBVIRT | OF_ALL
    assert {param.id for param in METHODS} == called


@pytest.mark.parametrize("name", [*CALLS, *ASKED])
@pytest.mark.parametrize("calls", [CALLS | ASKED, DEFAULTS], ids=["all arguments", "defaults"])
def test_both_ask_the_same(backend: FakeBackend, name: str, calls: dict[str, Callable[[Any, Any], Any]]) -> None:
    call = calls.get(name) or (CALLS | ASKED)[name]
    of_blocking = ask_blocking(backend, call)
    backend.closes = 0
    of_awaited = ask_awaited(backend, call)
    first, second = backend.requests
    assert first == second
    assert first[0] == name.partition(".")[2]
    assert plain(of_awaited) == plain(of_blocking)


def begun(backend: FakeBackend, host: Any, domain: Any, name: str) -> list[Any]:
    """Begin a verb on a face's ``begin``, and return the operations that came of it."""
    before = len(backend.operations)
    target = domain if name.startswith("Domain.") else host
    CALLS[name](target.begin, target.begin)
    return backend.operations[before:]


@pytest.mark.parametrize("name", CALLS)
def test_what_is_begun_is_not_waited_for(backend: FakeBackend, name: str) -> None:
    backend.at_once = set()
    with pyxen.Host(backend) as host:
        (operation,) = begun(backend, host, host.domains["web1"], name)
        assert not operation.done()


@pytest.mark.parametrize("name", CALLS)
def test_begin_has_the_same_parameters(name: str) -> None:
    face, _, verb = name.partition(".")
    operations = {"Host": HostOperations, "Domain": DomainOperations}[face]
    of_face = inspect.signature(getattr(getattr(pyxen, face), verb))
    begun = str(inspect.signature(getattr(operations, verb)).replace(return_annotation=inspect.Signature.empty))
    of_face = of_face.replace(return_annotation=inspect.Signature.empty)
    assert begun.replace("[H]", "[Domain]") == str(of_face)  # a handle of either face


def test_what_was_begun_gives_the_handle_of_its_face(backend: FakeBackend) -> None:
    with pyxen.Host(backend) as host:
        assert isinstance(host.begin.create(CONFIG).result(), pyxen.Domain)

    async def main() -> None:
        backend.closes = 0
        async with pyxen.aio.Host(backend, Calls()) as host:
            creating = host.begin.create(CONFIG)
            assert isinstance(await creating, pyxen.aio.Domain)
            assert isinstance((await host.domains["web1"]).begin.preserve("-old").result(), pyxen.aio.Domain)

    asyncio.run(main())


# Timeouts, which are checked before anything is begun


class OtherTimeout:
    """A host or a domain whose methods are called with another timeout than they are given."""

    def __init__(self, target: Any, timeout: Any) -> None:
        self._target = target
        self._timeout = timeout

    def __getattr__(self, name: str) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            return getattr(self._target, name)(*args, **{**kwargs, "timeout": self._timeout})

        return call


def takes_timeout(name: str) -> bool:
    face, _, verb = name.partition(".")
    return "timeout" in inspect.signature(getattr(getattr(pyxen, face), verb)).parameters


LATE = [name for name in CALLS if takes_timeout(name)]


def call_with(backend: FakeBackend, name: str, timeout: Any) -> None:
    with pyxen.Host(backend) as host:
        CALLS[name](OtherTimeout(host, timeout), OtherTimeout(host.domains["web1"], timeout))


@pytest.mark.parametrize("timeout", [float("nan"), -1, float("-inf"), "5"])
@pytest.mark.parametrize("name", LATE)
def test_a_timeout_that_is_not_valid_begins_nothing(backend: FakeBackend, name: str, timeout: Any) -> None:
    with pytest.raises(pyxen.InvalidArgument, match="timeout="):
        call_with(backend, name, timeout)
    assert backend.requests == []


@pytest.mark.parametrize(
    ("timeout", "asked"), [(float("inf"), None), (2_200_000, 2_200_000.0), (1e300, None), (0, 0.0)]
)
@pytest.mark.parametrize("name", LATE)
def test_the_timeout_that_a_backend_gets(backend: FakeBackend, name: str, timeout: float, asked: float | None) -> None:
    call_with(backend, name, timeout)
    ((_, arguments),) = backend.requests
    assert arguments["timeout"] == asked


def test_most_verbs_have_a_timeout() -> None:
    assert len(LATE) > 20


@pytest.mark.parametrize("timeout", [float("nan"), -1, "5"])
def test_the_timeout_of_a_reader(backend: FakeBackend, timeout: Any) -> None:
    with pyxen.Host(backend) as host, host.events() as events, pytest.raises(pyxen.InvalidArgument, match="timeout="):
        events.get(timeout)

    async def main() -> None:
        backend.closes = 0
        async with pyxen.aio.Host(backend, Calls()) as host, host.events() as events:
            with pytest.raises(pyxen.InvalidArgument, match="timeout="):
                await events.get(timeout)

    asyncio.run(main())


# Handles, which records and operations have


def test_the_handles_of_records_and_operations(backend: FakeBackend) -> None:
    with pyxen.Host(backend) as host:
        web1 = host.domains["web1"]
        assert web1.name == "web1"
        assert [info.domain for info in host.list()] == [host.domains[info.domid] for info in backend.infos]
        assert web1.info().domain is web1
        assert web1.begin.reboot().domain is web1
        created = host.begin.create(CONFIG)
        assert created.domain is created.result()
        assert created.result().name == "web1"
        preserved = web1.preserve("-old")
        assert preserved.name == "web1-old"
        web1.rename("other")
        assert web1.name == "other"
        with host.events() as events:
            event = DomainRenamed(domid=3, uuid=web1.uuid, name="b", time=datetime.now(UTC), old="a", new="b")
            backend.tell(event)
            told = events.get(5)
        assert told == event
        assert told.domain == web1
        assert told.domain.name == "b"

    async def main() -> None:
        backend.closes = 0
        async with pyxen.aio.Host(backend, Calls()) as host:
            web1 = await host.domains["web1"]
            assert [info.domain for info in await host.list()][1] == web1
            assert (await web1.info()).domain is web1
            assert (await host.create(CONFIG)).name == "web1"
            async with host.events() as events:
                backend.tell(event)
                told = await events.get(5)
            assert told is not None
            assert isinstance(told.domain, pyxen.aio.Domain)

    asyncio.run(main())
