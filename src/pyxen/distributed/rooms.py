"""Which host has room: memory and virtual CPUs of each host, as it reported them, less what was promised since."""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import Collection
from dataclasses import dataclass
from typing import Final

from pyxen.errors import NotEnoughMemory

__all__ = ["Need", "Rooms"]

_STALE: Final = 16
"""How many entries a host may have in the heap, most of them out of date, before it is made anew."""


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
    """The room on a host.

    Attributes:
        memory: Memory that was free at the last report, in MiB.
        vcpus: The virtual CPUs that the host takes at once.
        held: What calls that run there have been promised.
    """

    memory: int
    vcpus: int
    held: Need = Need(0, 0)

    @property
    def free(self) -> int:
        """Memory that nobody has or was promised, in MiB."""
        return self.memory - self.held.memory

    def fits(self, need: Need) -> bool:
        """Whether something fits now."""
        return need.memory <= self.free and need.vcpus <= self.vcpus - self.held.vcpus


class Rooms:
    """The room on all hosts. The one with the most free memory is taken first; who waits for room is served in turn.

    The hosts are in a heap, so a choice costs the logarithm of their number. An entry is out of date when the host's
    room has changed since; such entries are dropped when they come up.
    """

    def __init__(self) -> None:
        self._rooms: dict[str, _Room] = {}
        self._heap: list[tuple[int, str]] = []
        self._turn = asyncio.Lock()
        self._changed = asyncio.Event()

    def __len__(self) -> int:
        return len(self._rooms)

    def __contains__(self, host: str) -> bool:
        return host in self._rooms

    def hosts(self) -> Collection[str]:
        """Return the hosts that are known."""
        return self._rooms.keys()

    def report(self, host: str, memory: int, vcpus: int) -> None:
        """Take what a host says of itself: its free memory in MiB, and the virtual CPUs that it takes."""
        room = self._rooms.setdefault(host, _Room(0, 0))
        room.memory, room.vcpus = memory, vcpus
        self._push(host)

    def forget(self, host: str) -> None:
        """Forget a host that is gone."""
        self._rooms.pop(host, None)

    async def take(self, need: Need, without: Collection[str] = (), timeout: float | None = None) -> str:
        """Return a host with room, which is promised until `give_back`. If there is none, wait for one.

        Raises:
            NotEnoughMemory: There was none until the timeout.
        """
        try:
            async with asyncio.timeout(timeout), self._turn:
                while (host := self._best(need, without)) is None:
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            most = max((room.free for room in self._rooms.values()), default=0)
            words = f"no host has {need.memory} MiB and {need.vcpus} vCPUs free, of {len(self)} hosts"
            raise NotEnoughMemory(f"{words}; the most memory that one has is {most} MiB", operation="place") from None
        self._hold(host, need, +1)
        return host

    def give_back(self, host: str, need: Need) -> None:
        """End a promise."""
        if host in self._rooms:
            self._hold(host, need, -1)

    def use(self, host: str, need: Need) -> None:
        """Count memory as a guest's, until the host reports again what is free."""
        if host in self._rooms:
            self._rooms[host].memory -= need.memory
            self._push(host)

    def _hold(self, host: str, need: Need, sign: int) -> None:
        room = self._rooms[host]
        room.held = Need(room.held.memory + sign * need.memory, room.held.vcpus + sign * need.vcpus)
        self._push(host)

    def _push(self, host: str) -> None:
        room = self._rooms[host]
        if room.vcpus <= room.held.vcpus:
            return  # nothing fits; it comes back when a promise ends
        heapq.heappush(self._heap, (-room.free, host))
        self._changed.set()
        if len(self._heap) > _STALE * len(self._rooms):
            self._heap = [
                (-each.free, name) for name, each in self._rooms.items() if each.vcpus > each.held.vcpus
            ]
            heapq.heapify(self._heap)

    def _best(self, need: Need, without: Collection[str]) -> str | None:
        """Return the host with the most free memory that something fits on."""
        passed = []
        found = None
        while self._heap and found is None:
            entry = heapq.heappop(self._heap)
            free, host = -entry[0], entry[1]
            room = self._rooms.get(host)
            if room is None or room.free != free:
                continue
            passed.append(entry)
            if free < need.memory:
                break
            if host not in without and room.fits(need):
                found = host
        for entry in passed:
            heapq.heappush(self._heap, entry)
        return found
