"""Caches and memory bandwidth (PSR), through libxl.

libxl says why something failed in its log only, in words that are the same in every language.
"""

from __future__ import annotations

import errno
import os
from typing import Any, Final

from pyxen._common.scripts import at_once
from pyxen.backends.xenlight.hypervisor import refused
from pyxen.backends.xenlight.info import command_line
from pyxen.backends.xenlight.libxl.binding import CData, ffi, lib
from pyxen.backends.xenlight.libxl.context import Context
from pyxen.backends.xenlight.libxl.error_map import BACKEND, describe, failure, raise_failure
from pyxen.backends.xenlight.topology import online_sockets
from pyxen.errors import (
    DomainNotFound,
    Error,
    InvalidArgument,
    InvalidState,
    OperationFailed,
    UnsupportedFeature,
)
from pyxen.operation import Operation
from pyxen.records.psr import PsrAllocation, PsrEvent, PsrKind, PsrMonitoring, PsrSample

__all__ = [
    "allocations",
    "attach",
    "cache_kib",
    "detach",
    "get_value",
    "is_attached",
    "monitoring",
    "sample",
    "set_value",
]

_KINDS: Final = {
    PsrKind.L3: lib.LIBXL_PSR_CBM_TYPE_L3_CBM,
    PsrKind.L3_CODE: lib.LIBXL_PSR_CBM_TYPE_L3_CBM_CODE,
    PsrKind.L3_DATA: lib.LIBXL_PSR_CBM_TYPE_L3_CBM_DATA,
    PsrKind.L2: lib.LIBXL_PSR_CBM_TYPE_L2_CBM,
    PsrKind.MBA: lib.LIBXL_PSR_CBM_TYPE_MBA_THRTL,
}

_EVENTS: Final = {
    PsrEvent.CACHE_OCCUPANCY: lib.LIBXL_PSR_CMT_TYPE_CACHE_OCCUPANCY,
    PsrEvent.TOTAL_MEMORY: lib.LIBXL_PSR_CMT_TYPE_TOTAL_MEM_COUNT,
    PsrEvent.LOCAL_MEMORY: lib.LIBXL_PSR_CMT_TYPE_LOCAL_MEM_COUNT,
}

_PARTS: Final = (
    (PsrKind.L3, lib.LIBXL_PSR_FEAT_TYPE_CAT, 3),
    (PsrKind.L2, lib.LIBXL_PSR_FEAT_TYPE_CAT, 2),
    (PsrKind.MBA, lib.LIBXL_PSR_FEAT_TYPE_MBA, 0),
)

_WITHOUT: Final = {errno.ENODEV, errno.ENOENT, errno.ENOSYS, errno.EOPNOTSUPP}

_REASONS: Final[tuple[tuple[str, type[OperationFailed], str], ...]] = (
    ("already attached", InvalidState, "it is measured already"),
    ("not attached", InvalidState, "it is not measured: attach it"),
    ("invalid domain ID", DomainNotFound, "there is no such domain"),
    ("Socket number is wrong", InvalidArgument, "the host has no such socket"),
    ("Value array exceeds the range", InvalidArgument, "Xen does not take this value"),
    ("Invalid input", InvalidArgument, "Xen does not take this value"),
    ("no free RMID", OperationFailed, "the host measures as many domains as it can: detach one"),
    ("no free COS", OperationFailed, "the host has no class of service left: let domains share settings"),
    ("failed to get socket cpu", InvalidArgument, "the host has no such socket"),
)
"""What libxl's log has for a failure, and what is raised for it."""

_LACKS: Final = ("not supported in this system", "not enabled on the socket", "when CDP is disabled", "unsupported")


@at_once
def monitoring(context: Context, operation: Operation[PsrMonitoring]) -> PsrMonitoring:
    """Return what the host can measure, as ``xl psr-hwinfo --cmt``."""
    if lib.libxl_psr_cmt_enabled(context.pointer) <= 0:
        return PsrMonitoring(enabled=False, total_rmids=0, events=())
    rmids = ffi.new("uint32_t *")
    raise_failure(operation, lib.libxl_psr_cmt_get_total_rmid(context.pointer, rmids))
    events = (event for event, number in _EVENTS.items() if lib.libxl_psr_cmt_type_supported(context.pointer, number))
    return PsrMonitoring(enabled=True, total_rmids=rmids[0], events=tuple(events))


@at_once
def cache_kib(context: Context, operation: Operation[int], socket: int) -> int:
    """Return the size of a socket's L3 cache, in KiB."""
    _check_enabled(context, operation)
    _check_sockets(context, operation, [socket])
    size = ffi.new("uint32_t *")
    _check(operation, lib.libxl_psr_cmt_get_l3_cache_size(context.pointer, socket, size))
    return int(size[0])


@at_once
def attach(context: Context, operation: Operation[None], domid: int) -> None:
    """Begin to measure a domain, as ``xl psr-cmt-attach``."""
    _check(operation, lib.libxl_psr_cmt_attach(context.pointer, domid))


@at_once
def detach(context: Context, operation: Operation[None], domid: int) -> None:
    """Stop measuring a domain, as ``xl psr-cmt-detach``."""
    _check(operation, lib.libxl_psr_cmt_detach(context.pointer, domid))


@at_once
def is_attached(context: Context, operation: Operation[bool], domid: int) -> bool:  # noqa: ARG001 (as all scripts)
    """Tell whether a domain is measured."""
    return bool(lib.libxl_psr_cmt_domain_attached(context.pointer, domid))


@at_once
def sample(context: Context, operation: Operation[PsrSample], domid: int, event: PsrEvent, socket: int) -> PsrSample:
    """Return what is measured of a domain, as ``xl psr-cmt-show``."""
    _check_enabled(context, operation)
    _check_sockets(context, operation, [socket])
    if not lib.libxl_psr_cmt_type_supported(context.pointer, _EVENTS[event]):
        raise _lacking(operation)
    if not lib.libxl_psr_cmt_domain_attached(context.pointer, domid):
        raise describe(InvalidState, "it is not measured: attach it", operation)
    value, tsc = ffi.new("uint64_t *"), ffi.new("uint64_t *")
    _check(operation, lib.libxl_psr_cmt_get_sample(context.pointer, domid, _EVENTS[event], socket, value, tsc))
    return PsrSample(value[0], tsc[0])


@at_once
def allocations(context: Context, operation: Operation[tuple[PsrAllocation, ...]]) -> tuple[PsrAllocation, ...]:
    """Return what can be shared out, as ``xl psr-hwinfo --cat --mba``."""
    highest, count = max(online_sockets(context.hypervisor), default=0), _count(context, operation)
    if highest >= count:
        if "psr=" not in command_line(context.hypervisor):
            return ()
        raise _uncounted(operation, highest, count)
    found: list[PsrAllocation] = []
    for kind, feature, level in _PARTS:
        count, infos = ffi.new("unsigned int *"), ffi.new("libxl_psr_hw_info **")
        ffi.errno = 0
        code = lib.libxl_psr_get_hw_info(context.pointer, feature, level, count, infos)
        if code != 0:
            reason = ffi.errno
            if not operation.log and reason in _WITHOUT:  # it logs any other failure
                continue
            raise describe(OperationFailed, f"{kind}: {os.strerror(reason)}", operation, code)
        found += [_allocation(kind, infos[0][place]) for place in range(count[0])]
        lib.libxl_psr_hw_info_list_free(infos[0], count[0])
    return tuple(found)


@at_once
def get_value(context: Context, operation: Operation[int], domid: int, kind: PsrKind, socket: int) -> int:
    """Return a setting of a domain, as ``xl psr-cat-show``."""
    _check_sockets(context, operation, [socket])
    value = ffi.new("uint64_t *")
    _check(operation, lib.libxl_psr_get_val(context.pointer, domid, _KINDS[kind], socket, value))
    return int(value[0])


@at_once
def set_value(
    context: Context,
    operation: Operation[None],
    domid: int,
    kind: PsrKind,
    value: int,
    sockets: tuple[int, ...] | None,
) -> None:
    """Change a setting of a domain, as ``xl psr-cat-set``."""
    if not 0 <= value < 1 << 64:
        raise describe(InvalidArgument, "takes a value of 0 to 64 bits", operation)
    there = _check_sockets(context, operation, sockets or ())
    wanted = there if sockets is None else list(sockets)
    highest, count = max(wanted), _count(context, operation)
    if highest >= count:
        raise _uncounted(operation, highest, count)
    bitmap = _bitmap(context, operation, highest + 1)
    for number in wanted:
        lib.libxl_bitmap_set(bitmap, number)
    _check(operation, lib.libxl_psr_set_val(context.pointer, domid, _KINDS[kind], bitmap, value))


def _allocation(kind: PsrKind, info: CData) -> PsrAllocation:
    if kind is PsrKind.MBA:
        mba = info.u.mba
        return PsrAllocation(kind, info.id, mba.cos_max, None, None, mba.thrtl_max, bool(mba.linear))
    cat = info.u.cat
    return PsrAllocation(kind, info.id, cat.cos_max, cat.cbm_len, bool(cat.cdp_enabled), None, None)


def _check_enabled(context: Context, operation: Operation[Any]) -> None:
    if lib.libxl_psr_cmt_enabled(context.pointer) <= 0:
        raise _lacking(operation)


def _check_sockets(context: Context, operation: Operation[Any], wanted: list[int] | tuple[int, ...]) -> list[int]:
    """Return the sockets that the host has. libxl ignores others in silence, or crashes for them."""
    there = online_sockets(context.hypervisor)
    missing = sorted(set(wanted) - set(there))
    if missing:
        has = ", ".join(map(str, there))
        raise describe(InvalidArgument, f"the host has no socket {missing[0]}; it has {has}", operation)
    return there


def _count(context: Context, operation: Operation[Any]) -> int:
    """Return how many sockets the host has, as libxl counts them: by the CPUs that are online.

    Where CPUs are offline, or numbers of sockets are left out, these are less than there are. Then libxl ignores the
    others, or writes beyond what it has allocated for all of them.
    """
    info = ffi.new("xc_physinfo_t *")
    with context.hypervisor.handle() as xc:
        if lib.xc_physinfo(xc, info) != 0:
            raise refused(operation.verb, "Xen does not tell its figures")
    of_socket = info.threads_per_core * info.cores_per_socket
    return int(info.nr_cpus // of_socket) if of_socket else 0


def _uncounted(operation: Operation[Any], socket: int, count: int) -> UnsupportedFeature:
    """Return the exception for a socket of which libxl does not know."""
    message = (
        f"{operation.verb}: libxl counts {count} sockets by the CPUs that are online, and cannot do this with socket "
        f"{socket}: bring all CPUs online, or boot Xen without smt=0 and maxcpus="
    )
    return UnsupportedFeature(message, feature="psr", backend=BACKEND)


def _bitmap(context: Context, operation: Operation[Any], sockets: int) -> CData:
    """Return an empty ``libxl_bitmap *`` with a bit for each of so many sockets, which is freed automatically."""
    bitmap = ffi.new("libxl_bitmap *")
    lib.libxl_bitmap_init(bitmap)
    bitmap = ffi.gc(bitmap, lib.libxl_bitmap_dispose)
    raise_failure(operation, lib.libxl_socket_bitmap_alloc(context.pointer, bitmap, sockets))
    lib.libxl_bitmap_set_none(bitmap)
    return bitmap


def _check(operation: Operation[Any], code: int) -> None:
    """Raise the exception for a code of libxl's, by what it has logged, unless it is 0."""
    if code == 0:
        return
    raise _failure(operation, code)


def _failure(operation: Operation[Any], code: int) -> Error:
    log = "\n".join(operation.log)
    if any(words in log for words in _LACKS):
        return _lacking(operation)
    for words, cls, message in _REASONS:
        if words in log:
            return describe(cls, message, operation, code)
    return failure(operation, code)


def _lacking(operation: Operation[Any]) -> UnsupportedFeature:
    said = "".join(f"\n  libxl: {line}" for line in operation.log)
    message = (
        f"{operation.verb}: this host's CPUs cannot do this, or its Xen does not run with it: psr=cmt, psr=cat, "
        f"psr=cdp or psr=mba on its command line turns it on{said}"
    )
    return UnsupportedFeature(message, feature="psr", backend=BACKEND)
