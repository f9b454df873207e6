"""How much of the host a running domain has: memory, vCPUs, CPUs, and its share of them."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from typing import Any, Final

from pyxen._common.cpu_affinity import on_host
from pyxen.backends.xenlight.libxl.binding import CData, ffi, lib
from pyxen.backends.xenlight.libxl.context import Context
from pyxen.backends.xenlight.libxl.error_map import BACKEND, describe, failure, raise_failure
from pyxen.backends.xenlight.libxl.event_loop import Script
from pyxen.backends.xenlight.operations.configuration import retrieved
from pyxen.config import CpuSet, Scheduler
from pyxen.errors import InvalidArgument, NotEnoughMemory, OperationFailed, UnsupportedFeature
from pyxen.operation import Operation
from pyxen.units import kib_to_mib

__all__ = ["pin_vcpu", "set_maxmem", "set_memory", "set_scheduler", "set_vcpus"]

_OFFLINE: Final = 0xFFFFFFFF  # LIBXL_CPUTOPOLOGY_INVALID_ENTRY; a macro with a cast that cffi cannot read

_PARAMETERS: Final[dict[str, set[str]]] = {
    "credit": {"weight", "cap"},
    "credit2": {"weight", "cap"},
    "rtds": {"period", "budget", "extratime"},
}
"""What each scheduler can be told of a domain; the others know nothing of it."""


def set_memory(context: Context, operation: Operation[None], domid: int, kib: int) -> Script[None]:
    """Tell a guest how much memory to have, and let it have no more, as ``xl mem-set``."""
    if kib == 0:
        raise describe(InvalidArgument, "a domain cannot be without memory", operation)
    info = context.hypervisor.domain(domid)
    free = ffi.new("uint64_t *")
    raise_failure(operation, lib.libxl_get_free_memory(context.pointer, free))
    most = yield from _maxmem(context, operation, domid)
    if most is not None and kib > most:
        message = f"{_mib(kib)} is more than the domain's maxmem of {_mib(most)}: raise that first, with set_maxmem"
        raise describe(InvalidArgument, message, operation, lib.ERROR_INVAL)
    if info is not None and kib - info.memory_kib > free[0]:
        message = f"needs {_mib(kib - info.memory_kib)} more, and the host has {_mib(free[0])} free: ask for less"
        raise describe(NotEnoughMemory, message, operation, lib.ERROR_NOMEM)
    raise_failure(operation, lib.libxl_set_memory_target(context.pointer, domid, kib, 0, 1))


def set_maxmem(context: Context, operation: Operation[None], domid: int, kib: int) -> Script[None]:
    """Set how much memory a domain can be given, as ``xl mem-max``."""
    yield from ()
    target = ffi.new("uint64_t *")
    raise_failure(operation, lib.libxl_get_memory_target(context.pointer, domid, target))
    if kib < target[0]:
        message = f"{_mib(kib)} is less than the domain has, {_mib(target[0])}: lower that first, with set_memory"
        raise describe(InvalidArgument, message, operation, lib.ERROR_INVAL)
    code = lib.libxl_domain_setmaxmem(context.pointer, domid, kib)
    raise_failure(operation, code if code <= 0 else lib.ERROR_FAIL)  # a plain 1 for some failures


def set_vcpus(context: Context, operation: Operation[None], domid: int, vcpus: int) -> Script[None]:
    """Tell a guest how many vCPUs to use, as ``xl vcpu-set``."""
    info = context.hypervisor.domain(domid)
    if vcpus < 1 or (info is not None and vcpus > info.maxvcpus):
        most = "" if info is None else f" to {info.maxvcpus}, its maxvcpus, which it was made with"
        raise describe(InvalidArgument, f"{vcpus} vCPUs are out of range; it can have 1{most}", operation)
    online = _bitmap(context, operation, range(vcpus))
    code = yield from context.complete(lambda how: lib.libxl_set_vcpuonline(context.pointer, domid, online, how))
    raise_failure(operation, code)


def pin_vcpu(
    context: Context,
    operation: Operation[None],
    domid: int,
    vcpu: int | None,
    cpus: CpuSet | None,
    cpus_soft: CpuSet | None,
) -> Script[None]:
    """Say on which CPUs a vCPU may run, and on which it had better, as ``xl vcpu-pin``; None is all vCPUs."""
    yield from ()
    info = context.hypervisor.domain(domid)
    most = info.maxvcpus if info is not None else 0
    if vcpu is not None and not 0 <= vcpu < most:
        raise describe(InvalidArgument, f"there is no vCPU {vcpu}; the domain has 0 to {most - 1}", operation)
    if cpus is None and cpus_soft is None:
        raise describe(InvalidArgument, "say cpus, cpus_soft or both", operation)
    hard, soft = (ffi.NULL if given is None else _cpumap(context, operation, given) for given in (cpus, cpus_soft))
    for number in range(most) if vcpu is None else [vcpu]:
        raise_failure(operation, lib.libxl_set_vcpuaffinity(context.pointer, domid, number, hard, soft))


def set_scheduler(context: Context, operation: Operation[None], domid: int, scheduler: Scheduler) -> Script[None]:
    """Set what the hypervisor's scheduler knows of a domain, as ``xl sched-credit2``; what is not said stays."""
    yield from ()
    params = ffi.new("libxl_domain_sched_params *")
    lib.libxl_domain_sched_params_init(params)
    raise_failure(operation, lib.libxl_domain_sched_params_get(context.pointer, domid, params))
    kind = ffi.string(lib.libxl_scheduler_to_string(params.sched)).decode()
    if scheduler.kind is not None and scheduler.kind != kind:
        raise _not_its_scheduler(f"the domain's CPU pool has the scheduler {kind}, not {scheduler.kind}")
    said = {name: value for name, value in scheduler.said() if name != "kind"}
    foreign = sorted(said.keys() - _PARAMETERS.get(kind, set()))
    if foreign:
        raise _not_its_scheduler(f"the domain's scheduler, {kind}, knows nothing of {', '.join(foreign)}")
    for name, value in said.items():
        setattr(params, name, value)
    code = lib.libxl_domain_sched_params_set(context.pointer, domid, params)
    if code == lib.ERROR_INVAL:
        shown = ", ".join(f"{name}={value}" for name, value in said.items())
        raise describe(InvalidArgument, f"{kind} does not take {shown}", operation, code)
    raise_failure(operation, code)


def _not_its_scheduler(message: str) -> UnsupportedFeature:
    return UnsupportedFeature(message, feature="scheduler", backend=BACKEND)


def _maxmem(context: Context, operation: Operation[Any], domid: int) -> Script[int | None]:
    """Return how much memory a domain can be given, in KiB; None for one of which libxl has no configuration."""
    with contextlib.suppress(OperationFailed):
        config = yield from retrieved(context, operation, domid)
        return int(config.b_info.max_memkb)
    return None


def _cpumap(context: Context, operation: Operation[Any], cpus: CpuSet) -> CData:
    """Return a set of the host's CPUs as libxl's bitmap."""
    nodes = _nodes(context, operation)
    try:
        resolved = on_host(cpus, nodes)
    except ValueError as error:
        raise describe(InvalidArgument, str(error), operation) from None
    return _bitmap(context, operation, resolved)


def _nodes(context: Context, operation: Operation[Any]) -> dict[int, list[int]]:
    """Return the CPUs of each NUMA node."""
    count = ffi.new("int *")
    topology = lib.libxl_get_cpu_topology(context.pointer, count)
    if topology == ffi.NULL:
        raise failure(operation, lib.ERROR_FAIL)
    nodes: dict[int, list[int]] = {}
    for cpu in range(count[0]):
        if topology[cpu].core != _OFFLINE:
            nodes.setdefault(topology[cpu].node, []).append(cpu)
    lib.libxl_cputopology_list_free(topology, count[0])
    return nodes


def _bitmap(context: Context, operation: Operation[Any], members: Iterable[int]) -> CData:
    """Return a ``libxl_bitmap *``; it disposes of itself."""
    numbers = list(members)
    bitmap = ffi.new("libxl_bitmap *")
    lib.libxl_bitmap_init(bitmap)
    bitmap = ffi.gc(bitmap, lib.libxl_bitmap_dispose)
    raise_failure(operation, lib.libxl_cpu_bitmap_alloc(context.pointer, bitmap, max(numbers) + 1))
    for number in numbers:
        lib.libxl_bitmap_set(bitmap, number)
    return bitmap


def _mib(kib: int) -> str:
    return f"{kib_to_mib(kib):g} MiB"
