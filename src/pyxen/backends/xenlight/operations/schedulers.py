"""Scheduler parameters of domains, vCPUs and CPU pools."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, Literal

from pyxen._common.cpupool_preconditions import (
    POOL_PARAMETERS,
    check_pool_scheduler,
    check_rtds,
    check_vcpu_scheduler,
    find_pool,
)
from pyxen._common.preconditions import SCHEDULER_PARAMETERS, check_scheduler, check_vcpu
from pyxen._common.scripts import at_once
from pyxen.backends.xenlight.hypervisor import Hypervisor, refused
from pyxen.backends.xenlight.libxl.binding import CData, ffi, lib
from pyxen.backends.xenlight.libxl.context import Context
from pyxen.backends.xenlight.libxl.error_map import BACKEND, describe, failure, raise_failure
from pyxen.backends.xenlight.operations.cpupools import pools
from pyxen.config import Scheduler, SchedulerKind
from pyxen.errors import Error, InvalidArgument, NotFound
from pyxen.operation import Operation
from pyxen.records.info import DomainInfo
from pyxen.records.scheduling import CpupoolInfo, CpupoolKey, PoolScheduler

__all__ = ["pool_scheduler", "scheduler", "set_pool_scheduler", "set_scheduler"]

_VERB: Final = "scheduler"


def scheduler(hypervisor: Hypervisor, info: DomainInfo, vcpu: int | None) -> Scheduler:
    """Return the scheduler parameters of a domain, or of one of its vCPUs."""
    kind = _kind(hypervisor, info, _VERB)
    if vcpu is None:
        return Scheduler(kind=kind, **_of_domain(hypervisor, info.domid, kind))
    check_vcpu(info.domid, vcpu, info.maxvcpus, _VERB)
    check_vcpu_scheduler(kind, BACKEND)
    return Scheduler(kind=kind, **_of_vcpus(hypervisor, info.domid, [vcpu])[0])


def _kind(hypervisor: Hypervisor, info: DomainInfo, verb: str) -> SchedulerKind:
    """Return the scheduler of a domain's CPU pool."""
    return find_pool(pools(hypervisor), info.poolid or 0, verb).scheduler


def _of_domain(hypervisor: Hypervisor, domid: int, kind: SchedulerKind) -> dict[str, int]:
    if kind not in SCHEDULER_PARAMETERS:
        return {}
    params = ffi.new(f"struct xen_domctl_sched_{kind} *")
    with hypervisor.handle() as xc:
        if getattr(lib, f"xc_sched_{kind}_domain_get")(xc, domid, params) != 0:
            raise refused(_VERB, f"Xen does not tell the scheduler parameters of domain {domid}")
    return _rtds(params) if kind is SchedulerKind.RTDS else {"weight": params.weight, "cap": params.cap}


def _of_vcpus(hypervisor: Hypervisor, domid: int, vcpus: Sequence[int]) -> list[dict[str, int]]:
    """Return the parameters of some vCPUs; only rtds has such."""
    params = ffi.new("struct xen_domctl_schedparam_vcpu[]", [{"vcpuid": vcpu} for vcpu in vcpus])
    with hypervisor.handle() as xc:
        if lib.xc_sched_rtds_vcpu_get(xc, domid, params, len(vcpus)) != 0:
            raise refused(_VERB, f"Xen does not tell the scheduler parameters of the vCPUs of domain {domid}")
    return [_rtds(params[place].u.rtds) for place in range(len(vcpus))]


def _rtds(params: CData) -> dict[str, int]:
    extratime = int(bool(params.flags & lib.XEN_DOMCTL_SCHEDRT_extra))
    return {"period": params.period, "budget": params.budget, "extratime": extratime}


@at_once
def set_scheduler(
    context: Context, operation: Operation[None], domid: int, given: Scheduler, vcpu: int | Literal["all"] | None
) -> None:
    """Set the scheduler parameters of a domain or of its vCPUs. Parameters that are not given stay unchanged."""
    info = context.hypervisor.domain(domid)
    if info is None:
        raise describe(NotFound, "the domain is gone", operation)
    kind = _kind(context.hypervisor, info, operation.verb)
    said = check_scheduler(given, kind, SCHEDULER_PARAMETERS.get(kind, ()), BACKEND)
    if vcpu is not None:
        _set_vcpus(context, operation, info, kind, said, vcpu)
    elif said:
        _set_domain(context, operation, domid, kind, said)


def _set_domain(
    context: Context, operation: Operation[None], domid: int, kind: SchedulerKind, said: Mapping[str, int]
) -> None:
    if kind is SchedulerKind.RTDS:
        check_rtds(domid, {**_of_domain(context.hypervisor, domid, kind), **said})
    params = ffi.new("libxl_domain_sched_params *")
    lib.libxl_domain_sched_params_init(params)
    raise_failure(operation, lib.libxl_domain_sched_params_get(context.pointer, domid, params))
    for name, value in said.items():
        setattr(params, name, value)
    code = lib.libxl_domain_sched_params_set(context.pointer, domid, params)
    if code != 0:
        raise _not_taken(operation, kind, said, code)


def _set_vcpus(
    context: Context,
    operation: Operation[None],
    info: DomainInfo,
    kind: SchedulerKind,
    said: Mapping[str, int],
    vcpu: int | Literal["all"],
) -> None:
    if vcpu != "all":
        check_vcpu(info.domid, vcpu, info.maxvcpus, operation.verb)
    check_vcpu_scheduler(kind, BACKEND)
    numbers = range(info.maxvcpus) if vcpu == "all" else [vcpu]
    wanted = [{**now, **said} for now in _of_vcpus(context.hypervisor, info.domid, numbers)]
    for params in wanted:
        check_rtds(info.domid, params)
    entries = ffi.new("libxl_sched_params[]", len(wanted))
    for place, (number, params) in enumerate(zip(numbers, wanted, strict=True)):
        lib.libxl_sched_params_init(entries + place)
        entries[place].vcpuid = number
        for name, value in params.items():
            setattr(entries[place], name, value)
    whole = ffi.new("libxl_vcpu_sched_params *")
    lib.libxl_vcpu_sched_params_init(whole)
    whole.sched, whole.num_vcpus, whole.vcpus = lib.LIBXL_SCHEDULER_RTDS, len(wanted), entries
    code = lib.libxl_vcpu_sched_params_set(context.pointer, info.domid, whole)
    if code != 0:
        raise _not_taken(operation, kind, said, code)


def _not_taken(operation: Operation[None], kind: str, said: Mapping[str, int], code: int) -> Error:
    if code != lib.ERROR_INVAL:
        return failure(operation, code)
    shown = ", ".join(f"{name}={value}" for name, value in said.items())
    return describe(InvalidArgument, f"{kind} does not take {shown}", operation, code)


def pool_scheduler(hypervisor: Hypervisor, key: CpupoolKey) -> PoolScheduler:
    """Return the parameters of a CPU pool's scheduler."""
    return _of_pool(hypervisor, find_pool(pools(hypervisor), key, _VERB))


def _of_pool(hypervisor: Hypervisor, pool: CpupoolInfo) -> PoolScheduler:
    kind = pool.scheduler
    names = POOL_PARAMETERS.get(kind, ())
    if not names:
        return PoolScheduler(kind=kind)
    params = ffi.new(f"struct xen_sysctl_{kind}_schedule *")
    with hypervisor.handle() as xc:
        if getattr(lib, f"xc_sched_{kind}_params_get")(xc, pool.number, params) != 0:
            raise refused(_VERB, f"Xen does not tell the scheduler parameters of the CPU pool {pool.number}")
    return PoolScheduler(kind=kind, **{name: getattr(params, name) for name in names})


@at_once
def set_pool_scheduler(context: Context, operation: Operation[None], key: CpupoolKey, given: PoolScheduler) -> None:
    """Set parameters of a CPU pool's scheduler, as ``xl sched-credit -s``."""
    pool = find_pool(pools(context.hypervisor), key, operation.verb)
    now = _of_pool(context.hypervisor, pool)
    said = check_pool_scheduler(pool, given, now, BACKEND)
    if not said:
        return
    kind = pool.scheduler
    params = ffi.new(f"libxl_sched_{kind}_params *")
    for name in POOL_PARAMETERS[kind]:
        setattr(params, name, said.get(name, getattr(now, name)))
    set_params = (
        lib.libxl_sched_credit_params_set if kind is SchedulerKind.CREDIT else lib.libxl_sched_credit2_params_set
    )
    raise_failure(operation, set_params(context.pointer, pool.number, params))
