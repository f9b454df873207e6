"""Many hosts at once: a mapping of names to hosts, asked side by side."""

from __future__ import annotations

import builtins
import os
from collections.abc import Iterator, Mapping
from types import TracebackType
from typing import Self, TypeVar

from pyxen._host_calls import HostCall, HostCalls, Places
from pyxen._inventory import load_inventory
from pyxen.domain import Domain
from pyxen.host import Host
from pyxen.records.answers import Answers
from pyxen.records.info import DomainInfo, HostInfo
from pyxen.records.stats import DomainStats

__all__ = ["Hosts"]

T = TypeVar("T")


class Hosts:
    """Many hosts by name, asked side by side. Each answers in its place: with a value, or with its error.

    ::

        with pyxen.Hosts.load("hosts.toml") as hosts:
            for name, answer in hosts.list().items():
                print(name, len(answer.value) if answer.ok else answer.error)

    Creating it does no I/O: a host is opened when it is first asked, and asked again at the next call if that failed. A
    host that hangs takes one of the places of `at_once` until its deadline, and its error is then `OperationTimeout`.
    Until it has answered, further calls do not wait for it. Use it as a context manager, or `close` it.

    Args:
        uris: The URI of each host by its name, as `pyxen.connect` takes them.
        at_once: How many hosts are asked at the same time, 1 to 1024.
        timeout: Seconds that one host has to be opened and to answer a call. None, or ``math.inf``, waits without a
            limit.

    Attributes:
        uris: The URI of each host.

    Raises:
        InvalidArgument: There is no host, a name or a URI is not a text, or a number is out of range.
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

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def __contains__(self, name: object) -> bool:
        return name in self.uris

    def __iter__(self) -> Iterator[str]:
        return iter(self.uris)

    def __len__(self) -> int:
        return len(self.uris)

    def __getitem__(self, name: str) -> Host:
        """Return a host, and open it if it is not open.

        Raises:
            NotFound: No host has this name.
            OperationTimeout: It does not answer.
            Error: It cannot be opened: as for `pyxen.connect`.
        """
        self._places.check_name(name)
        return self._calls.one(name)

    def open(self) -> Answers[Host]:
        """Open all hosts that are not open, and return them."""
        return self._calls.open()

    def list(self) -> Answers[builtins.list[DomainInfo[Domain]]]:
        """Return the state of all domains of each host; see `Host.list`."""
        return self._calls.each(lambda host: host.list())

    def info(self) -> Answers[HostInfo]:
        """Return figures about each host; see `Host.info`."""
        return self._calls.each(lambda host: host.info())

    def stats(self) -> Answers[tuple[DomainStats[Domain], ...]]:
        """Return what all domains of each host have used so far; see `Host.stats`."""
        return self._calls.each(lambda host: host.stats())

    def each(self, call: HostCall[T], *, timeout: float | None = None) -> Answers[T]:
        """Call a function with each host, side by side, and return what it returned or raised.

        Args:
            call: The function, called for several hosts at once. After the deadline its result is lost: give a verb
                that changes something a shorter timeout of its own, which undoes it.
            timeout: Seconds that one host has; None for those of the hosts, ``math.inf`` for no limit.
        """
        return self._calls.each(call, timeout)

    def close(self) -> None:
        """Close all hosts; domains stay. A host that hangs is not waited for longer than ten seconds.

        Every later call raises `HostClosed` in the place of each host.
        """
        self._calls.close()
