"""Memory, vCPUs, scheduling and statistics of a running domain."""

from __future__ import annotations

from typing import Literal

from pyxen._common.arguments import check_number
from pyxen._domain_handle import DomainHandle
from pyxen.begin import AnyCpupool, AnyCpus
from pyxen.config import Scheduler
from pyxen.scheduling import VcpuInfo
from pyxen.stats import DomainStats

__all__ = ["DomainResources"]


class DomainResources(DomainHandle):
    """The verbs of `Domain` for its share of the host."""

    __slots__ = ()

    def set_memory(self, memory: float) -> None:
        """Set how much memory the guest should use, and limit it to that, as ``xl mem-set``.

        It returns once the guest has been asked. Whether and how fast the guest follows is up to its balloon driver;
        `info` shows how much memory it has.

        Args:
            memory: In MiB, as `DomainConfig.memory`; at most ``maxmem``.

        Raises:
            InvalidArgument: It is zero, or more than ``maxmem``.
            NotEnoughMemory: The host has not enough free memory.
            ValidationError: It is not a valid amount of memory.
        """
        self._calls.finish(lambda: self.begin.set_memory(memory))

    def set_maxmem(self, maxmem: float) -> None:
        """Set the most memory that `set_memory` can give the domain, as ``xl mem-max``.

        Args:
            maxmem: In MiB, as `DomainConfig.maxmem`. A guest may not be able to use more than it started with.

        Raises:
            InvalidArgument: It is less than the guest's current memory target.
            ValidationError: It is not a valid amount of memory.
        """
        self._calls.finish(lambda: self.begin.set_maxmem(maxmem))

    def set_vcpus(self, vcpus: int) -> None:
        """Set how many vCPUs the guest should use, as ``xl vcpu-set``.

        It returns once the guest has been asked; `info` shows how many it uses. Unlike xl, pyxen allows more vCPUs than
        the host has CPUs; libvirt does not.

        Args:
            vcpus: 1 to ``maxvcpus``. Through libvirt, at most as many as the host has CPUs.

        Raises:
            InvalidArgument: It is out of range.
        """
        self._calls.finish(lambda: self.begin.set_vcpus(vcpus))

    def vcpus(self) -> tuple[VcpuInfo, ...]:
        """Return the current state of each vCPU, by its number, as ``xl vcpu-list``.

        It shows on which CPU a vCPU is, what it has used, and the CPUs on which it may run.
        """
        return self._calls.ask(lambda: self._backend.vcpus(self._ref))

    def pin_vcpu(
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
            ValueError: It is not a set of CPUs.
        """
        self._calls.finish(lambda: self.begin.pin_vcpu(vcpu, cpus, cpus_soft=cpus_soft, force=force))

    def scheduler(self, *, vcpu: int | None = None) -> Scheduler:
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
        return self._calls.ask(lambda: self._backend.scheduler(self._ref, vcpu))

    def set_scheduler(self, scheduler: Scheduler, *, vcpu: int | Literal["all"] | None = None) -> None:
        """Set the domain's share of the CPUs, as ``xl sched-credit2 -w`` and so on; `config` includes it.

        Args:
            scheduler: E.g. ``Scheduler(weight=512, cap=50)``; parameters not given stay unchanged.
            vcpu: Set it for this vCPU, or for ``"all"``, as ``xl sched-rtds -v`` (rtds). None sets it for the domain.
                With rtds that changes all of its vCPUs, too.

        Raises:
            InvalidArgument: A value is out of range, or there is no such vCPU.
            UnsupportedFeature: The scheduler of the domain's CPU pool has no such parameter, or none for vCPUs.
        """
        self._calls.finish(lambda: self.begin.set_scheduler(scheduler, vcpu=vcpu))

    def set_cpupool(self, pool: AnyCpupool) -> None:
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
        self._calls.finish(lambda: self.begin.set_cpupool(pool))

    def stats(self) -> DomainStats:
        """Return what the domain has used so far: CPU time, and disk and network traffic, as ``xl top``.

        See `Host.stats` for all domains at once, and for what has counters.
        """
        stats = self._calls.ask(lambda: self._backend.stats(self._ref))
        stats.info.attach(lambda _: self)
        return stats
