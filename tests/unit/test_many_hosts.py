"""`Hosts`: each host answers in its place, in time, whatever the others do; in both APIs."""

from __future__ import annotations

import asyncio
import contextlib
import pickle
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import pyxen
import pyxen.aio
from pyxen import (
    ConnectFailed,
    DomainConfig,
    HostClosed,
    Hosts,
    InvalidArgument,
    NotFound,
    OperationCancelled,
    OperationTimeout,
)
from pyxen.backends.memory.address import forget
from pyxen.testing import FakeHost
from tests.unit.aio.fakehost import until

WEB = DomainConfig("web1", type="pvh", kernel="/boot/vmlinuz", memory=128)

TIMEOUT = 5
"""Seconds for the answer of a host that hangs; the others must answer in time though the machine is busy."""

BACKEND = """
import threading
from pyxen import ConnectFailed
from pyxen.backends.memory.address import machine_at
from pyxen.backends.memory.backend import MemoryBackend

released = threading.Event()
opened = []

def hang(uri):
    opened.append(uri)
    assert released.wait(600)
    return MemoryBackend(machine_at("memory:///"))

def down(uri):
    opened.append(uri)
    if not released.is_set():
        raise ConnectFailed(f"{uri}: no route to host")
    return MemoryBackend(machine_at("memory:///"))
"""


class Faulty:
    """Hosts that hang (``hang:///``) or are down (``down:///``) until they are released, as a package offers them."""

    def __init__(self, module: object) -> None:
        self.released: threading.Event = module.released  # type: ignore[attr-defined]  # made above
        self.opened: list[str] = module.opened  # type: ignore[attr-defined]  # made above


@pytest.fixture
def faulty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Faulty]:
    (tmp_path / "faultyhosts.py").write_text(BACKEND)
    info = tmp_path / "faultyhosts-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: faultyhosts\nVersion: 1\n")
    offers = "[pyxen.backends]\nhang = faultyhosts:hang\ndown = faultyhosts:down\n"
    (info / "entry_points.txt").write_text(offers)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "faultyhosts", raising=False)
    import faultyhosts  # type: ignore[import-not-found]  # made above

    yield Faulty(faultyhosts)
    faultyhosts.released.set()


@pytest.fixture
def two() -> Iterator[dict[str, str]]:
    with FakeHost() as one, FakeHost() as other:
        one.create(WEB)
        yield {"a": one.uri, "b": other.uri}


def wait_until(condition: object, seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not condition():  # type: ignore[operator]  # a lambda of a test
        assert time.monotonic() < end
        time.sleep(0.005)


def test_a_plain_loop(two: dict[str, str]) -> None:
    with Hosts(two) as hosts:
        assert (list(hosts), len(hosts), "a" in hosts, "c" in hosts) == (["a", "b"], 2, True, False)
        assert {name: [info.name for info in answer.value] for name, answer in hosts.list().items()} == {
            "a": ["Domain-0", "web1"],
            "b": ["Domain-0"],
        }
        assert [len(each) for each in hosts.stats().check().values()] == [2, 1]
        assert {info.nr_cpus for info in hosts.info().check().values()} == {4}
        assert hosts["a"] is hosts.open()["a"].value
        assert hosts.each(lambda host: host.uri).check() == two
        hosts.list()["a"].value[1].domain.destroy()
        assert len(hosts["a"].list()) == 1


def test_a_plain_loop_of_asyncio(two: dict[str, str]) -> None:
    async def main() -> None:
        async with pyxen.aio.Hosts(two) as hosts:
            assert (list(hosts), len(hosts), "a" in hosts) == (["a", "b"], 2, True)
            answers = await hosts.list()
            assert [len(answer.value) for answer in answers.values()] == [2, 1]
            assert await hosts["a"] is (await hosts.open())["a"].value
            assert [len(each) for each in (await hosts.stats()).check().values()] == [2, 1]
            assert {info.nr_cpus for info in (await hosts.info()).check().values()} == {4}
            await answers["a"].value[1].domain.destroy()
            names = await hosts.each(_names)
            assert names.check() == {"a": ["Domain-0"], "b": ["Domain-0"]}

    asyncio.run(main())


async def _names(host: pyxen.aio.Host) -> list[str | None]:
    return [info.name for info in await host.list()]


@pytest.mark.usefixtures("faulty")
def test_an_error_stands_in_its_place(two: dict[str, str]) -> None:
    with Hosts({**two, "down": "down:///", "odd": "odd:///"}) as hosts:
        answers = hosts.list()
        assert list(answers) == ["a", "b", "down", "odd"]
        assert list(answers.succeeded) == ["a", "b"]
        assert {name: type(error) for name, error in answers.errors.items()} == {
            "down": ConnectFailed,
            "odd": pyxen.UnsupportedFeature,
        }
        assert not answers["down"].ok
        with pytest.raises(ConnectFailed, match="no route"):
            _ = answers["down"].value
        with pytest.raises(ExceptionGroup, match="2 of 4 hosts failed: down, odd") as caught:
            answers.check()
        assert [error.__notes__ for error in caught.value.exceptions] == [["on the host down"], ["on the host odd"]]
        with pytest.raises(ExceptionGroup):
            answers.check()
        assert answers.errors["down"].__notes__ == ["on the host down"]
        assert repr(answers) == "<Answers of 4 hosts, 2 failed>"
        again = pickle.loads(pickle.dumps(answers.errors["down"]))  # noqa: S301 (our own bytes)
        assert str(again) == str(answers.errors["down"])
        with pytest.raises(ConnectFailed):
            _ = hosts["down"]
        with pytest.raises(NotFound, match="no host 'none'; the hosts are a, b, down, odd"):
            _ = hosts["none"]


def test_a_host_that_was_down_is_opened_at_the_next_call(two: dict[str, str], faulty: Faulty) -> None:
    with Hosts({**two, "down": "down:///"}) as hosts:
        assert list(hosts.list().errors) == ["down"]
        faulty.released.set()
        assert len(hosts.list().check()["down"]) == 1
        hosts.list().check()
        assert len(faulty.opened) == 2


def test_a_host_that_hangs_holds_no_other(two: dict[str, str], faulty: Faulty) -> None:
    hanging = {f"hang{number}": "hang:///" for number in range(3)}
    with Hosts({**hanging, **two}, at_once=2, timeout=TIMEOUT) as hosts:
        begin = time.monotonic()
        answers = hosts.list()
        assert 2 * TIMEOUT <= time.monotonic() - begin < 60  # two of the three hang at the same time
        assert list(answers.succeeded) == ["a", "b"]
        assert {type(error) for error in answers.errors.values()} == {OperationTimeout}
        assert f"not answered for {TIMEOUT} s" in str(answers.errors["hang0"])
        begin = time.monotonic()
        again = hosts.each(lambda host: host.uri, timeout=60)
        assert time.monotonic() - begin < 60  # those that hang are not waited for again
        assert "earlier call" in str(again.errors["hang0"])
        assert len(faulty.opened) == 3
        faulty.released.set()
        wait_until(lambda: not hosts.list().errors)
    assert {type(answer.error) for answer in hosts.list().values()} == {HostClosed}


def test_a_host_that_hangs_holds_no_other_of_asyncio(two: dict[str, str], faulty: Faulty) -> None:
    async def main() -> None:
        hanging = {f"hang{number}": "hang:///" for number in range(3)}
        async with pyxen.aio.Hosts({**hanging, **two}, at_once=2, timeout=TIMEOUT) as hosts:
            begin = time.monotonic()
            answers = await hosts.list()
            assert 2 * TIMEOUT <= time.monotonic() - begin < 60
            assert list(answers.succeeded) == ["a", "b"]
            assert {type(error) for error in answers.errors.values()} == {OperationTimeout}
            begin = time.monotonic()
            answers = await hosts.list()
            assert time.monotonic() - begin < 60
            assert "earlier call" in str(answers.errors["hang0"])
            faulty.released.set()
            async with asyncio.timeout(60):
                while (await hosts.list()).errors:  # noqa: ASYNC110 (what it waits for sets no event)
                    await asyncio.sleep(0.005)
        assert {type(answer.error) for answer in (await hosts.list()).values()} == {HostClosed}

    asyncio.run(main())


def test_a_cancelled_call_leaves_nothing(two: dict[str, str]) -> None:
    async def main() -> None:
        begun = asyncio.Event()

        async def create(host: pyxen.aio.Host) -> None:
            await host.create(WEB.replace(name="web2"))
            begun.set()
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                await (await host.domains["web2"]).destroy()
                raise

        async with pyxen.aio.Hosts(two) as hosts:
            task = asyncio.create_task(hosts.each(create))
            await begun.wait()
            await asyncio.sleep(0.05)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            names = {info.name for infos in (await hosts.list()).check().values() for info in infos}
            assert names == {"Domain-0", "web1"}

    asyncio.run(main())


def test_a_call_that_is_cancelled_from_within_stands_in_its_place(two: dict[str, str]) -> None:
    async def call(host: pyxen.aio.Host) -> str:
        if host.uri == two["a"]:
            inner = asyncio.create_task(asyncio.sleep(60))
            inner.cancel()
            await inner
        return host.uri

    async def main() -> None:
        async with pyxen.aio.Hosts(two) as hosts:
            answers = await hosts.each(call)
            assert isinstance(answers["a"].error, OperationCancelled)
            assert answers["b"].value == two["b"]

    asyncio.run(main())


def test_an_opening_that_was_cancelled_is_not_begun_again(faulty: Faulty) -> None:
    """It goes on at the host that hangs; another one each time would be too many."""

    async def main() -> None:
        async with pyxen.aio.Hosts({"hangs": "hang:///"}, timeout=0.2) as hosts:
            assert isinstance((await hosts.open())["hangs"].error, OperationTimeout)
            late = hosts._calls._places["hangs"].late
            assert late is not None
            await asyncio.wait([late], timeout=30)
            assert late.cancelled()  # it does not wait for the host
            assert "earlier call" in str((await hosts.open())["hangs"].error)
            assert len(faulty.opened) == 1
            faulty.released.set()
            await until(lambda: not hosts._calls._places["hangs"]._calls.opening)
            assert (await hosts.each(_names, timeout=60))["hangs"].ok

    asyncio.run(asyncio.wait_for(main(), 60))


def test_no_more_hosts_are_asked_at_once_than_allowed() -> None:
    uris = {f"h{number}": f"memory:///many-{number}" for number in range(12)}
    lock, now, seen = threading.Lock(), [0], [0]
    together = threading.Barrier(3)

    def look(_: pyxen.Host) -> None:
        with lock:
            now[0] += 1
            seen[0] = max(seen[0], now[0])
        together.wait(60)
        time.sleep(0.01)
        with lock:
            now[0] -= 1

    with Hosts(uris, at_once=3) as hosts:
        hosts.each(look).check()
    assert seen == [3]
    for number in range(12):
        forget(f"many-{number}")


def test_an_error_of_the_callers_own_function_stands_in_its_place(two: dict[str, str]) -> None:
    with Hosts(two) as hosts:
        assert {type(error) for error in hosts.each(lambda _: 1 // 0).errors.values()} == {ZeroDivisionError}
        with pytest.raises(InvalidArgument):
            hosts.each(lambda host: host.uri, timeout=-1)
        with pytest.raises(SystemExit):
            hosts.each(lambda _: sys.exit(3))


@pytest.mark.usefixtures("faulty")
def test_a_host_that_hangs_does_not_keep_the_program_from_its_end(tmp_path: Path) -> None:
    program = """
        import sys, time
        sys.path.insert(0, sys.argv[1])
        from pyxen import Hosts
        import pyxen._host_calls
        pyxen._host_calls.CLOSE_SECONDS = 0.1
        with Hosts({"h": "hang:///"}, timeout=0.1) as hosts:
            print(type(hosts.list()["h"].error).__name__)
    """
    command = [sys.executable, "-c", textwrap.dedent(program), str(tmp_path)]
    done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=120)
    assert done.stdout == "OperationTimeout\n"


def test_a_call_whose_loop_was_closed_keeps_no_host_busy() -> None:
    async def hang(_: pyxen.aio.Host) -> None:
        for _again in range(9):  # a cancel does not end it
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.sleep(60)

    hosts = pyxen.aio.Hosts({"one": "memory:///"})
    loop = asyncio.new_event_loop()
    assert loop.run_until_complete(hosts.open())["one"].ok
    assert not loop.run_until_complete(hosts.each(hang, timeout=0.01))["one"].ok
    late = hosts._calls._places["one"].late
    assert late is not None
    loop.close()
    late._log_destroy_pending = False  # type: ignore[attr-defined]  # asyncio would complain, rightly
    assert asyncio.run(hosts.list())["one"].ok
    asyncio.run(hosts.close())
