"""Scheduler parameters of simulated domains, vCPUs and CPU pools."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Literal

from pyxen._common.cpupool_preconditions import (
    check_pool_scheduler,
    check_rtds,
    check_vcpu_scheduler,
    find_pool,
)
from pyxen._common.preconditions import SCHEDULER_PARAMETERS, check_scheduler, check_vcpu
from pyxen._common.scripts import at_once
from pyxen.backends.memory.cpupools import pool_of, pools
from pyxen.backends.memory.engine import describe
from pyxen.backends.memory.guests import Guest
from pyxen.backends.memory.machine import Machine
from pyxen.config import Scheduler, SchedulerKind
from pyxen.errors import InvalidArgument
from pyxen.operation import Operation
from pyxen.records.scheduling import CpupoolKey, PoolScheduler

__all__ = ["pool_scheduler", "scheduler", "set_pool_scheduler", "set_scheduler"]

_BACKEND: Final = "memory"
_MOST_WEIGHT: Final = 65535


def scheduler(machine: Machine, guest: Guest, vcpu: int | None) -> Scheduler:
    """Return the scheduler parameters of a domain, or of one of its vCPUs."""
    kind = machine.pools[guest.poolid].scheduler
    if vcpu is None:
        return guest.scheduler.replace(kind=kind)
    check_vcpu(guest.domid, vcpu, guest.config.effective_maxvcpus, "scheduler")
    check_vcpu_scheduler(kind, _BACKEND)
    return guest.vcpu_schedulers.get(vcpu, guest.scheduler).replace(kind=kind)


@at_once
def set_scheduler(
    machine: Machine, operation: Operation[Any], guest: Guest, given: Scheduler, vcpu: int | Literal["all"] | None
) -> None:
    """Set the scheduler parameters of a domain or of its vCPUs; those that are not given stay as they are."""
    kind = machine.pools[guest.poolid].scheduler
    said = check_scheduler(given, kind, SCHEDULER_PARAMETERS.get(kind, ()), _BACKEND)
    if vcpu is not None:
        _set_vcpus(guest, kind, said, vcpu)
        return
    _check(operation, guest, kind, said)
    guest.scheduler = guest.scheduler.replace(**said)
    guest.vcpu_schedulers.clear()
    guest.config = guest.config.replace(scheduler=guest.config.scheduler.replace(**said))


def _check(operation: Operation[Any], guest: Guest, kind: SchedulerKind, said: Mapping[str, Any]) -> None:
    if kind is SchedulerKind.RTDS:
        check_rtds(guest.domid, {**dict(guest.scheduler.non_defaults()), **said})
        return
    most_cap = 100 * guest.config.effective_maxvcpus
    if not 1 <= said.get("weight", 1) <= _MOST_WEIGHT or not 0 <= said.get("cap", 0) <= most_cap:
        shown = ", ".join(f"{name}={value}" for name, value in said.items())
        raise describe(InvalidArgument, f"{kind} does not take {shown}", operation)


def _set_vcpus(guest: Guest, kind: SchedulerKind, said: Mapping[str, Any], vcpu: int | Literal["all"]) -> None:
    most = guest.config.effective_maxvcpus
    if vcpu != "all":
        check_vcpu(guest.domid, vcpu, most, "set_scheduler")
    check_vcpu_scheduler(kind, _BACKEND)
    numbers = range(most) if vcpu == "all" else [vcpu]
    changed = {number: guest.vcpu_schedulers.get(number, guest.scheduler).replace(**said) for number in numbers}
    for params in changed.values():
        check_rtds(guest.domid, dict(params.non_defaults()))
    guest.vcpu_schedulers.update(changed)


def pool_scheduler(machine: Machine, key: CpupoolKey) -> PoolScheduler:
    """Return the parameters of a CPU pool's scheduler."""
    pool = pool_of(machine, key, "scheduler")
    return PoolScheduler(kind=pool.scheduler, **pool.parameters)


@at_once
def set_pool_scheduler(machine: Machine, operation: Operation[Any], key: CpupoolKey, given: PoolScheduler) -> None:
    """Set parameters of a CPU pool's scheduler."""
    info = find_pool(pools(machine), key, operation.verb)
    pool = machine.pools[info.number]
    now = PoolScheduler(kind=pool.scheduler, **pool.parameters)
    pool.parameters.update(check_pool_scheduler(info, given, now, _BACKEND))
