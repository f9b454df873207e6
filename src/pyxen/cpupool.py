"""A CPU pool of a host: a handle with xl's verbs."""

from __future__ import annotations

from collections.abc import Iterator
from uuid import UUID

from pyxen._common.arguments import check_is
from pyxen._common.cpupool_preconditions import find_pool
from pyxen._local import Local
from pyxen.backends.base import Backend
from pyxen.begin import AnyCpus, cpus_of
from pyxen.operation import Calls
from pyxen.records.scheduling import CpupoolInfo, CpupoolRef, PoolScheduler

__all__ = ["Cpupool"]


class Cpupool(Local):
    """A CPU pool, returned by `Host.cpupools`: CPUs with a scheduler and domains of their own.

    A handle holds the pool's number and uuid, so it never refers to a later pool that reuses the number. Every method
    raises `NotFound` once the pool is gone. Attributes are local; only methods talk to the host.
    """

    __slots__ = ("_backend", "_calls", "_name", "_ref")

    def __init__(self, backend: Backend, calls: Calls, ref: CpupoolRef, name: str | None) -> None:
        self._backend = backend
        self._calls = calls
        self._ref = ref
        self._name = name

    @property
    def number(self) -> int:
        """The pool's number; 0 is the pool of dom0."""
        return self._ref.number

    @property
    def uuid(self) -> UUID | None:
        """The pool's uuid; None for pools that Xen made, such as pool 0."""
        return self._ref.uuid

    @property
    def name(self) -> str | None:
        """The name last seen by this handle; `info` asks for the current one."""
        return self._name

    def __repr__(self) -> str:
        name = "" if self.name is None else f" {self.name!r}"
        return f"<Cpupool {self.number}{name}>"

    def __rich_repr__(self) -> Iterator[tuple[str, object]]:
        yield from (("number", self.number), ("name", self.name))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Cpupool):
            return NotImplemented
        return self._ref == other._ref and self._backend is other._backend

    def __hash__(self) -> int:
        return hash(self._ref)

    def info(self) -> CpupoolInfo:
        """Return the current state of the pool, as its line in ``xl cpupool-list``.

        Raises:
            NotFound: The pool is gone.
        """
        info = self._calls.ask(lambda: find_pool(self._backend.cpupools(), self._ref, "info"))
        self._name = info.name
        return info

    def destroy(self) -> None:
        """Destroy the pool, as ``xl cpupool-destroy``. Its CPUs are free afterwards.

        Raises:
            InvalidState: It has domains, or is pool 0.
            NotFound: The pool is gone.
        """
        self._calls.finish(lambda: self._backend.destroy_cpupool(self._ref))

    def rename(self, name: str) -> None:
        """Give the pool another name, as ``xl cpupool-rename``.

        Raises:
            CpupoolExists: Another pool has that name.
            InvalidArgument: The name is not valid.
            NotFound: The pool is gone.
        """
        check_is(str, name, "rename_cpupool")
        self._calls.finish(lambda: self._backend.rename_cpupool(self._ref, name))
        self._name = name

    def add_cpus(self, cpus: AnyCpus) -> None:
        """Add CPUs that are in no pool, as ``xl cpupool-cpu-add``.

        CPUs that the pool already has stay. If one of the CPUs cannot be added, none is.

        Args:
            cpus: A `CpuSet`, or what `CpuSet` accepts: ``"2-3"``, ``"node:1"``, ``[2, 3]``. Of ``"all"`` and
                ``"node:1"``, the CPUs that are free are added.

        Raises:
            InvalidArgument: The host has no such CPU, or the set is empty.
            InvalidState: Another pool has one of the CPUs.
            NotFound: The pool is gone.
        """
        wanted = cpus_of(cpus, "add_cpus")
        self._calls.finish(lambda: self._backend.add_cpus(self._ref, wanted))

    def remove_cpus(self, cpus: AnyCpus) -> None:
        """Remove CPUs, as ``xl cpupool-cpu-remove``. They are free afterwards, and run nothing until a pool gets them.

        If one of the CPUs cannot be removed, none is.

        Args:
            cpus: As for `add_cpus`. Of ``"all"`` and ``"node:1"``, the CPUs that the pool has are removed.

        Raises:
            InvalidArgument: The pool has no such CPU, or the set is empty.
            InvalidState: The pool has domains, and no CPU would be left for them. Or it is CPU 0, which Xen needs in
                pool 0.
            NotFound: The pool is gone.
        """
        wanted = cpus_of(cpus, "remove_cpus")
        self._calls.finish(lambda: self._backend.remove_cpus(self._ref, wanted))

    def scheduler(self) -> PoolScheduler:
        """Return the parameters of the pool's scheduler, as ``xl sched-credit -s -p POOL``.

        Raises:
            NotFound: The pool is gone.
        """
        return self._calls.ask(lambda: self._backend.pool_scheduler(self._ref))

    def set_scheduler(self, scheduler: PoolScheduler) -> None:
        """Set parameters of the pool's scheduler, as ``xl sched-credit -s -p POOL -t … -r … -m …``.

        The pool keeps its scheduler: only `Cpupools.create` chooses one. The schedulers rtds, arinc653 and null have no
        parameters for a pool.

        Args:
            scheduler: E.g. ``PoolScheduler(ratelimit_us=2000)``; parameters that are None stay unchanged.

        Raises:
            InvalidArgument: A value is out of range.
            UnsupportedFeature: The pool's scheduler has no such parameter, or is another one.
            NotFound: The pool is gone.
        """
        check_is(PoolScheduler, scheduler, "set_scheduler")
        self._calls.finish(lambda: self._backend.set_pool_scheduler(self._ref, scheduler))
