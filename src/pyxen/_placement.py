"""Where a domain runs, and where a configuration wants it to run: its CPU pool and the affinity of its vCPUs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from pyxen._common.cpu_affinity import is_symbolic
from pyxen.backends.base import Backend, DomainRef
from pyxen.config import CpuSet, DomainConfig
from pyxen.features import Feature
from pyxen.records.info import DomainInfo
from pyxen.records.scheduling import VcpuInfo

__all__ = ["Placement", "VcpuPin", "placement_of"]


@dataclass(frozen=True, slots=True)
class VcpuPin:
    """The CPUs of a vCPU, as `Domain.pin_vcpu` takes them.

    Attributes:
        vcpu: The number of the vCPU; None for all of them.
        cpus: The CPUs on which it may run; None leaves them unchanged.
        cpus_soft: The CPUs that it prefers; None leaves them unchanged.
    """

    vcpu: int | None
    cpus: CpuSet | None
    cpus_soft: CpuSet | None

    def __str__(self) -> str:
        sets = f"cpus={self.cpus}" if self.cpus is not None else ""
        soft = f"cpus_soft={self.cpus_soft}" if self.cpus_soft is not None else ""
        return " ".join(filter(None, ("all" if self.vcpu is None else str(self.vcpu), sets, soft)))


@dataclass(frozen=True, slots=True)
class Placement:
    """Where a domain runs now. libxl keeps what it was created with, so it cannot say that.

    Attributes:
        pool: The name and number of its CPU pool; None if the backend cannot move it.
        vcpus: Its vCPUs; None if the backend cannot pin them, or their affinity was never given.
        wanted: The configuration, with ``all`` and ``nodes:N`` in CPU sets replaced by the host's CPUs.
        everything: All CPUs of the host.
    """

    pool: tuple[str | None, int | None] | None
    vcpus: tuple[VcpuInfo, ...] | None
    wanted: DomainConfig
    everything: frozenset[int]

    def brings(self, path: str) -> bool:
        """Tell whether a running domain can get another value of a setting."""
        if path in ("pool", "poolid"):
            return self.pool is not None
        return path in ("cpus", "cpus_soft") and self.vcpus is not None

    def move(self) -> str | int | None:
        """Return the CPU pool to which the domain has to move; None if it is where it should be."""
        if self.pool is None:
            return None
        name, number = self.pool
        if self.wanted.pool is not None:
            return None if self.wanted.pool in (name, str(number)) else self.wanted.pool
        return self.wanted.poolid if self.wanted.poolid not in (0, number) else None

    def pins(self, now: DomainConfig, *, moves: bool) -> Iterator[VcpuPin]:
        """Yield what has to be pinned.

        Args:
            now: The current configuration.
            moves: Whether the domain moves to another pool before, which makes Xen forget the affinity.
        """
        vcpus = self.vcpus or ()
        pins = []
        for vcpu in vcpus:
            hard = self._set(now.cpus, self.wanted.cpus, vcpu.number, None if moves else vcpu.cpus)
            soft = self._set(now.cpus_soft, self.wanted.cpus_soft, vcpu.number, None if moves else vcpu.cpus_soft)
            if (hard, soft) != (None, None):
                pins.append(VcpuPin(vcpu.number, hard, soft))
        if len(pins) == len(vcpus) and len({(pin.cpus, pin.cpus_soft) for pin in pins}) == 1:
            yield VcpuPin(None, pins[0].cpus, pins[0].cpus_soft)
        else:
            yield from pins

    def _set(self, before: object, wanted: object, vcpu: int, actual: CpuSet | None) -> CpuSet | None:
        """Return the CPUs that a vCPU has to get; None if it has them, or if they were never given."""
        if isinstance(wanted, tuple):
            wanted = wanted[vcpu] if vcpu < len(wanted) else CpuSet(self.everything)
        elif wanted is None and before is not None:
            wanted = CpuSet(self.everything)
        if not isinstance(wanted, CpuSet):
            return None
        has = self.everything if actual is None else self.everything & set(actual)
        return None if set(wanted) == has else wanted


def placement_of(backend: Backend, info: DomainInfo, now: DomainConfig, wanted: DomainConfig) -> Placement:
    """Look where a domain runs, as far as the backend can change that."""
    pool = (info.pool, info.poolid) if Feature.CPUPOOLS in backend.features else None
    given = (now.cpus, now.cpus_soft, wanted.cpus, wanted.cpus_soft)
    pinned = any(each is not None for each in given)
    if not pinned or not backend.features >= {Feature.VCPU_INFO, Feature.PIN, Feature.TOPOLOGY}:
        return Placement(pool, None, wanted, frozenset())
    topology = backend.topology()
    everything = frozenset(cpu.number for cpu in topology.cpus)
    if is_symbolic(wanted):
        wanted = wanted.resolve_cpus(sorted(everything), topology.node_cpus)
    return Placement(pool, backend.vcpus(DomainRef(info.domid, info.uuid)), wanted, everything)
