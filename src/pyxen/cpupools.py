"""The collection of a host's CPU pools, with lookup by name or number."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence

from pyxen._common.arguments import check_is, check_number, fits, member
from pyxen._common.cpupool_preconditions import find_pool, ref_of
from pyxen.backends.base import Backend
from pyxen.begin import AnyCpus, cpus_of
from pyxen.config import CpuSet, SchedulerKind
from pyxen.config.enum_names import SchedulerKindName
from pyxen.cpupool import Cpupool
from pyxen.errors import InvalidArgument
from pyxen.operation import Calls
from pyxen.records.base import html_table
from pyxen.records.scheduling import CpupoolInfo

__all__ = ["CpupoolName", "Cpupools"]

CpupoolName = str | int
"""A name, or a number."""


class Cpupools(Collection[Cpupool]):
    """The current CPU pools of a host. Each lookup asks the host; nothing is cached.

    A host starts with one pool, ``Pool-0``, that has all CPUs. dom0 stays in it.
    """

    def __init__(self, backend: Backend, calls: Calls) -> None:
        self._backend = backend
        self._calls = calls

    def __repr__(self) -> str:
        return f"<Cpupools of {self._backend.uri}>"

    def _repr_html_(self) -> str:
        shown = ["number", "name", "scheduler", "cpus", "domains"]
        rows = [tuple(info.to_dict()[name] for name in shown) for info in self._backend.cpupools()]
        return html_table(shown, rows)

    def _ipython_key_completions_(self) -> list[str]:
        return [info.name for info in self._backend.cpupools() if info.name is not None]

    def __getitem__(self, key: CpupoolName) -> Cpupool:
        """Return a CPU pool by name or number. Text is a name, and never a number.

        Raises:
            NotFound: There is no such pool.
        """
        info = self._calls.ask(lambda: find_pool(self._backend.cpupools(), _checked(key), "cpupools"))
        return self._handle(info)

    def get(self, key: CpupoolName) -> Cpupool | None:
        """Return a CPU pool by name or number; None if there is no such pool."""
        return self._calls.ask(lambda: self._find(key))

    def __contains__(self, key: object) -> bool:
        if isinstance(key, Cpupool):
            return any(pool == key for pool in self)
        if isinstance(key, bool) or (isinstance(key, int) and not fits(key)):
            return False
        return isinstance(key, str | int) and self._find(key) is not None

    def __iter__(self) -> Iterator[Cpupool]:
        return iter([self._handle(info) for info in self._backend.cpupools()])

    def __len__(self) -> int:
        return len(self._backend.cpupools())

    def list(self) -> Sequence[CpupoolInfo]:
        """Return the current state of all CPU pools, ordered by number, as ``xl cpupool-list``."""
        return self._calls.ask(self._backend.cpupools)

    def free_cpus(self) -> CpuSet:
        """Return the CPUs that are in no pool: `create` and `Cpupool.add_cpus` can take them."""
        return self._calls.ask(self._free_cpus)

    def _free_cpus(self) -> CpuSet:
        taken = {cpu for pool in self._backend.cpupools() for cpu in pool.cpus}
        return CpuSet([cpu.number for cpu in self._backend.topology().cpus if cpu.number not in taken])

    def create(
        self, name: str, *, cpus: AnyCpus = (), scheduler: SchedulerKind | SchedulerKindName | None = None
    ) -> Cpupool:
        """Create a CPU pool, as ``xl cpupool-create``.

        Args:
            name: Its name.
            cpus: CPUs that are in no pool: a `CpuSet`, or what `CpuSet` accepts: ``"2-3"``, ``"node:1"``, ``[2, 3]``.
                `Cpupool.remove_cpus` makes CPUs of another pool free. Default: no CPUs.
            scheduler: Its scheduler: ``credit``, ``credit2``, ``rtds``, ``arinc653`` or ``null``. Many Xen builds have
                only the first two. Default: the scheduler that the host was started with.

        Raises:
            CpupoolExists: Another pool has that name.
            InvalidArgument: The name is not valid, or the host has no such CPU.
            InvalidState: Another pool has one of the CPUs.
            UnsupportedFeature: This Xen does not have that scheduler.
        """
        check_is(str, name, "create_cpupool")
        wanted = cpus_of(cpus, "create_cpupool")
        kind = None if scheduler is None else member(SchedulerKind, scheduler, "create_cpupool")
        ref = self._calls.finish(
            lambda: self._backend.create_cpupool(name, wanted, kind),
            undo=lambda made: self._backend.destroy_cpupool(made).wait(),
        )
        return Cpupool(self._backend, self._calls, ref, name)

    def numa_split(self) -> None:
        """Make a CPU pool of each NUMA node, as ``xl cpupool-numa-split``.

        ``Pool-0`` becomes ``Pool-node0`` and keeps dom0 and the guests. dom0 is asked to use as many vCPUs as that node
        has CPUs. The other nodes get new pools with the same scheduler: ``Pool-node1`` …

        Raises:
            InvalidState: The host already has several pools.
        """
        self._calls.finish(self._backend.split_cpupools)

    def _find(self, key: CpupoolName) -> Cpupool | None:
        key = _checked(key)
        pools = self._backend.cpupools()
        found = (pool for pool in pools if key == (pool.name if isinstance(key, str) else pool.number))
        return next((self._handle(pool) for pool in found), None)

    def _handle(self, info: CpupoolInfo) -> Cpupool:
        return Cpupool(self._backend, self._calls, ref_of(info), info.name)


def _checked(key: CpupoolName) -> CpupoolName:
    if isinstance(key, bool) or not isinstance(key, str | int):
        raise InvalidArgument(
            f"takes the name or the number of a CPU pool, not {type(key).__name__}", operation="cpupools"
        )
    if isinstance(key, int):
        check_number(key, "cpupools")
    return key
