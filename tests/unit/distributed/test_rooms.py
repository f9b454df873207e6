"""Which host is chosen: one with room, always, and the roomiest; nobody who fits waits."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyxen.distributed.rooms import Need, Rooms
from pyxen.errors import NotEnoughMemory

NEEDS = st.builds(Need, st.integers(0, 300), st.integers(1, 5))
HOSTS = st.sampled_from(["h1", "h2", "h3"])
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("report"), HOSTS, st.integers(-10, 500), st.integers(-3, 9)),
        st.tuples(st.just("take"), NEEDS),
        st.tuples(st.just("give back"), st.integers(0, 99)),
        st.tuples(st.just("use"), st.integers(0, 99)),
        st.tuples(st.just("refuse"), st.integers(0, 99)),
        st.tuples(st.just("forget"), HOSTS),
        st.tuples(st.just("cancel"), st.integers(0, 99)),
    ),
    max_size=60,
)


class Scene:
    """Rooms, and those who take them."""

    def __init__(self) -> None:
        self.rooms = Rooms()
        self.held: list[tuple[str, Need]] = []
        self.waiting: list[tuple[asyncio.Task[str], Need]] = []

    async def step(self, step: tuple[Any, ...]) -> None:
        what, *values = step
        if what == "report":
            self.rooms.report(*values)
        elif what == "take":
            self.waiting.append((asyncio.create_task(self.rooms.take(values[0], None)), values[0]))
        elif what == "forget":
            self.rooms.forget(values[0])
        elif what == "cancel" and self.waiting:
            self.waiting.pop(values[0] % len(self.waiting))[0].cancel()
        elif what in {"give back", "use", "refuse"} and self.held:
            host, need = self.held.pop(values[0] % len(self.held))
            if what == "refuse":
                self.rooms.refuse(host, need)
                assert host not in self.rooms._rooms or not self.rooms._rooms[host].fits(need)
            else:
                self.rooms.give_back(host, need)
            if what == "use":
                self.rooms.use(host, need)
        for _ in range(5):
            await asyncio.sleep(0)
        for task, need in list(self.waiting):
            if task.done():
                self.waiting.remove((task, need))
                self.held.append((task.result(), need))

    def check(self) -> None:
        assert {host for host, _ in self.held} <= self.rooms._rooms.keys()
        for host, room in self.rooms._rooms.items():
            assert room.known or room.held_vcpus
            held = [need for name, need in self.held if name == host]
            assert room.held_memory == sum(need.memory for need in held)
            assert room.held_vcpus == sum(need.vcpus for need in held)
            for _, need in self.waiting:
                assert not room.fits(need), f"{need} waits, and fits on {host}"
        assert sum(map(len, self.rooms._waiting.values())) == len(self.waiting)


@given(STEPS)
def test_no_one_waits_who_fits_and_no_promise_is_lost(steps: list[tuple[Any, ...]]) -> None:
    async def main() -> None:
        scene = Scene()
        for step in steps:
            await scene.step(step)
            scene.check()
        for task, _ in scene.waiting:
            task.cancel()

    asyncio.run(main())


@given(st.dictionaries(HOSTS, st.tuples(st.integers(0, 500), st.integers(0, 9)), min_size=1), NEEDS)
def test_the_roomiest_host_is_taken(reports: dict[str, tuple[int, int]], need: Need) -> None:
    async def main() -> None:
        rooms = Rooms()
        for host, said in reports.items():
            rooms.report(host, *said)
        fitting = [memory for memory, vcpus in reports.values() if memory >= need.memory and vcpus >= need.vcpus]
        if fitting:
            host = await rooms.take(need, 0)
            assert reports[host][0] == max(fitting)
            assert reports[host][1] >= need.vcpus
        else:
            with pytest.raises(NotEnoughMemory, match=f"{need.memory} MiB"):
                await rooms.take(need, 0)

    asyncio.run(main())


def test_what_fits_nowhere_does_not_hold_those_behind_it() -> None:
    async def main() -> None:
        rooms = Rooms()
        rooms.report("h1", 100, 4)
        huge = asyncio.create_task(rooms.take(Need(10**9), None))
        await asyncio.sleep(0)
        assert await rooms.take(Need(100), 0) == "h1"
        huge.cancel()

    asyncio.run(main())


def test_who_waits_is_served_in_turn() -> None:
    async def main() -> None:
        rooms = Rooms()
        rooms.report("h1", 0, 9)
        order: list[int] = []

        async def take(number: int) -> None:
            await rooms.take(Need(10 + number % 2), None)
            order.append(number)

        tasks = [asyncio.create_task(take(number)) for number in range(6)]
        await asyncio.sleep(0)
        rooms.report("h1", 1000, 9)
        await asyncio.wait(tasks)
        assert order == [0, 1, 2, 3, 4, 5]

    asyncio.run(main())


def test_a_report_without_a_guest_that_was_just_made() -> None:
    async def main() -> None:
        rooms = Rooms()
        rooms.report("h1", 100, 4)
        rooms.ask("h1")
        host = await rooms.take(Need(60), 0)
        rooms.give_back(host, Need(60))
        rooms.use(host, Need(60))
        rooms.report("h1", 100, 4)  # what it answered before
        with pytest.raises(NotEnoughMemory):
            await rooms.take(Need(60), 0)

    asyncio.run(main())


def test_while_someone_waits_all_hosts_are_asked() -> None:
    async def main() -> None:
        rooms = Rooms()
        for host in ("h1", "h2"):
            rooms.report(host, 10, 4)
        assert rooms.stale() == set()
        waiting = asyncio.create_task(rooms.take(Need(60), None))
        await asyncio.sleep(0)
        assert rooms.stale() == {"h1", "h2"}
        waiting.cancel()
        await asyncio.wait({waiting})
        assert rooms.stale() == set()

    asyncio.run(main())


def test_choices_cost_little_with_many_hosts() -> None:
    async def main() -> None:
        rooms = Rooms()
        for number in range(1000):
            rooms.report(f"h{number}", 1000, 10)
        for _ in range(5000):
            host = await rooms.take(Need(100), 0)
            rooms.give_back(host, Need(100))
            rooms.use(host, Need(100))
        assert {room.memory for room in rooms._rooms.values()} == {500}
        assert len(rooms._heap) <= 17 * 1000

    asyncio.run(main())
