"""The asyncio face on real Xen: the loop goes on, cancelled tasks leave nothing, and other children are unharmed."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import FrameType

import pytest

import pyxen.aio
from pyxen import DomainCreated, DomainDestroyed, DomainNotFound, DomainShutdown, DomainState, FileMissing, Vif
from tests.xen.support import MakeConfig, children, xl_domids

HELD_DOMAINS = 5
TURNS = 100
TICK = 0.005
TO_BEGIN = 120.0  # seconds for all hotplug scripts to begin

CANCEL_DOMAINS = 50


@pytest.fixture(autouse=True)
def no_thread_descriptor_or_child_left() -> Iterator[None]:
    """Check that nothing of this process is left once the hosts that a test opened are closed."""
    threads, descriptors, before = threading.enumerate(), os.listdir("/proc/self/fd"), children()
    yield
    assert threading.enumerate() == threads
    assert os.listdir("/proc/self/fd") == descriptors
    assert children() == before


def test_a_life(tiny: MakeConfig) -> None:
    async def main() -> None:
        async with pyxen.aio.connect() as host:
            assert (await host.info()).nr_cpus > 0
            domain = await host.create(tiny(name="life"), paused=True)
            assert xl_domids()["life"] == domain.domid
            assert (await domain.info()).state is DomainState.PAUSED
            await domain.unpause()
            assert (await domain.info()).state in {DomainState.RUNNING, DomainState.BLOCKED}
            await domain.pause()
            assert await host.domains["life"] == domain == await host.domains.get(domain.uuid)
            assert [each.domid async for each in host.domains] == [0, domain.domid]
            assert [info.name for info in await host.list()] == ["Domain-0", "life"]
            await domain.destroy()
            assert await host.domains.get("life") is None
            with pytest.raises(DomainNotFound):
                await domain.destroy()
            with pytest.raises(FileMissing, match="/no/such/kernel"):
                await host.create(tiny(kernel="/no/such/kernel"))

    asyncio.run(main())


def test_events(tiny: MakeConfig) -> None:
    async def main() -> None:
        async with pyxen.aio.connect() as host:
            async with host.events(DomainCreated, DomainShutdown, DomainDestroyed) as events:
                domain = await host.create(tiny(name="seen", cmdline="poweroff"))
                seen = [await events.get(timeout=60) for _ in range(2)]
                await domain.destroy()
                seen.append(await events.get(timeout=60))
                assert [type(event) for event in seen] == [DomainCreated, DomainShutdown, DomainDestroyed]
                assert {event.domid for event in seen if event is not None} == {domain.domid}
                reading = asyncio.create_task(anext(events))
            with pytest.raises(StopAsyncIteration):
                await reading

    asyncio.run(main())


def test_the_loop_goes_on_during_creates(tiny: MakeConfig, tmp_path: Path) -> None:
    """The loop takes turns while creates wait for their scripts, and its thread itself never calls libxl."""
    go, begun = tmp_path / "go", tmp_path / "begun"
    begun.mkdir()
    script = tmp_path / "vif-waiting"
    script.write_text(
        f'#!/bin/sh\n[ "$1" = online ] || exit 0\n: > "{begun}/$$"\n'
        f'for _ in $(seq 600); do [ -e "{go}" ] && exit 0; sleep 0.1; done\nexit 1\n'
    )
    script.chmod(0o755)
    called: set[str] = set()

    def note(_frame: FrameType, event: str, function: object) -> None:
        if event == "c_call" and type(getattr(function, "__self__", None)).__name__ == "Lib":  # cffi's
            called.add(getattr(function, "__name__", repr(function)))

    async def main() -> None:
        async with pyxen.aio.connect() as host:
            configs = [tiny(name=f"held{number}", vifs=[Vif(script=str(script))]) for number in range(HELD_DOMAINS)]
            sys.setprofile(note)
            try:
                creates = asyncio.gather(*(host.create(config) for config in configs))
                async with asyncio.timeout(TO_BEGIN):
                    while len(os.listdir(begun)) < HELD_DOMAINS:
                        await asyncio.sleep(TICK)
                        assert not creates.done()
                for _ in range(TURNS):
                    await asyncio.sleep(TICK)
                assert not creates.done()
                go.touch()
                domains = await creates
            finally:
                sys.setprofile(None)
            await asyncio.gather(*(domain.destroy() for domain in domains))

    asyncio.run(asyncio.wait_for(main(), 240))
    assert called == set()


@pytest.mark.long
def test_a_third_cancelled_at_random_moments(tiny: MakeConfig) -> None:
    chance = random.SystemRandom()
    configs = [tiny(name=f"some{number}") for number in range(CANCEL_DOMAINS)]

    async def main() -> None:
        async with pyxen.aio.connect() as host:
            await (await host.create(tiny())).destroy()  # begins the worker, which takes its time
            start = time.monotonic()
            await (await host.create(tiny())).destroy()
            all_of_them = CANCEL_DOMAINS * (time.monotonic() - start)
            tasks = [asyncio.create_task(host.create(config)) for config in configs]
            for task in chance.sample(tasks, CANCEL_DOMAINS // 3):
                asyncio.get_running_loop().call_later(chance.uniform(0, 0.8 * all_of_them), task.cancel)
            ends = await asyncio.gather(*tasks, return_exceptions=True)
            created = [end for end in ends if isinstance(end, pyxen.aio.Domain)]
            cancelled = [end for end in ends if isinstance(end, asyncio.CancelledError)]
            assert len(created) + len(cancelled) == CANCEL_DOMAINS, ends
            assert cancelled
            assert {each.domid async for each in host.domains} == {0, *(domain.domid for domain in created)}
            await asyncio.gather(*(domain.destroy() for domain in created))

    asyncio.run(main())


def test_a_timeout_in_the_middle_of_creates(tiny: MakeConfig) -> None:
    async def create_some(host: pyxen.aio.Host, seconds: float) -> None:
        async with asyncio.timeout(seconds), asyncio.TaskGroup() as group:
            for number in range(3):
                group.create_task(host.create(tiny(name=f"late{number}")))

    async def main() -> None:
        async with pyxen.aio.connect() as host:
            start = time.monotonic()
            await (await host.create(tiny())).destroy()
            with pytest.raises(TimeoutError):
                await create_some(host, (time.monotonic() - start) / 3)
            assert [each.domid async for each in host.domains] == [0]

    asyncio.run(main())


async def live_beside_children(tiny: MakeConfig, *, reaps_all: bool = False) -> None:
    """Create and destroy domains, and meanwhile run programs in Python's ways.

    Args:
        tiny: Makes a configuration.
        reaps_all: The child watcher takes everyone's children, so that `subprocess` itself cannot be beside it.
    """

    async def run_programs() -> None:
        while not over.is_set():
            program = await asyncio.create_subprocess_exec("sh", "-c", "echo there; exit 3", stdout=subprocess.PIPE)
            assert (await program.communicate())[0] == b"there\n"
            assert program.returncode == 3
            if not reaps_all:
                done = await asyncio.to_thread(subprocess.run, ["sh", "-c", "exit 4"], check=False)
                assert done.returncode == 4

    over = asyncio.Event()
    async with pyxen.aio.connect() as host:
        running = asyncio.create_task(run_programs())
        for _ in range(2):
            domains = await asyncio.gather(*(host.create(tiny(name=f"beside{number}")) for number in range(3)))
            await asyncio.gather(*(domain.destroy() for domain in domains))
        over.set()
        await running


def test_children_of_asyncio(tiny: MakeConfig) -> None:
    asyncio.run(live_beside_children(tiny))


WATCHERS = [name for name in dir(asyncio) if name.endswith("ChildWatcher") and name != "AbstractChildWatcher"]
"""What Python has of them: from 3.14 on none, since asyncio chooses itself."""


@pytest.mark.filterwarnings("ignore:.*[Ww]atcher.*:DeprecationWarning")
@pytest.mark.parametrize(
    "name", [*WATCHERS[:1], *(pytest.param(name, marks=pytest.mark.long) for name in WATCHERS[1:])]
)
def test_child_watchers(tiny: MakeConfig, name: str) -> None:
    watcher = getattr(asyncio, name)()

    async def main() -> None:
        watcher.attach_loop(asyncio.get_running_loop())
        await live_beside_children(tiny, reaps_all=name == "FastChildWatcher")

    policy = asyncio.get_event_loop_policy()
    before = policy.get_child_watcher()
    policy.set_child_watcher(watcher)
    try:
        asyncio.run(main())
    finally:
        watcher.close()
        policy.set_child_watcher(before)


def test_a_handler_of_the_callers_own(tiny: MakeConfig) -> None:
    signals = []

    def note(number: int, _: FrameType | None) -> None:
        signals.append(number)

    before = signal.signal(signal.SIGCHLD, note)
    try:
        asyncio.run(live_beside_children(tiny))
        assert signal.getsignal(signal.SIGCHLD) is note
        assert signals
    finally:
        signal.signal(signal.SIGCHLD, before)
