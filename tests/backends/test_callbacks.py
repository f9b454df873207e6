"""Callbacks of operations: on the thread that completes operations, where nothing may wait for one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest

import pyxen
from pyxen import (
    Disk,
    Domain,
    DomainDestroyed,
    DomainState,
    Feature,
    Host,
    HostClosed,
    InvalidArgument,
    Operation,
    OperationCancelled,
)
from tests.backends.support import SECONDS, Make, wait_until


@pytest.fixture
def other(uri: str) -> Iterator[Host]:
    """A connection of the test's own, which it may close."""
    with pyxen.connect(uri) as host:
        yield host


def in_a_callback(domain: Domain, *calls: Callable[[], object]) -> list[BaseException | None]:
    """Make calls in a callback on a thread that completes all operations of a host, and return what each raises."""
    waiting = domain.begin.wait()  # it does not end before it has the callback
    raised = in_a_callback_of(waiting, *calls)
    waiting.cancel()
    wait_until(lambda: len(raised) == len(calls))
    return raised


def in_a_callback_of(operation: Operation[Any], *calls: Callable[[], object]) -> list[BaseException | None]:
    """Have calls made in a callback, and return a list that gets what each raises."""
    raised: list[BaseException | None] = []

    def callback(_: object) -> None:
        for call in calls:
            try:
                call()
            except BaseException as error:  # noqa: BLE001 (it is returned)
                raised.append(error)
            else:
                raised.append(None)

    operation.add_done_callback(callback)
    return raised


def check_refused(errors: list[BaseException | None]) -> None:
    assert [type(error) for error in errors] == [RuntimeError] * len(errors)
    assert all("cannot wait here" in str(error) and "on another thread" in str(error) for error in errors)


@pytest.mark.one_thread
def test_what_waits_is_refused_before_anything_is_begun(other: Host, make: Make, config: Make, image: str) -> None:
    web1 = make("web1", paused=True)
    mine = other.domains[web1.uuid]
    running = mine.begin.wait()
    calls: list[Callable[[], object]] = [
        lambda: other.create(config("web2")),
        lambda: other.check_create(config("web2")),
        lambda: other.restore(image),
        lambda: other.start("web1"),
        lambda: other.apply(config("web2")),
        lambda: other.pool(config("web2"), size=1),
        lambda: other.clone(image),
        other.guests.shutdown_all,
        lambda: other.cpupools.create("pool2"),
        mine.unpause,
        mine.destroy,
        lambda: mine.attach(Disk(image, vdev="xvdb")),
        lambda: mine.disks.attach(Disk(image, vdev="xvdb")),
        running.result,
        running.exception,
        running.wait,
    ]
    check_refused(in_a_callback(mine, *calls))
    assert [info.name for info in other.list() if info.name in {"web1", "web2"}] == ["web1"]
    assert web1.info().state is DomainState.PAUSED
    assert not running.done()
    running.cancel()
    with pytest.raises(OperationCancelled):
        running.result(SECONDS)


@pytest.mark.one_thread
def test_what_does_not_wait_is_allowed(other: Host, make: Make, config: Make) -> None:
    mine = other.domains[make("web1", paused=True).uuid]
    begun: list[Operation[Domain]] = []
    errors = in_a_callback(
        mine, other.list, mine.info, lambda: begun.append(other.begin.create(config("web2"), paused=True))
    )
    assert errors == [None] * 3
    assert begun[0].result(SECONDS).name == "web2"
    assert in_a_callback(mine, begun[0].result, begun[0].wait) == [None] * 2  # it has ended


@pytest.mark.one_thread
def test_a_callback_may_wait_for_another_host(other: Host, make: Make) -> None:
    mine = other.domains[make("web1", paused=True).uuid]
    with pyxen.connect("memory:///another") as another:
        configuration = pyxen.DomainConfig(name="web2", type="pvh", kernel="/boot/vmlinuz", memory=64)

        def use() -> None:
            with another.events(pyxen.DomainCreated) as events:
                domain = another.create(configuration, paused=True)
                domain.unpause()
                domain.begin.wait("running", "blocked").result(SECONDS)
                another.apply(configuration)
                assert events.get(SECONDS) is not None
                domain.destroy()

        assert in_a_callback(mine, use, another.close) == [None] * 2


@pytest.mark.needs(Feature.CLONE)
def test_a_callback_of_a_clone_may_wait(other: Host, willing: Make, folder: str) -> None:
    saved = f"{folder}/saved"
    willing().save(saved, timeout=120)
    clones: list[Domain] = []
    begun = other.begin.clone(saved, 1, paused=True)

    def use() -> None:
        clones.extend(begun.result())
        clones[0].unpause()
        clones[0].destroy()

    raised = in_a_callback_of(begun, use)
    wait_until(lambda: len(raised) == 1)
    assert raised == [None]


def test_a_callback_of_an_apply_may_wait(other: Host, config: Make) -> None:
    begun = other.begin.apply(config("web1"))

    def destroy() -> None:
        other.domains["web1"].destroy()

    raised = in_a_callback_of(begun, destroy)
    wait_until(lambda: len(raised) == 1)
    assert raised == [None]


@pytest.mark.needs(Feature.POOL)
def test_a_callback_of_a_pool_may_wait(other: Host, config: Make) -> None:
    pool = other.pool(config("web"), size=1, timeout=SECONDS)
    begun = pool.begin.take("web1", paused=True, timeout=SECONDS)

    def use() -> None:
        guest = begun.result()
        guest.unpause()
        guest.destroy()

    raised = in_a_callback_of(begun, use, pool.close, other.close)
    wait_until(lambda: len(raised) == 3)
    assert raised == [None] * 3


@pytest.mark.one_thread
@pytest.mark.needs(Feature.EVENTS)
def test_events_are_not_awaited_in_a_callback(host: Host, other: Host, make: Make) -> None:
    mine = other.domains[make("web1", paused=True).uuid]
    with other.events(DomainDestroyed) as events:
        check_refused(in_a_callback(mine, events.get, lambda: events.get(SECONDS), lambda: next(events)))
        assert in_a_callback(mine, lambda: events.get(0)) == [None]
        host.domains[mine.uuid].destroy()
        assert events.get(SECONDS) is not None


@pytest.mark.one_thread
def test_a_host_is_not_closed_in_a_callback(other: Host, make: Make) -> None:
    mine = other.domains[make("web1", paused=True).uuid]
    check_refused(in_a_callback(mine, other.close, lambda: other.__exit__(None, None, None)))
    mine.unpause()
    told: list[bool] = []

    def close(_: object) -> None:
        other.close()
        told.append(True)

    mine.begin.wait().add_done_callback(close)
    other.close()  # which ends what runs: the callback closes what is being closed
    assert told == [True]
    for call in (other.list, mine.info, mine.destroy):
        with pytest.raises(HostClosed):
            call()


@pytest.mark.one_thread
@pytest.mark.needs(Feature.SAVE)
def test_a_function_that_allows_does_not_wait_for_its_host(other: Host, willing: Make, folder: str) -> None:
    """What restores the domain waits for that function."""
    saved = f"{folder}/saved"
    willing().save(saved, timeout=SECONDS)
    raised: list[BaseException | None] = []

    def allow(config: pyxen.DomainConfig) -> bool:
        for call in (other.close, lambda: other.create(config.replace(name="web2"))):
            try:
                call()
            except RuntimeError as error:
                raised.append(error)
        return True

    restored = other.restore(saved, paused=True, allow=allow, timeout=SECONDS)
    assert len(raised) == 2
    check_refused(raised)
    assert restored.info().state is DomainState.PAUSED


@pytest.mark.one_thread
@pytest.mark.needs(Feature.POOL)
def test_a_pool_in_a_callback(host: Host, other: Host, make: Make, config: Make) -> None:
    mine = other.domains[make("web1", paused=True).uuid]
    with other.pool(config("web"), size=1, timeout=SECONDS) as pool:
        check_refused(in_a_callback(mine, lambda: pool.take("web2"), pool.wait, pool.close, other.close))
        assert pool.take("web2", paused=True).name == "web2"
        begun: list[Operation[None]] = []
        closing = in_a_callback(mine, lambda: begun.append(pool.begin.close()), lambda: begun[0].result(SECONDS))
        assert closing[0] is None
        check_refused(closing[1:])
        begun[0].result(SECONDS)
        assert in_a_callback(mine, pool.close) == [None]  # it is closed
    assert not [info for info in host.list() if "--ready-" in str(info.name)]


@pytest.mark.one_thread
def test_many_hosts_in_a_callback(uri: str, make: Make) -> None:
    web1 = make("web1", paused=True)
    with pyxen.Hosts({"one": uri}) as hosts:
        mine = hosts["one"].domains[web1.uuid]
        check_refused(in_a_callback(mine, lambda: hosts.each(Host.list), hosts.open, hosts.close))
        assert hosts.each(Host.list)["one"].value


async def never(_: object) -> bool:
    """Do what nobody awaits."""
    raise AssertionError


@pytest.mark.filterwarnings("error")
def test_async_functions_are_refused(uri: str, host: Host, config: Make, make: Make, image: str) -> None:
    class Object:
        async def __call__(self, _: object) -> bool:
            return await never(_)

    for function in (never, partial(never), Object(), partial(Object())):
        calls: list[Callable[[Any], object]] = [
            lambda f: host.restore(image, allow=f),
            lambda f: host.receive_migration(0, 1, allow=f),
            lambda f: host.create(config("web2"), on_console=f),
        ]
        for call in calls:
            with pytest.raises(InvalidArgument, match="a plain function as"):
                call(function)
    with pytest.raises(InvalidArgument, match="a plain function as callback"):
        make("web1", paused=True).begin.pause().add_done_callback(never)
    with pyxen.Hosts({"one": uri}) as hosts:
        with pytest.raises(InvalidArgument, match="a plain function as call"):
            hosts.each(never)
        late = hosts.each(lambda _: never(None))
        assert [type(error) for error in late.errors.values()] == [InvalidArgument]
    assert "web2" not in {info.name for info in host.list()}
