"""A simulated host in the child of a fork."""

from __future__ import annotations

import asyncio
import contextlib
import select
from collections.abc import Callable

import pytest

import pyxen
import pyxen.aio
from pyxen import DomainConfig, Hosts, OperationFailed, ShutdownReason
from pyxen.metrics import HostCollector
from pyxen.testing import FakeHost
from tests.forks import check_no_lock_is_waited_for, locks_of, told_by_a_child, told_under
from tests.waiting import until


def test_the_child_of_a_fork_waits_for_no_lock() -> None:
    with pyxen.connect("memory:///") as host:
        web = host.create(DomainConfig("web", kernel="/boot/vmlinuz", memory=64))
        locks = check_no_lock_is_waited_for(
            host,
            web,
            DomainConfig("db", kernel="/boot/vmlinuz", memory=64),
            read=lambda: host.xenstore.read("/local/domain/0/name"),
            watch=lambda: host.xenstore.watch("/tool"),
            topology=host.topology,
            pause=web.pause,
        )
        assert any(name.startswith("Engine") for name in locks)
        web.destroy()


def test_what_a_test_does_to_its_host_in_the_child_of_a_fork() -> None:
    def connect() -> object:
        with fake.standing_in():
            return pyxen.connect()

    with contextlib.ExitStack() as stack:
        fake = stack.enter_context(FakeHost(time="real"))
        web = fake.create(DomainConfig("web", kernel="/boot/vmlinuz", memory=64))
        guest = fake.guest(web)
        console = stack.enter_context(web.console())
        refused: dict[str, Callable[[], object]] = {
            "calls": lambda: fake.calls,
            "debug_keys_sent": lambda: fake.debug_keys_sent,
            "enable_flask": lambda: fake.enable_flask({}),
            "fail": lambda: fake.fail("list", OperationFailed("no")),
            "forget_calls": fake.forget_calls,
            "guest": lambda: fake.guest(web),
            "restart": fake.restart,
            "standing_in": connect,
            "unused_failures": lambda: fake.unused_failures,
            "vanish": fake.vanish,
            "write_log": lambda: fake.write_log("x"),
            "answers": lambda: setattr(guest, "answers", False),
            "boot": guest.boot,
            "crash": guest.crash,
            "drivers": lambda: setattr(guest, "drivers", False),
            "end": lambda: guest.end(ShutdownReason.CRASH, after=1),
            "pins": lambda: guest.pins,
            "qmp": lambda: setattr(guest, "qmp", {}),
            "qmp_event": lambda: guest.qmp_event("STOP"),
            "say": lambda: guest.say(b"x"),
        }
        closes: dict[str, Callable[[], object]] = {"close": fake.close, "closed": fake.close}
        wanted = dict.fromkeys(refused, "HostClosed") | dict.fromkeys(closes, "None")
        for name, lock in locks_of([fake, guest]):
            assert told_under([lock], refused | closes) == wanted, name
        guest.say(b"the parent's")  # its console is still open
        shown: list[bytes] = []

        def has_come() -> bool:
            shown.append(console.read(20) or b"" if select.select([console], [], [], 0)[0] else b"")
            return b"".join(shown).endswith(b"the parent's")

        until(has_come, "its console is closed")
        assert fake.unused_failures == ()


def test_the_time_of_a_host_in_the_child_of_a_fork() -> None:
    with FakeHost() as fake:
        for name, lock in locks_of([fake]):
            calls: dict[str, Callable[[], object]] = {"advance": lambda: fake.advance(1), "close": fake.close}
            assert told_under([lock], calls) == {"advance": "HostClosed", "close": "None"}, name
        assert fake.info().uptime_s == 0


def test_readers_in_the_child_of_a_fork() -> None:
    with pyxen.connect("memory:///") as host:
        web = host.create(DomainConfig("web", kernel="/boot/vmlinuz", memory=64))
        with web.console_stream() as console, host.follow_log() as log:
            refused: dict[str, Callable[[], object]] = {
                "read": lambda: console.read(0),
                "get": lambda: console.get(0),
                "write": lambda: console.write("x"),
                "write_some": lambda: console.write_some("x"),
                "path": lambda: console.path,
                "log.get": lambda: log.get(0),
            }
            closes: dict[str, Callable[[], object]] = {
                "console": console.close,
                "closed": console.close,
                "log.close": log.close,
            }
            wanted = dict.fromkeys(refused, "HostClosed") | dict.fromkeys(closes, "None")
            for lock in (console._reading._lock, console._writing, console._gate, console._mending):
                assert told_under([lock], refused | closes) == wanted
            assert told_under([log._reading._lock], refused | closes) == wanted
            seen = b""
            while not seen.endswith(b"login: "):  # it boots
                seen += console.read(10) or pytest.fail("the console is silent")
            console.write("x")  # the parent goes on, and nothing has woken it
            while not seen.endswith(b"x"):
                seen += console.read(10) or pytest.fail("the console is silent")
            assert console.read(0) is None


def test_a_reader_of_qemus_events_in_the_child_of_a_fork() -> None:
    with pyxen.connect("memory:///") as host:
        web = host.create(DomainConfig("web", type="hvm", memory=64))
        with web.qmp.events() as events:
            closes: dict[str, Callable[[], object]] = {"get": lambda: events.get(0), "close": events.close}
            assert told_under([events._queue._changed], closes) == {"get": "HostClosed", "close": "None"}
            assert events._listening is not None
            assert not events._listening.done()  # the parent goes on
        web.destroy()


def test_awaited_readers_and_hosts_in_the_child_of_a_fork() -> None:
    """A task of the parent has begun a call, and never ends in the child."""

    async def main() -> None:
        async with pyxen.aio.connect("memory:///") as host, pyxen.aio.Hosts({"one": "memory:///"}) as hosts:
            log = host.follow_log()

            async def errors() -> set[str]:
                return {type(error).__name__ for error in (await hosts.list()).errors.values()}

            async with log._reading, hosts._calls._places["one"]._lock:
                told = await asyncio.to_thread(
                    told_by_a_child,
                    [
                        lambda: asyncio.run(log.get(0)),
                        lambda: asyncio.run(log.close()),
                        lambda: asyncio.run(errors()),
                        lambda: asyncio.run(hosts.close()),
                    ],
                )
            assert told == ["HostClosed", "None", "{'HostClosed'}", "None"]
            assert await log.get(0) is None
            assert await errors() == set()

    asyncio.run(main())


def test_many_hosts_in_the_child_of_a_fork() -> None:
    with Hosts({"one": "memory:///", "two": "memory:///"}) as hosts:
        hosts.open()
        calls = {
            "errors": lambda: {type(error).__name__ for error in hosts.open().errors.values()},
            "close": hosts.close,
        }
        for place in hosts._calls._places.values():
            assert told_under([place._lock], calls) == {"errors": "{'HostClosed'}", "close": "None"}
        assert not hosts.open().errors


def _up(collector: HostCollector) -> bool:
    return next(sample.value == 1 for family in collector.collect() for sample in family.samples)


def test_a_collector_in_the_child_of_a_fork() -> None:
    with HostCollector("memory:///", timeout=60) as collector:
        assert _up(collector)
        for _, lock in locks_of([collector]):
            calls = {"up": lambda: _up(collector), "close": collector.close}
            assert told_under([lock], calls) == {"up": "True", "close": "None"}
        assert _up(collector)
    with pyxen.connect("memory:///") as host, HostCollector(host, timeout=60) as collector:
        assert told_by_a_child([lambda: _up(collector)]) == ["False"]  # the host is the parent's
