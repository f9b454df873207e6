"""Memory, vCPUs and CPU affinity of a running domain."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

from pyxen._common.cpu_affinity import is_symbolic
from pyxen._common.cpupool_preconditions import check_in_pool, find_pool
from pyxen._common.preconditions import (
    check_affinity,
    check_cpus,
    check_maxmem,
    check_memory,
    check_pool,
    check_vcpus,
)
from pyxen._common.scripts import at_once
from pyxen.backends.xenlight.libxl.binding import c_text, ffi, lib
from pyxen.backends.xenlight.libxl.context import Context
from pyxen.backends.xenlight.libxl.error_map import BACKEND, describe, raise_failure
from pyxen.backends.xenlight.libxl.event_loop import Script
from pyxen.backends.xenlight.operations.configuration import retrieved
from pyxen.backends.xenlight.operations.cpu_bitmaps import bitmap
from pyxen.backends.xenlight.operations.cpupools import pools
from pyxen.backends.xenlight.operations.effects import availability, check_written, not_written, present
from pyxen.backends.xenlight.operations.memory import memory
from pyxen.backends.xenlight.topology import node_cpus
from pyxen.config import CpuSet, DomainConfig
from pyxen.errors import ConnectFailed, Error, InvalidArgument, NotFound, OperationFailed
from pyxen.operation import Operation
from pyxen.records.info import DomainInfo

__all__ = ["fitted", "pin_vcpu", "set_maxmem", "set_memory", "set_vcpus"]


def set_memory(context: Context, operation: Operation[None], domid: int, kib: int) -> Script[None]:
    """Set a guest's memory target and enforce it as the limit, as ``xl mem-set``."""
    check_memory(domid, kib)
    most = yield from _maxmem(context, operation, domid)
    free = ffi.new("uint64_t *")
    raise_failure(operation, lib.libxl_get_free_memory(context.pointer, free))
    info = present(context, operation, domid)  # after the free memory, or what it takes in between would be in neither
    check_memory(domid, kib, most_kib=most, has_kib=info.memory_kib, free_kib=free[0])
    with _limit_put_back(context, info, kib):
        raise_failure(operation, lib.libxl_set_memory_target(context.pointer, domid, kib, 0, 1))
        target = memory(context.hypervisor, info).target_kib
        if target != kib:
            raise not_written(operation, f"/local/domain/{domid}/memory/target", kib, target)


@contextlib.contextmanager
def _limit_put_back(context: Context, before: DomainInfo, kib: int) -> Iterator[None]:
    """If the block fails, put back Xen's limit on a domain's memory: libxl changes it before anything else.

    libxl sets a limit only together with a target. So both are set, and then the target that xenstore has.
    """
    try:
        yield
    except Error as error:
        limit, now = before.maxmem_kib, _limit(context, before.domid)
        if now is not None and now != limit:
            _set_limit(context, before, limit - (now - kib))  # libxl adds something to what it is told
            now = _limit(context, before.domid)
        if now is not None and now != limit:
            error.message += f"\n  Xen's limit on its memory stays at {now} KiB; it was {limit} KiB"
        raise


def _set_limit(context: Context, info: DomainInfo, kib: int) -> None:
    """Set Xen's limit on a domain's memory, and leave the target as it is."""
    with contextlib.suppress(ConnectFailed, OperationFailed):
        target = memory(context.hypervisor, info).target_kib
        if target is not None:
            lib.libxl_set_memory_target(context.pointer, info.domid, kib, 0, 1)
            if target != kib:
                lib.libxl_set_memory_target(context.pointer, info.domid, target, 0, 0)


def _limit(context: Context, domid: int) -> int | None:
    """Return Xen's limit on a domain's memory; None if it is not known."""
    try:
        info = context.hypervisor.glance_at(domid)
    except OperationFailed:
        return None
    return None if info is None else info.maxmem_kib


@at_once
def set_maxmem(context: Context, operation: Operation[None], domid: int, kib: int) -> None:
    """Set the maximum memory of a domain, as ``xl mem-max``."""
    target = ffi.new("uint64_t *")
    raise_failure(operation, lib.libxl_get_memory_target(context.pointer, domid, target))
    check_maxmem(domid, kib, target[0])
    with _limit_put_back(context, present(context, operation, domid), kib):
        code = lib.libxl_domain_setmaxmem(context.pointer, domid, kib)
        raise_failure(operation, code if code <= 0 else lib.ERROR_FAIL)  # libxl returns 1 for some failures


def set_vcpus(context: Context, operation: Operation[None], domid: int, vcpus: int) -> Script[None]:
    """Set how many vCPUs a guest uses, as ``xl vcpu-set``."""
    info = present(context, operation, domid)
    check_vcpus(domid, vcpus, info.maxvcpus)
    online = bitmap(context, operation, range(vcpus))
    code = yield from context.complete(lambda how: lib.libxl_set_vcpuonline(context.pointer, domid, online, how))
    raise_failure(operation, code)
    check_written(context, operation, availability(domid, info.maxvcpus, vcpus))


@at_once
def pin_vcpu(
    context: Context,
    operation: Operation[None],
    domid: int,
    vcpu: int | None,
    cpus: CpuSet | None,
    cpus_soft: CpuSet | None,
    *,
    force: bool,
) -> None:
    """Set the CPUs that a vCPU (None: all vCPUs) may run on, and those it prefers, as ``xl vcpu-pin``."""
    info = present(context, operation, domid)
    most = info.maxvcpus
    check_affinity(domid, vcpu, most, cpus, cpus_soft, force=force)
    nodes = node_cpus(context.hypervisor)
    sets = [None if given is None else check_cpus(domid, given, nodes) for given in (cpus, cpus_soft)]
    if sets[0] is not None:
        check_in_pool(domid, sets[0], find_pool(pools(context.hypervisor), info.poolid or 0, operation.verb))
    hard, soft = (ffi.NULL if resolved is None else bitmap(context, operation, resolved) for resolved in sets)
    pin = lib.libxl_set_vcpuaffinity_force if force else lib.libxl_set_vcpuaffinity
    for number in range(most) if vcpu is None else [vcpu]:
        raise_failure(operation, pin(context.pointer, domid, number, hard, soft))


def _maxmem(context: Context, operation: Operation[Any], domid: int) -> Script[int | None]:
    """Return a domain's maxmem in KiB; None if libxl has no configuration of the domain."""
    with contextlib.suppress(NotFound):
        config = yield from retrieved(context, operation, domid)
        return int(config.b_info.max_memkb)
    return None


def fitted(context: Context, operation: Operation[Any], config: DomainConfig) -> DomainConfig:
    """Return a configuration with ``all`` and ``nodes:N`` in CPU sets replaced by this host's CPUs, as xl does.

    Raises:
        InvalidArgument: There is no such CPU pool.
        UnsupportedFeature: The domain's CPU pool has another scheduler.
        ValidationError: A vCPU is pinned to CPUs of which the pool has none.
    """
    if is_symbolic(config):
        nodes = node_cpus(context.hypervisor)
        config = config.resolve_cpus(sorted(cpu for members in nodes.values() for cpu in members), nodes)
    if config.cpus is not None or config.scheduler.kind is not None or config.pool is not None or config.poolid:
        scheduler, cpus = _pool(context, operation, str(config.poolid) if config.pool is None else config.pool)
        check_pool(config, BACKEND, scheduler=scheduler, cpus=cpus)
    return config


def _pool(context: Context, operation: Operation[Any], name: str) -> tuple[str, list[int]]:
    """Return the scheduler and the CPUs of a CPU pool, by its name or number."""
    number = ffi.new("uint32_t *")
    unknown = lib.libxl_cpupool_qualifier_to_cpupoolid(context.pointer, c_text(name), number, ffi.NULL)
    if unknown or all(pool.number != number[0] for pool in pools(context.hypervisor)):
        raise describe(InvalidArgument, f"pool={name}: the host has no CPU pool of that name or number", operation)
    info = ffi.new("libxl_cpupoolinfo *")
    lib.libxl_cpupoolinfo_init(info)
    info = ffi.gc(info, lib.libxl_cpupoolinfo_dispose)
    raise_failure(operation, lib.libxl_cpupool_info(context.pointer, info, number[0]))
    cpus = [cpu for cpu in range(info.cpumap.size * 8) if lib.libxl_bitmap_test(ffi.addressof(info.cpumap), cpu)]
    return ffi.string(lib.libxl_scheduler_to_string(info.sched)).decode(), cpus
