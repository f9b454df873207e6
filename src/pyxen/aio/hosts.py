"""Many hosts at once, for asyncio: a mapping of names to hosts, asked side by side.

Generated from `pyxen.hosts` by ``python -m tools.aio_face``: do not edit.
"""

from __future__ import annotations

import builtins
import os
from collections.abc import Iterator, Mapping
from typing import Self, TypeVar

from pyxen._host_calls import Places
from pyxen._inventory import load_inventory
from pyxen.aio._host_calls import HostCall, HostCalls
from pyxen.aio._hosts import HostsBase
from pyxen.aio.domain import Domain
from pyxen.aio.host import Host
from pyxen.records.answers import Answers
from pyxen.records.info import DomainInfo, HostInfo
from pyxen.records.stats import DomainStats

__all__ = ["Hosts"]

T = TypeVar("T")


class Hosts(HostsBase):
    """Many hosts by name, asked side by side: `pyxen.Hosts`, awaited. Each answers in its place.

    ::

        async with pyxen.aio.Hosts.load("hosts.toml") as hosts:
            for name, answer in (await hosts.list()).items():
                print(name, len(answer.value) if answer.ok else answer.error)

    A host by its name is ``await hosts["host1"]``. If a task is cancelled, the calls that it makes are, too.
    """

    def __init__(self, uris: Mapping[str, str], *, at_once: int = 32, timeout: float | None = 30) -> None:
        self._places = Places(uris, at_once=at_once, timeout=timeout)
        self.uris = self._places.uris
        self._calls = HostCalls(self._places)

    @classmethod
    def load(
        cls,
        path: str | os.PathLike[str],
        *,
        group: str | None = None,
        at_once: int = 32,
        timeout: float | None = 30,
    ) -> Self:
        """Read the names and URIs of hosts from a file.

        It is a TOML file with a line ``name = "URI"`` for each host, or JSON that ``ansible-inventory --list`` prints.
        Of a host of Ansible, the variable ``pyxen_uri`` is the URI. Without it, that is ``xenlight+ssh:`` with
        ``ansible_user``, ``ansible_host`` and ``ansible_port``, or ``xenlight:///`` if ``ansible_connection`` is
        ``local``.

        Args:
            path: The file, of 32 MiB at most.
            group: The group of Ansible whose hosts are meant, with those of the groups in it; None for all hosts.
            at_once: How many hosts are asked at the same time.
            timeout: Seconds that one host has to answer.

        Raises:
            FileMissing: The file does not exist.
            ParseError: It is not such a file, is too large, names a host twice, or names none.
            NotFound: There is no such group.
            InvalidArgument: It is not a regular file; or `group` is for a file that has no groups.
            OperationFailed: It cannot be read.
        """
        return cls(load_inventory(path, group), at_once=at_once, timeout=timeout)

    def __repr__(self) -> str:
        return f"<Hosts {', '.join(self.uris)}>"

    def __contains__(self, name: object) -> bool:
        return name in self.uris

    def __iter__(self) -> Iterator[str]:
        return iter(self.uris)

    def __len__(self) -> int:
        return len(self.uris)

    async def __getitem__(self, name: str) -> Host:
        """Return a host, and open it if it is not open.

        Raises:
            NotFound: No host has this name.
            OperationTimeout: It does not answer.
            Error: It cannot be opened: as for `pyxen.connect`.
        """
        self._places.check_name(name)
        return await self._calls.one(name)

    async def open(self) -> Answers[Host]:
        """Open all hosts that are not open, and return them."""
        return await self._calls.open()

    async def list(self) -> Answers[builtins.list[DomainInfo[Domain]]]:
        """Return the state of all domains of each host; see `Host.list`."""
        return await self._calls.each(lambda host: host.list())

    async def info(self) -> Answers[HostInfo]:
        """Return figures about each host; see `Host.info`."""
        return await self._calls.each(lambda host: host.info())

    async def stats(self) -> Answers[tuple[DomainStats[Domain], ...]]:
        """Return what all domains of each host have used so far; see `Host.stats`."""
        return await self._calls.each(lambda host: host.stats())

    async def each(self, call: HostCall[T], *, timeout: float | None = None) -> Answers[T]:
        """Call a function with each host, side by side, and return what it returned or raised.

        Args:
            call: The function, called for several hosts at once. After the deadline its result is lost: give a verb
                that changes something a shorter timeout of its own, which undoes it.
            timeout: Seconds that one host has; None for those of the hosts, ``math.inf`` for no limit.
        """
        return await self._calls.each(call, timeout)

    async def close(self) -> None:
        """Close all hosts; domains stay. A host that hangs is not waited for longer than ten seconds.

        Every later call raises `HostClosed` in the place of each host.
        """
        await self._calls.close()
