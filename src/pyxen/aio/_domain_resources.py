"""Memory, vCPUs, scheduling and statistics of a running domain, for asyncio.

Generated from `pyxen._domain_resources` by ``python -m tools.aio_face``: do not edit.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal, Self

from pyxen._common.arguments import check_number
from pyxen.aio._domain_handle import DomainHandle
from pyxen.begin import AnyCpupool, AnyCpus
from pyxen.config import Scheduler
from pyxen.records.memory import DomainMemory
from pyxen.records.scheduling import VcpuInfo
from pyxen.records.stats import DomainStats

__all__ = ["DomainResources"]


class DomainResources(DomainHandle):
    """The verbs of `Domain` for its share of the host, awaited."""

    __slots__ = ()

    async def memory(self) -> DomainMemory:
        """Return the domain's memory: how much it has and should have, is limited to, shares and has claimed.

        This never waits for a create.

        Raises:
            UnsupportedFeature: This backend does not know it; `info` has what it has.
        """
        return await self._calls.ask(lambda: self._backend.memory(self._ref))

    async def set_memory(self, memory: float | None = None, *, memory_kib: int | None = None) -> None:
        """Set how much memory the guest should use, and limit it to that, as ``xl mem-set``.

        It returns once the guest has been asked. Whether and how fast the guest follows is up to its balloon driver;
        `wait_memory` waits for it. Also for dom0, whose own balloon driver follows: ``host.domains[0]``.

        Args:
            memory: In MiB, as `DomainConfig.memory`; at most ``maxmem``.
            memory_kib: In KiB, instead.

        Raises:
            InvalidArgument: It is zero, or more than ``maxmem``; or both or neither are given.
            NotEnoughMemory: The host has not enough free memory.
            ValidationError: It is not a valid amount of memory.
        """
        await self._calls.finish(lambda: self.begin.set_memory(memory, memory_kib=memory_kib))

    async def wait_memory(self, *, timeout: float | None = None) -> DomainMemory:
        """Wait until the guest has reached its memory target, to within 1 MiB.

        ::

            web.set_memory(256)
            web.wait_memory(timeout=30)

        Guests report nothing, so pyxen polls: after 10 ms at first, and in the end every 200 ms.

        Args:
            timeout: Seconds after which to give up; the target stays. None waits forever. A guest without a balloon
                driver, or without enough memory to give back, never reaches it.

        Returns:
            Its memory at that moment.

        Raises:
            OperationTimeout: The guest did not reach its target in time.
            DomainNotFound: The domain went away meanwhile.
            UnsupportedFeature: This backend does not know the target.
        """
        return await self._calls.finish(lambda: self.begin.wait_memory(timeout=timeout))

    async def set_maxmem(self, maxmem: float | None = None, *, maxmem_kib: int | None = None) -> None:
        """Set the most memory that `set_memory` can give the domain, as ``xl mem-max``.

        Args:
            maxmem: In MiB, as `DomainConfig.maxmem`. A guest may not be able to use more than it started with.
            maxmem_kib: In KiB, instead.

        Raises:
            InvalidArgument: It is less than the guest's current memory target; or both or neither are given.
            ValidationError: It is not a valid amount of memory.
        """
        await self._calls.finish(lambda: self.begin.set_maxmem(maxmem, maxmem_kib=maxmem_kib))

    async def set_vcpus(self, vcpus: int) -> None:
        """Set how many vCPUs the guest should use, as ``xl vcpu-set``.

        It returns once the guest has been asked; `info` shows how many it uses. Unlike xl, pyxen allows more vCPUs than
        the host has CPUs; libvirt does not.

        Args:
            vcpus: 1 to ``maxvcpus``. Through libvirt, at most as many as the host has CPUs.

        Raises:
            InvalidArgument: It is out of range.
        """
        await self._calls.finish(lambda: self.begin.set_vcpus(vcpus))

    async def vcpus(self) -> tuple[VcpuInfo, ...]:
        """Return the current state of each vCPU, by its number, as ``xl vcpu-list``.

        It shows on which CPU a vCPU is, what it has used, and the CPUs on which it may run.
        """
        return await self._calls.ask(lambda: self._backend.vcpus(self._ref))

    async def pin_vcpu(
        self,
        vcpu: int | Literal["all"],
        cpus: AnyCpus | None = None,
        *,
        cpus_soft: AnyCpus | None = None,
        force: bool = False,
    ) -> None:
        """Set the CPUs on which a vCPU may run, and those that it prefers, as ``xl vcpu-pin``; `vcpus` shows them.

        Args:
            vcpu: Its number, or ``"all"``.
            cpus: The CPUs on which it may run: a `CpuSet`, or what `CpuSet` accepts: ``"0-3,^1"``, ``"nodes:0"``,
                ``"all"``, ``[2, 3]``. None leaves them unchanged.
            cpus_soft: The CPUs that it prefers. None leaves them unchanged.
            force: Do so even if dom0's kernel has pinned its own vCPU for a while, as ``xl vcpu-pin -f``. This ends
                that pinning. Not with ``"all"``.

        Raises:
            InvalidArgument: There is no such vCPU or CPU, the domain's CPU pool has none of the CPUs, or neither `cpus`
                nor `cpus_soft` is given.
            UnsupportedFeature: `force`, and this backend cannot force.
        """
        await self._calls.finish(lambda: self.begin.pin_vcpu(vcpu, cpus, cpus_soft=cpus_soft, force=force))

    async def node_affinity(self) -> tuple[int, ...]:
        """Return the NUMA nodes from which Xen takes the domain's memory, ascending, as ``xl list -n``.

        Unless `set_node_affinity` has set them, they are the nodes of the CPUs on which the vCPUs may run, or of those
        that they prefer. This never waits for a create.

        Raises:
            UnsupportedFeature: This backend does not know them.
        """
        return await self._calls.ask(lambda: self._backend.node_affinity(self._ref))

    async def set_node_affinity(self, nodes: Iterable[int] | None) -> None:
        """Set the NUMA nodes from which Xen takes the domain's memory from now on; memory that it has stays.

        If these nodes have no free memory, Xen takes that of other nodes. The CPUs of the vCPUs stay, too: `pin_vcpu`
        changes them. xl does this only for a new domain, by itself.

        Args:
            nodes: Their numbers. None: those of the CPUs on which the vCPUs may run, as for a new domain.

        Raises:
            InvalidArgument: The host has no such node, or there are no nodes in it.
            UnsupportedFeature: This backend cannot set them; libvirt's Xen driver only reports them.
        """
        await self._calls.finish(lambda: self.begin.set_node_affinity(nodes))

    async def scheduler(self, *, vcpu: int | None = None) -> Scheduler:
        """Return the domain's share of the CPUs, as ``xl sched-credit2 -d`` and so on.

        Args:
            vcpu: Return the share of this vCPU instead, as ``xl sched-rtds -v`` (rtds).

        Returns:
            The scheduler of its CPU pool as ``kind``, and the parameters that this scheduler has.

        Raises:
            InvalidArgument: There is no such vCPU.
            UnsupportedFeature: `vcpu`, and the scheduler has no parameters for vCPUs.
        """
        if vcpu is not None:
            check_number(vcpu, "scheduler")
        return await self._calls.ask(lambda: self._backend.scheduler(self._ref, vcpu))

    async def set_scheduler(self, scheduler: Scheduler, *, vcpu: int | Literal["all"] | None = None) -> None:
        """Set the domain's share of the CPUs, as ``xl sched-credit2 -w`` and so on; `config` includes it.

        Args:
            scheduler: E.g. ``Scheduler(weight=512, cap=50)``; parameters not given stay unchanged.
            vcpu: Set it for this vCPU, or for ``"all"``, as ``xl sched-rtds -v`` (rtds). None sets it for the domain.
                With rtds that changes all of its vCPUs, too.

        Raises:
            InvalidArgument: A value is out of range, or there is no such vCPU.
            UnsupportedFeature: The scheduler of the domain's CPU pool has no such parameter, or none for vCPUs.
        """
        await self._calls.finish(lambda: self.begin.set_scheduler(scheduler, vcpu=vcpu))

    async def set_cpupool(self, pool: AnyCpupool) -> None:
        """Move the domain to another CPU pool, as ``xl cpupool-migrate``.

        There it gets the default share of the scheduler, and its vCPUs may run on all CPUs of the pool, whatever
        `set_scheduler` and `pin_vcpu` said before. `info` shows the pool; `config` keeps the one in which the
        domain was created.

        Args:
            pool: Name or number of the pool, or its handle.

        Raises:
            NotFound: There is no such pool.
            InvalidState: The pool has no CPUs, or the domain is dom0.
        """
        await self._calls.finish(lambda: self.begin.set_cpupool(pool))

    async def stats(self) -> DomainStats[Self]:
        """Return what the domain has used so far: CPU time, and disk and network traffic, as ``xl top``.

        See `Host.stats` for all domains at once, and for what has counters.
        """
        stats = await self._calls.ask(lambda: self._backend.stats(self._ref))
        stats.info.attach(lambda _: self)
        return stats
