"""CPU pools of the host."""

from __future__ import annotations

import errno
import time
from collections.abc import Collection, Iterable
from typing import Any, Final
from uuid import UUID, uuid4

from pyxen._common.cpupool_preconditions import (
    FIRST_POOL,
    check_destroyable,
    check_new_name,
    check_one_pool,
    check_room,
    check_scheduler_kind,
    cpus_to_add,
    cpus_to_remove,
    find_pool,
    holder,
)
from pyxen._common.scripts import at_once
from pyxen.backends.xenlight.hypervisor import Hypervisor, refused
from pyxen.backends.xenlight.libxl.binding import c_text, ffi, lib
from pyxen.backends.xenlight.libxl.context import Context
from pyxen.backends.xenlight.libxl.error_map import BACKEND, describe, failure, raise_failure
from pyxen.backends.xenlight.libxl.event_loop import Script, Wait
from pyxen.backends.xenlight.operations.cpu_bitmaps import bitmap, cpus_of
from pyxen.backends.xenlight.operations.effects import availability, check_written
from pyxen.backends.xenlight.operations.effects import present as domain_info
from pyxen.backends.xenlight.topology import node_cpus
from pyxen.config import CpuSet, SchedulerKind
from pyxen.errors import ConnectFailed, Error, GuestTimeout, OperationFailed, UnsupportedFeature, XenstoreError
from pyxen.operation import Operation
from pyxen.records.scheduling import CpupoolInfo, CpupoolKey, CpupoolRef

__all__ = ["add_cpus", "create", "destroy", "pools", "remove_cpus", "rename", "set_cpupool", "split"]

_KINDS: Final = {
    getattr(lib, f"LIBXL_SCHEDULER_{kind.name}"): kind for kind in SchedulerKind if kind is not SchedulerKind.SEDF
}
"""The schedulers by their numbers, which are the same in Xen and in libxl."""

TO_GO_OFFLINE: Final = 10.0
"""Seconds that dom0 has to take vCPUs offline, as for xl."""

_LOOK_AGAIN: Final = 0.1  # seconds between looks whether it has

_ANY: Final = 0xFFFFFFFF
"""LIBXL_CPUPOOL_POOLID_ANY, a macro that the preprocessor has eaten."""


def pools(hypervisor: Hypervisor) -> list[CpupoolInfo]:
    """Return the CPU pools, sorted by number."""
    infos = hypervisor.glance()
    found = _found(hypervisor)
    nodes = [f"{_path(number)}/{node}" for number, _, _ in found for node in ("name", "uuid")]
    texts = iter(hypervisor.read_all(nodes))
    return [
        CpupoolInfo(
            number=number,
            name=next(texts),
            uuid=_uuid(next(texts)),
            scheduler=kind,
            cpus=cpus,
            domains=tuple(info.domid for info in infos if info.poolid == number),
        )
        for number, kind, cpus in found
    ]


def _found(hypervisor: Hypervisor) -> list[tuple[int, SchedulerKind, CpuSet]]:
    """Return number, scheduler and CPUs of each pool, as Xen tells them."""
    found: list[tuple[int, SchedulerKind, CpuSet]] = []
    with hypervisor.handle() as xc:
        size = lib.xc_get_cpumap_size(xc)
        while (pool := lib.xc_cpupool_getinfo(xc, found[-1][0] + 1 if found else 0)) != ffi.NULL:
            kind = _KINDS.get(pool.sched_id)
            number, cpus = pool.cpupool_id, cpus_of(pool.cpumap, size, size * 8)
            lib.xc_cpupool_infofree(xc, pool)
            if kind is None:
                raise OperationFailed(f"the CPU pool {number} has a scheduler that pyxen does not know: update pyxen")
            found.append((number, kind, cpus))
        if ffi.errno != errno.ENOENT:
            raise refused("cpupools", "Xen does not list its CPU pools")
    return found


def _uuid(text: str | None) -> UUID | None:
    try:
        return None if text is None else UUID(text)
    except ValueError:
        return None


@at_once
def create(
    context: Context, operation: Operation[Any], name: str, cpus: CpuSet, kind: SchedulerKind | None
) -> CpupoolRef:
    """Create a CPU pool, as ``xl cpupool-create``. A create that fails leaves nothing behind."""
    verb = operation.verb
    check_scheduler_kind(kind, BACKEND)
    present = pools(context.hypervisor)
    check_new_name(name, present, verb)
    wanted = cpus_to_add(None, cpus, present, node_cpus(context.hypervisor), verb) if cpus else []
    return _create(context, operation, name, wanted, kind, present)


def _create(
    context: Context,
    operation: Operation[Any],
    name: str,
    cpus: Iterable[int],
    kind: SchedulerKind | None,
    present: Iterable[CpupoolInfo],
) -> CpupoolRef:
    number: int = lib.libxl_get_scheduler(context.pointer)
    if kind is not None:
        number = next(number for number, known in _KINDS.items() if known is kind)
    elif number < 0:
        raise failure(operation, number)
    uuid = uuid4()
    poolid = ffi.new("uint32_t *", _ANY)
    identity = ffi.new("libxl_uuid *")
    ffi.memmove(identity, uuid.bytes, 16)
    members = bitmap(context, operation, cpus)  # must live as long as the call, which takes the structure itself
    code = lib.libxl_cpupool_create(context.pointer, c_text(name), number, members[0], identity, poolid)
    if code != 0:
        error = _why_not_created(operation, kind, present, code)
        if poolid[0] != _ANY:
            error.message += _take_back(context, poolid[0])
        raise error
    path = _path(poolid[0])
    try:
        check_written(context, operation, {f"{path}/name": name, f"{path}/uuid": str(uuid)})
    except Error as error:
        error.message += _take_back(context, poolid[0])
        raise
    return CpupoolRef(poolid[0], uuid)


def _path(number: int) -> str:
    """Return libxl's folder in xenstore for a pool."""
    return f"/local/pool/{number}"


def _take_back(context: Context, number: int) -> str:
    """Destroy a pool that a failed create has left, and return what is left all the same, for the message.

    libxl leaves a pool in Xen if it could not write it to xenstore.
    """
    path = _path(number)
    try:
        if _is_in_xen(context, number):
            lib.libxl_cpupool_destroy(context.pointer, number)
        if _is_in_xen(context, number):
            return f"; the CPU pool {number} is left: destroy it"
    except OperationFailed as error:
        return f"; the CPU pool {number} may be left: {error}"
    try:
        context.hypervisor.remove(path)
        is_left = bool(context.hypervisor.directory(path))
    except (ConnectFailed, XenstoreError):
        is_left = True
    return f"; the CPU pool {number} is gone again, but maybe not {path} in xenstore: remove it" if is_left else ""


def _is_in_xen(context: Context, number: int) -> bool:
    return any(found == number for found, _, _ in _found(context.hypervisor))


def _why_not_created(
    operation: Operation[Any], kind: SchedulerKind | None, present: Iterable[CpupoolInfo], code: int
) -> Error:
    """Return the exception for a create that failed. libxl does not return Xen's reason, so look for the cause."""
    refused = any("Could not create cpupool" in line for line in operation.log)
    if refused and kind is not None and all(pool.scheduler is not kind for pool in present):
        message = f"Xen makes no CPU pool with the scheduler {kind}: most likely it was built without it; use credit2"
        return UnsupportedFeature(message, feature="scheduler", backend=BACKEND)
    return failure(operation, code)


@at_once
def destroy(context: Context, operation: Operation[Any], key: CpupoolKey) -> None:
    """Destroy a CPU pool, as ``xl cpupool-destroy``."""
    pool = find_pool(pools(context.hypervisor), key, operation.verb)
    check_destroyable(pool, operation.verb)
    raise_failure(operation, lib.libxl_cpupool_destroy(context.pointer, pool.number))
    _forget(context, operation, pool.number)


def _forget(context: Context, operation: Operation[Any], number: int) -> None:
    """Check that xenstore has nothing of a destroyed pool: the next pool with its number would get its name."""
    path = _path(number)
    if context.hypervisor.directory(path):  # libxl does not look whether xenstored has removed it
        context.hypervisor.remove(path)
        fate = f". The pool is destroyed: remove {path}"
        check_written(context, operation, {f"{path}/name": None, f"{path}/uuid": None}, fate)


@at_once
def rename(context: Context, operation: Operation[Any], key: CpupoolKey, name: str) -> None:
    """Rename a CPU pool, as ``xl cpupool-rename``."""
    present = pools(context.hypervisor)
    pool = find_pool(present, key, operation.verb)
    check_new_name(name, present, operation.verb, pool)
    _rename(context, operation, pool.number, name)


def _rename(context: Context, operation: Operation[Any], number: int, name: str) -> None:
    raise_failure(operation, lib.libxl_cpupool_rename(context.pointer, c_text(name), number))
    check_written(context, operation, {f"{_path(number)}/name": name})


@at_once
def add_cpus(context: Context, operation: Operation[Any], key: CpupoolKey, cpus: CpuSet) -> None:
    """Add free CPUs to a CPU pool, as ``xl cpupool-cpu-add``: all of them, or none."""
    present = pools(context.hypervisor)
    pool = find_pool(present, key, operation.verb)
    _add(context, operation, pool, cpus_to_add(pool, cpus, present, node_cpus(context.hypervisor), operation.verb))


def _add(context: Context, operation: Operation[Any], pool: CpupoolInfo, cpus: Iterable[int]) -> None:
    added: list[int] = []
    for cpu in cpus:
        code = lib.libxl_cpupool_cpuadd(context.pointer, pool.number, cpu)
        if code != 0:
            error = failure(operation, code)
            for other in added:
                lib.libxl_cpupool_cpuremove(context.pointer, pool.number, other)
            raise error
        added.append(cpu)


@at_once
def remove_cpus(context: Context, operation: Operation[Any], key: CpupoolKey, cpus: CpuSet) -> None:
    """Remove CPUs from a CPU pool, as ``xl cpupool-cpu-remove``: all of them, or none."""
    pool = find_pool(pools(context.hypervisor), key, operation.verb)
    _remove(context, operation, pool, cpus_to_remove(pool, cpus, node_cpus(context.hypervisor), operation.verb))


def _remove(context: Context, operation: Operation[Any], pool: CpupoolInfo, cpus: Iterable[int]) -> None:
    removed: list[int] = []
    for cpu in cpus:
        code = lib.libxl_cpupool_cpuremove(context.pointer, pool.number, cpu)
        if code != 0:
            error = failure(operation, code)
            # Xen may have begun: a CPU that is in no pool any more would be lost to others until it is added again.
            for other in [*removed, cpu]:
                if holder(other, pools(context.hypervisor)) is None:
                    lib.libxl_cpupool_cpuadd(context.pointer, pool.number, other)
            raise error
        removed.append(cpu)


@at_once
def set_cpupool(context: Context, operation: Operation[Any], domid: int, key: CpupoolKey) -> None:
    """Move a domain to another CPU pool, as ``xl cpupool-migrate``."""
    pool = find_pool(pools(context.hypervisor), key, operation.verb)
    check_room(pool, domid)
    if domid in pool.domains:
        return
    raise_failure(operation, lib.libxl_cpupool_movedomain(context.pointer, pool.number, domid))


def split(context: Context, operation: Operation[Any]) -> Script[None]:
    """Make a CPU pool of each NUMA node, as ``xl cpupool-numa-split``. A split that fails is undone."""
    present = pools(context.hypervisor)
    check_one_pool(present, operation.verb)
    first = find_pool(present, FIRST_POOL, operation.verb)
    dom0 = domain_info(context, operation, 0)
    nodes = [*availability(0, dom0.maxvcpus, 0)]
    online = [vcpu for vcpu, text in enumerate(context.hypervisor.read_all(nodes)) if text != "offline"]
    made: list[int] = []
    try:
        yield from _divide(context, operation, first, dom0.maxvcpus, made)
    except Exception as error:  # also `Stopped`
        try:
            yield from _undivide(context, operation, first, online, made)
        except Error as more:
            if isinstance(error, Error):
                error.message += f"; it is not undone: {more}"
        raise


def _divide(
    context: Context, operation: Operation[Any], first: CpupoolInfo, maxvcpus: int, made: list[int]
) -> Script[None]:
    # dom0's pool becomes that of the node with the first CPU.
    (own, cpus), *others = sorted(node_cpus(context.hypervisor).items(), key=lambda node: min(node[1]))
    _add(context, operation, first, [cpu for cpu in cpus if cpu not in first.cpus])
    _rename(context, operation, FIRST_POOL, f"Pool-node{own}")
    wanted = min(len(cpus), maxvcpus)
    code = yield from _set_online(context, operation, range(wanted))
    raise_failure(operation, code)
    check_written(context, operation, availability(0, maxvcpus, wanted))
    late = time.monotonic() + TO_GO_OFFLINE
    while _online(context, operation) > wanted:
        if time.monotonic() > late:
            message = f"dom0 does not take its vCPUs from {wanted} on offline: do it there, or boot it with so many"
            raise describe(GuestTimeout, message, operation)
        yield Wait(context.token(), until=time.monotonic() + _LOOK_AGAIN)
    for node, members in others:
        _remove(context, operation, first, [cpu for cpu in members if cpu in first.cpus])
        pool = _create(context, operation, f"Pool-node{node}", members, first.scheduler, [first])
        made.append(pool.number)


def _undivide(
    context: Context, operation: Operation[Any], first: CpupoolInfo, online: Collection[int], made: Iterable[int]
) -> Script[None]:
    """Make the first pool, which was the only one, what it was. This cannot be stopped."""
    left = "".join([_take_back(context, number) for number in made])
    has = next(cpus for number, _, cpus in _found(context.hypervisor) if number == FIRST_POOL)
    _add(context, operation, first, [cpu for cpu in first.cpus if cpu not in has])
    _remove(context, operation, first, [cpu for cpu in has if cpu not in first.cpus])
    if first.name is not None:
        _rename(context, operation, FIRST_POOL, first.name)
    code = yield from _set_online(context, operation, online, abortable=False)
    raise_failure(operation, code)
    if left:
        raise describe(OperationFailed, left.removeprefix("; "), operation)


def _set_online(
    context: Context, operation: Operation[Any], vcpus: Iterable[int], *, abortable: bool = True
) -> Script[int]:
    """Let dom0 use these of its vCPUs, and return libxl's code."""
    online = bitmap(context, operation, vcpus)
    return (
        yield from context.complete(
            lambda how: lib.libxl_set_vcpuonline(context.pointer, 0, online, how), abortable=abortable
        )
    )


def _online(context: Context, operation: Operation[Any]) -> int:
    """Return how many vCPUs dom0 uses."""
    return domain_info(context, operation, 0).vcpus
