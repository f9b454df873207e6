"""A virtual machine, whatever its domain: a handle that follows it through its restarts."""

from __future__ import annotations

from uuid import UUID

from pyxen._common.arguments import check_is
from pyxen._durations import timeout_of
from pyxen._local import Local
from pyxen._printable import shown_number
from pyxen.backends.base import Backend, DomainRef
from pyxen.domain import Domain
from pyxen.errors import DomainNotFound, InvalidArgument
from pyxen.operation import Calls
from pyxen.records.info import DomainInfo, DomainState

__all__ = ["Vm", "uuid_of_vm"]


class Vm(Local):
    """A virtual machine by its uuid, returned by `Host.vm`. It may run or not.

    Each start makes a new domain, with a new domid and the same uuid. A `Domain` is one of these; this handle finds
    the current one at each call::

        vm = xen.vm("0b3f1a4e-8e0f-4d1c-9f5b-2f1d6c1b8a77")
        domain = vm.wait_start()
        while True:
            print(domain.domid, domain.wait())
            domain = vm.wait_start(after=domain)

    Attributes are local; only methods talk to the host.
    """

    __slots__ = ("_backend", "_calls", "_uuid")

    def __init__(self, backend: Backend, calls: Calls, uuid: UUID) -> None:
        self._backend = backend
        self._calls = calls
        self._uuid = uuid

    @property
    def uuid(self) -> UUID:
        """The uuid of the virtual machine."""
        return self._uuid

    def __repr__(self) -> str:
        return f"<Vm {self._uuid}>"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Vm):
            return NotImplemented
        return self._uuid == other._uuid and self._backend is other._backend

    def __hash__(self) -> int:
        return hash(self._uuid)

    def domain(self) -> Domain:
        """Return its current domain: ``vm.domain().shutdown()``.

        Raises:
            DomainNotFound: It does not run now.
        """
        return self._handle(self._calls.ask(self._current))

    def get(self) -> Domain | None:
        """Return its current domain; None if it does not run now."""
        info = self._calls.ask(self._find)
        return None if info is None else self._handle(info)

    def info(self) -> DomainInfo[Domain]:
        """Return the state of its current domain.

        Raises:
            DomainNotFound: It does not run now.
        """
        info = self._calls.ask(self._current)
        return info.attach(self._handle)

    def wait_start(self, *, after: Domain | None = None, timeout: float | None = None) -> Domain:
        """Wait until it has started, and return its domain. If it has, this returns at once.

        A domain has started when it is not paused: one that is being created, or was created paused, has not.

        Args:
            after: Wait for another domain than this one: for the next start.
            timeout: Seconds after which to give up. None waits forever.

        Raises:
            OperationTimeout: It did not start in time.
            InvalidArgument: `after` is no domain.
        """
        if after is not None:
            check_is(Domain, after, "wait_start", ", as after")
        ref = None if after is None else DomainRef(after.domid, after.uuid)
        info = self._calls.finish(lambda: self._backend.wait_start(self._uuid, ref, timeout=timeout_of(timeout)))
        return self._handle(info)

    def _find(self) -> DomainInfo | None:
        infos = [info for info in self._backend.list() if info.uuid == self._uuid]
        there = [info for info in infos if info.state is not DomainState.DYING]
        # During a migration from this host to itself there are two, and one of them runs.
        return max(there, key=lambda info: (info.is_running, info.domid), default=None)

    def _current(self) -> DomainInfo:
        info = self._find()
        if info is None:
            raise DomainNotFound(f"no domain has the uuid {self._uuid} now: it does not run", domain=str(self._uuid))
        return info

    def _handle(self, info: DomainInfo) -> Domain:
        return Domain(self._backend, self._calls, DomainRef(info.domid, info.uuid), info.name)


def uuid_of_vm(value: object) -> UUID:
    """Return a uuid that was given as one, or as text.

    Raises:
        InvalidArgument: It is neither.
    """
    if isinstance(value, UUID):
        return value
    try:
        return UUID(value if isinstance(value, str) else "")
    except ValueError:
        message = f"takes a uuid, not {shown_number(value)}: a domain found by name has one, host.domains['web1'].uuid"
        raise InvalidArgument(message, operation="vm") from None
