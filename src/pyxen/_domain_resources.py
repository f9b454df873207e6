"""Memory, vCPUs, scheduling and statistics of a running domain."""

from __future__ import annotations

from typing import Literal

from pyxen._domain_handle import DomainHandle
from pyxen.begin import AnyCpus
from pyxen.config import Scheduler
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

    def pin_vcpu(
        self, vcpu: int | Literal["all"], cpus: AnyCpus | None = None, *, cpus_soft: AnyCpus | None = None
    ) -> None:
        """Set the CPUs on which a vCPU may run, and those that it prefers, as ``xl vcpu-pin``.

        Args:
            vcpu: Its number, or ``"all"``.
            cpus: The CPUs on which it may run: a `CpuSet`, or what `CpuSet` accepts: ``"0-3,^1"``, ``"nodes:0"``,
                ``"all"``, ``[2, 3]``. None leaves them unchanged.
            cpus_soft: The CPUs that it prefers. None leaves them unchanged.

        Raises:
            InvalidArgument: There is no such vCPU or CPU, or neither `cpus` nor `cpus_soft` is given.
            ValueError: It is not a set of CPUs.
        """
        self._calls.finish(lambda: self.begin.pin_vcpu(vcpu, cpus, cpus_soft=cpus_soft))

    def set_scheduler(self, scheduler: Scheduler) -> None:
        """Set the domain's share of the CPUs, as ``xl sched-credit2 -w`` and so on; `config` includes it.

        Args:
            scheduler: E.g. ``Scheduler(weight=512, cap=50)``; parameters not given stay unchanged.

        Raises:
            InvalidArgument: A value is out of range.
            UnsupportedFeature: The scheduler of the domain's CPU pool has no such parameter.
        """
        self._calls.finish(lambda: self.begin.set_scheduler(scheduler))

    def stats(self) -> DomainStats:
        """Return what the domain has used so far: CPU time, and disk and network traffic, as ``xl top``.

        See `Host.stats` for all domains at once, and for what has counters.
        """
        stats = self._calls.ask(lambda: self._backend.stats(self._ref))
        stats.info.attach(lambda _: self)
        return stats
