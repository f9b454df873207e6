"""Preconditions of the verbs of CPU pools and schedulers and their error messages, shared by all backends."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from pyxen._printable import quoted, shown_number
from pyxen.config import CpuSet, SchedulerKind
from pyxen.errors import CpupoolExists, InvalidArgument, InvalidState, NotFound, UnsupportedFeature
from pyxen.records.scheduling import CpupoolInfo, CpupoolKey, CpupoolRef, PoolScheduler

__all__ = [
    "FIRST_POOL",
    "POOL_PARAMETERS",
    "check_destroyable",
    "check_in_pool",
    "check_new_name",
    "check_one_pool",
    "check_pool_scheduler",
    "check_room",
    "check_rtds",
    "check_scheduler_kind",
    "check_vcpu_scheduler",
    "cpus_to_add",
    "cpus_to_remove",
    "find_pool",
    "holder",
    "ref_of",
]

FIRST_POOL: Final = 0
"""The number of the pool that dom0 is in, and that always exists."""

POOL_PARAMETERS: Final[dict[str, tuple[str, ...]]] = {
    "credit": ("tslice_ms", "ratelimit_us", "vcpu_migr_delay_us"),
    "credit2": ("ratelimit_us",),
}
"""The parameters that each scheduler has for a CPU pool. Schedulers that are not listed have no parameters."""

_OF_VCPUS: Final = frozenset({"rtds"})
"""The schedulers that have parameters for each vCPU."""

_LEAST_RTDS_US: Final = 10
"""The shortest period and budget that Xen's rtds takes, in microseconds."""

_RANGES: Final = {"tslice_ms": (1, 1000), "ratelimit_us": (100, 500_000), "vcpu_migr_delay_us": (0, 100_000)}
"""Least and greatest values; `ratelimit_us` may also be 0."""

_US_PER_MS: Final = 1000


def find_pool(pools: Iterable[CpupoolInfo], key: CpupoolKey, verb: str) -> CpupoolInfo:
    """Return a CPU pool.

    Raises:
        NotFound: There is no such pool, or a pool found earlier is gone.
    """
    pools = list(pools)
    if isinstance(key, CpupoolRef):
        found = next((pool for pool in pools if (pool.number, pool.uuid) == (key.number, key.uuid)), None)
        if found is None:
            raise NotFound(f"the CPU pool {key.number} is gone: it was destroyed", operation=verb, domain=key.number)
        return found
    found = next((pool for pool in pools if key == (pool.name if isinstance(key, str) else pool.number)), None)
    if found is None:
        names = ", ".join(f"{quoted(pool.name or '')} ({pool.number})" for pool in pools)
        what = f"name {quoted(key)}" if isinstance(key, str) else f"number {shown_number(key)}"
        raise NotFound(f"no CPU pool has the {what}; the host has {names}", operation=verb, domain=key)
    return found


def ref_of(pool: CpupoolInfo) -> CpupoolRef:
    """Return what identifies a CPU pool."""
    return CpupoolRef(pool.number, pool.uuid)


def check_new_name(name: str, pools: Iterable[CpupoolInfo], verb: str, renamed: CpupoolInfo | None = None) -> None:
    """Check the name that a CPU pool is to get; libxl would accept any, even one that is taken.

    Raises:
        InvalidArgument: The name is not valid.
        CpupoolExists: Another pool has it.
    """
    problem = None
    if not name:
        problem = "a CPU pool needs a name"
    elif name.isdecimal():
        problem = f"{quoted(name)} would be taken for the number of a CPU pool: use a letter too"
    elif re.search(r"[\x00-\x1f\x7f]", name) or not _is_utf8(name):
        problem = f"{quoted(name)} is not a valid name: use no control characters, and only what UTF-8 has"
    if problem is not None:
        raise InvalidArgument(problem, operation=verb)
    other = next((pool for pool in pools if pool.name == name), None)
    if other is not None and (renamed is None or other.number != renamed.number):
        message = f"the CPU pool {other.number} already has the name {quoted(name)}: choose another name"
        raise CpupoolExists(message, operation=verb, domain=name)


def _is_utf8(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def check_destroyable(pool: CpupoolInfo, verb: str) -> None:
    """Check that a CPU pool can be destroyed.

    Raises:
        InvalidState: It has domains, or it is the first pool.
    """
    if pool.number == FIRST_POOL:
        message = "this pool has dom0 and cannot be destroyed: remove CPUs from it instead, with remove_cpus"
        raise _refusal(pool, message, verb)
    if pool.domains:
        shown = ", ".join(map(str, pool.domains))
        message = f"the pool has domains ({shown}): move them first, with Domain.set_cpupool, or destroy them"
        raise _refusal(pool, message, verb)


def check_room(pool: CpupoolInfo, domid: int, verb: str = "set_cpupool") -> None:
    """Check that a domain can be moved to a CPU pool.

    Raises:
        InvalidState: The pool has no CPUs, or the domain is dom0, which cannot leave the first pool.
    """
    if domid == 0 and pool.number != FIRST_POOL:
        message = "domain 0 is dom0, which always stays in the CPU pool 0: move guests instead"
        raise InvalidState(message, operation=verb, domain=domid, domid=domid)
    if not pool.cpus:
        message = f"the CPU pool {_name(pool)} has no CPUs: give it some first, with add_cpus"
        raise InvalidState(message, operation=verb, domain=domid, domid=domid)


def check_in_pool(domid: int, cpus: CpuSet, pool: CpupoolInfo, verb: str = "pin_vcpu") -> None:
    """Check that a vCPU can be pinned to CPUs.

    Raises:
        InvalidArgument: The domain's CPU pool has none of them.
    """
    if not set(cpus).intersection(pool.cpus):
        message = f"{cpus}: the domain's CPU pool, {_name(pool)}, has none of them; it has {pool.cpus}"
        raise InvalidArgument(message, operation=verb, domain=domid, domid=domid)


def check_one_pool(pools: Sequence[CpupoolInfo], verb: str) -> None:
    """Check that no CPU pools were made yet.

    Raises:
        InvalidState: There are several.
    """
    if len(pools) > 1:
        names = ", ".join(_name(pool) for pool in pools if pool.number != FIRST_POOL)
        message = f"the host is already divided into CPU pools: destroy {names} first"
        raise InvalidState(message, operation=verb)


def cpus_to_add(
    pool: CpupoolInfo | None, cpus: CpuSet, pools: Sequence[CpupoolInfo], nodes: Mapping[int, Sequence[int]], verb: str
) -> list[int]:
    """Return the CPUs that a CPU pool lacks of those that it is to get; of a set such as ``node:1``, the free ones.

    Args:
        pool: The pool; None for one that is to be created.
        cpus: The CPUs that it is to get.
        pools: All pools.
        nodes: The online CPUs of each NUMA node of the host.
        verb: The verb, for errors.

    Raises:
        InvalidArgument: The host lacks one of the CPUs, or the set is empty.
        InvalidState: Another pool has one of the CPUs.
    """
    wanted = _on_host(cpus, nodes, verb)
    has = () if pool is None else pool.cpus
    new = [cpu for cpu in wanted if cpu not in has]
    free = [cpu for cpu in new if holder(cpu, pools) is None]
    if len(free) < len(new) and not (cpus.is_symbolic and (free or len(new) < len(wanted))):
        taken = next(cpu for cpu in new if cpu not in free)
        owner = next(other for other in pools if taken in other.cpus)
        message = f"CPU {taken} belongs to the CPU pool {_name(owner)}: remove it from that first, with remove_cpus"
        raise InvalidState(message, operation=verb, domain=None if pool is None else pool.name)
    return free


def holder(cpu: int, pools: Iterable[CpupoolInfo]) -> CpupoolInfo | None:
    """Return the CPU pool that has a CPU; None if the CPU is free."""
    return next((pool for pool in pools if cpu in pool.cpus), None)


def cpus_to_remove(pool: CpupoolInfo, cpus: CpuSet, nodes: Mapping[int, Sequence[int]], verb: str) -> list[int]:
    """Return the CPUs to remove from a CPU pool; of a set such as ``node:1``, those that the pool has.

    Raises:
        InvalidArgument: The pool or the host lacks one of the CPUs, or the set is empty.
        InvalidState: The pool has domains, and no CPU would be left for them; or it is CPU 0, which cannot be
            removed from the first pool.
    """
    wanted = list(_on_host(cpus, nodes, verb))
    if cpus.is_symbolic:
        wanted = [cpu for cpu in wanted if cpu in pool.cpus]
    foreign = [cpu for cpu in wanted if cpu not in pool.cpus]
    if foreign:
        has = f"; it has {pool.cpus}" if pool.cpus else ", and no other CPU either"
        message = f"the pool has no CPU {', '.join(map(str, foreign))}{has}"
        raise InvalidArgument(message, operation=verb, domain=pool.name)
    if pool.number == FIRST_POOL and 0 in wanted:
        raise _refusal(pool, "Xen needs CPU 0 in this pool: leave it there", verb)
    if wanted and pool.domains and set(wanted) == set(pool.cpus):
        shown = ", ".join(map(str, pool.domains))
        raise _refusal(pool, f"the pool has domains ({shown}), which need at least one CPU: leave it one", verb)
    return wanted


def _on_host(cpus: CpuSet, nodes: Mapping[int, Sequence[int]], verb: str) -> CpuSet:
    online = sorted(cpu for members in nodes.values() for cpu in members)
    try:
        resolved = cpus.resolve(online, nodes)
    except ValueError as error:
        raise InvalidArgument(f"{error}; it has {', '.join(map(str, sorted(nodes)))}", operation=verb) from None
    absent = [cpu for cpu in resolved if cpu not in online]
    if absent or not resolved.cpus:
        what = f"the host has no CPU {', '.join(map(str, absent))}" if absent else "name at least one CPU"
        raise InvalidArgument(f"{what}; the host has {CpuSet(online)}", operation=verb)
    return resolved


def check_scheduler_kind(kind: SchedulerKind | None, backend: str) -> None:
    """Check that a scheduler exists in today's Xen.

    Raises:
        UnsupportedFeature: It was removed.
    """
    if kind is SchedulerKind.SEDF:
        raise UnsupportedFeature("Xen has no scheduler sedf any more: use rtds", feature="scheduler", backend=backend)


def check_vcpu_scheduler(kind: str, backend: str) -> None:
    """Check that a scheduler has parameters for each vCPU.

    Raises:
        UnsupportedFeature: It has not.
    """
    if kind not in _OF_VCPUS:
        message = f"vcpu: the domain's scheduler, {kind}, has no parameters for vCPUs: leave it out"
        raise UnsupportedFeature(message, feature="vcpu_scheduler", backend=backend)


def check_rtds(domid: int, params: Mapping[str, int], verb: str = "set_scheduler") -> None:
    """Check the parameters of rtds, for a domain or a vCPU; the ones that are given and the ones that stay.

    Raises:
        InvalidArgument: A value is out of range.
    """
    period, budget, extratime = params["period"], params["budget"], params["extratime"]
    problem = None
    if period < _LEAST_RTDS_US or budget < _LEAST_RTDS_US:
        name, value = ("period", period) if period < _LEAST_RTDS_US else ("budget", budget)
        problem = f"{name}={value} is too short: use {_LEAST_RTDS_US} µs or more"
    elif budget > period:
        problem = f"budget={budget} is longer than period={period}: change one of them"
    elif extratime not in {0, 1}:
        problem = f"extratime={extratime} is out of range: use 0 or 1"
    if problem is not None:
        raise InvalidArgument(problem, operation=verb, domain=domid, domid=domid)


def check_pool_scheduler(pool: CpupoolInfo, given: PoolScheduler, now: PoolScheduler, backend: str) -> dict[str, Any]:
    """Return the parameters to set for the scheduler of a CPU pool.

    Args:
        pool: The pool.
        given: The caller's parameters.
        now: The parameters that it has now.
        backend: The backend's name, for errors.

    Raises:
        UnsupportedFeature: The pool has another scheduler, or its scheduler lacks a parameter.
        InvalidArgument: A value is out of range.
    """
    kind, verb = pool.scheduler, "set_scheduler"
    if given.kind is not None and given.kind != kind:
        message = f"the CPU pool has the scheduler {kind}, not {given.kind}, and keeps it: create another pool"
        raise UnsupportedFeature(message, feature="scheduler", backend=backend)
    said: dict[str, Any] = {name: value for name in _RANGES if (value := getattr(given, name)) is not None}
    knows = POOL_PARAMETERS.get(kind, ())
    foreign = [name for name in said if name not in knows]
    if foreign:
        message = f"the scheduler of the CPU pool, {kind}, has no parameter {', '.join(foreign)}"
        raise UnsupportedFeature(message, feature="scheduler", backend=backend)
    for name, value in said.items():
        least, most = _RANGES[name]
        if isinstance(value, bool) or not isinstance(value, int):
            raise InvalidArgument(f"{name} takes a whole number, not {quoted(value)}", operation=verb, domain=pool.name)
        off = name == "ratelimit_us" and value == 0
        if not off and not least <= value <= most:
            also = ", or 0 for no limit" if name == "ratelimit_us" else ""
            message = f"{name}={value} is out of range: use {least} to {most}{also}"
            raise InvalidArgument(message, operation=verb, domain=pool.name)
    _check_tslice(pool, said, now, verb)
    return said


def _check_tslice(pool: CpupoolInfo, said: Mapping[str, int], now: PoolScheduler, verb: str) -> None:
    tslice = said.get("tslice_ms", now.tslice_ms)
    ratelimit = said.get("ratelimit_us", now.ratelimit_us)
    if tslice is not None and ratelimit is not None and ratelimit > tslice * _US_PER_MS:
        message = f"ratelimit_us={ratelimit} is longer than tslice_ms={tslice}: change one of them"
        raise InvalidArgument(message, operation=verb, domain=pool.name)


def _name(pool: CpupoolInfo) -> str:
    return str(pool.number) if pool.name is None else f"{pool.number} ({quoted(pool.name)})"


def _refusal(pool: CpupoolInfo, message: str, verb: str) -> InvalidState:
    return InvalidState(message, operation=verb, domain=pool.name)
