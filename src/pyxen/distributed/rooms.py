"""Which host has room: memory and virtual CPUs of each host, as it reported them, less what was promised since."""

from __future__ import annotations

import asyncio
import heapq
import itertools
from collections import deque
from collections.abc import Collection
from dataclasses import dataclass
from typing import Final

from pyxen.errors import NotEnoughMemory

__all__ = ["Need", "Rooms"]

_STALE: Final = 16
"""How many entries the heap may have for each host, most of them out of date, before it is made anew."""


@dataclass(frozen=True, slots=True)
class Need:
    """What a guest needs of its host.

    Attributes:
        memory: Memory, in MiB.
        vcpus: Virtual CPUs.
    """

    memory: int
    vcpus: int = 1


@dataclass(slots=True)
class _Room:
    """The room on a host; memory in MiB, and virtual CPUs.

    Attributes:
        memory: What was free at the last report, less what guests took since.
        vcpus: The same.
        held_memory: What calls that run there were promised.
        held_vcpus: The same.
        late_memory: What guests took since the host was asked; its report may not have it yet.
        late_vcpus: The same.
        stale: Whether the host has refused what seemed to fit, and is to be asked at once.
        known: Whether the figures hold. If not, the room is kept for what was promised, and takes nothing.
    """

    memory: int = 0
    vcpus: int = 0
    held_memory: int = 0
    held_vcpus: int = 0
    late_memory: int = 0
    late_vcpus: int = 0
    stale: bool = False
    known: bool = False

    @property
    def free(self) -> int:
        """Memory that nobody has or was promised."""
        return self.memory - self.held_memory

    @property
    def free_vcpus(self) -> int:
        """Virtual CPUs that nobody has or was promised."""
        return self.vcpus - self.held_vcpus

    def fits(self, need: Need) -> bool:
        """Tell whether something fits now."""
        return self.known and need.memory <= self.free and need.vcpus <= self.free_vcpus


@dataclass(slots=True, eq=False)
class _Waiter:
    """One who waits for room, and the number of its turn."""

    turn: int
    host: asyncio.Future[str]


class Rooms:
    """The room on all hosts. The one with the most free memory is taken first.

    The hosts are in a heap, so a choice costs the logarithm of their number. An entry is out of date when the host's
    room has changed since; such entries are dropped when they come up. Who waits is served in turn, but one that needs
    more than any host has does not hold those behind it.
    """

    def __init__(self) -> None:
        self._rooms: dict[str, _Room] = {}
        self._heap: list[tuple[int, str]] = []
        self._waiting: dict[Need, deque[_Waiter]] = {}
        self._turns = itertools.count()

    def hosts(self) -> Collection[str]:
        """Return the hosts that are known."""
        return [host for host, room in self._rooms.items() if room.known]

    def stale(self) -> set[str]:
        """Return the hosts whose figures are known to be wrong; all of them, while someone waits for room."""
        if self._waiting:
            return set(self.hosts())
        return {host for host, room in self._rooms.items() if room.known and room.stale}

    def ask(self, host: str) -> None:
        """Note that the host is being asked: what guests take from now on may be missing in its report."""
        if host in self._rooms:
            room = self._rooms[host]
            room.late_memory = room.late_vcpus = 0

    def report(self, host: str, memory: int, vcpus: int) -> None:
        """Take what a host says of itself: its free memory in MiB, and the virtual CPUs that it takes besides."""
        room = self._rooms.setdefault(host, _Room())
        room.memory, room.vcpus = memory - room.late_memory, vcpus - room.late_vcpus
        room.stale, room.known = False, True
        self._changed(host)

    def forget(self, host: str) -> None:
        """Forget what a host has; what it was promised is given back when the calls end."""
        if host in self._rooms:
            self._rooms[host].known = False
            self._drop(host)

    async def take(self, need: Need, timeout: float | None) -> str:
        """Return a host with room, which is promised until `give_back`. If there is none, wait for one.

        Raises:
            NotEnoughMemory: There was none until the timeout.
        """
        host = self._best(need)
        if host is not None:
            self._hold(host, need, +1)
            return host
        waiter = _Waiter(next(self._turns), asyncio.get_running_loop().create_future())
        self._waiting.setdefault(need, deque()).append(waiter)
        try:
            await asyncio.wait({waiter.host}, timeout=timeout)
        except asyncio.CancelledError:
            if waiter.host.done():
                self.give_back(waiter.host.result(), need)
            raise
        finally:
            if not waiter.host.done():
                self._leave(need, waiter)
        if not waiter.host.done():
            raise self._none(need)
        return waiter.host.result()

    def give_back(self, host: str, need: Need) -> None:
        """End a promise."""
        if host in self._rooms:
            self._hold(host, need, -1)

    def use(self, host: str, need: Need) -> None:
        """Count what a guest has as its own, until the host reports again what is free."""
        if host in self._rooms:
            room = self._rooms[host]
            room.memory -= need.memory
            room.vcpus -= need.vcpus
            room.late_memory += need.memory
            room.late_vcpus += need.vcpus
            self._changed(host)

    def refuse(self, host: str, need: Need) -> None:
        """End a promise that the host did not keep. It gets nothing as large until it reports again."""
        if host in self._rooms:
            room = self._rooms[host]
            room.held_memory -= need.memory
            room.held_vcpus -= need.vcpus
            room.memory = min(room.memory, room.held_memory + need.memory - 1)
            room.stale = True
            self._changed(host)

    def _drop(self, host: str) -> None:
        """Drop the room of a host that is not known, once nothing is promised."""
        if not self._rooms[host].held_vcpus:
            del self._rooms[host]

    def _none(self, need: Need) -> NotEnoughMemory:
        known = [room.free for room in self._rooms.values() if room.known]
        most = max(known, default=0)
        words = f"no host has {need.memory} MiB and {need.vcpus} vCPUs free, of {len(known)} hosts"
        return NotEnoughMemory(f"{words}; the most memory that one has is {max(0, most)} MiB", operation="place")

    def _hold(self, host: str, need: Need, sign: int) -> None:
        room = self._rooms[host]
        room.held_memory += sign * need.memory
        room.held_vcpus += sign * need.vcpus
        self._changed(host)

    def _leave(self, need: Need, waiter: _Waiter) -> None:
        self._waiting[need].remove(waiter)
        if not self._waiting[need]:
            del self._waiting[need]

    def _changed(self, host: str) -> None:
        """Give a host's room to those who wait for it, and put it into its place in the heap."""
        room = self._rooms[host]
        if not room.known:
            self._drop(host)
            return
        while True:
            fitting = [(waiters[0].turn, need) for need, waiters in self._waiting.items() if room.fits(need)]
            if not fitting:
                break
            need = min(fitting, key=lambda each: each[0])[1]
            waiter = self._waiting[need].popleft()
            if not self._waiting[need]:
                del self._waiting[need]
            room.held_memory += need.memory
            room.held_vcpus += need.vcpus
            waiter.host.set_result(host)
        if room.free_vcpus <= 0:
            return  # it comes back when a promise ends, or with its next report
        heapq.heappush(self._heap, (-room.free, host))
        if len(self._heap) > _STALE * len(self._rooms):
            self._heap = [
                (-each.free, name) for name, each in self._rooms.items() if each.known and each.free_vcpus > 0
            ]
            heapq.heapify(self._heap)

    def _best(self, need: Need) -> str | None:
        """Return the host with the most free memory that something fits on."""
        passed = []
        found = None
        while self._heap and found is None:
            entry = heapq.heappop(self._heap)
            free, host = -entry[0], entry[1]
            room = self._rooms.get(host)
            if room is None or not room.known or room.free != free:
                continue
            passed.append(entry)
            if free < need.memory:
                break
            if room.fits(need):
                found = host
        for entry in passed:
            heapq.heappush(self._heap, entry)
        return found
