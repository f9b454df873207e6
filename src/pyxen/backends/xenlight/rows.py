"""What Xen says of a domain, an ``xc_domaininfo_t``, as a tuple; and how the fields of `DomainInfo` follow from it."""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from functools import lru_cache
from operator import itemgetter
from typing import Any, Final
from uuid import UUID

from pyxen.backends.xenlight.libxl.binding import CData, ffi, lib
from pyxen.config import DomainType
from pyxen.records.info import DomainInfo, DomainState, ShutdownReason, decoded_later

__all__ = [
    "AT",
    "DECODERS",
    "HANDLE",
    "KEY",
    "POOL",
    "Row",
    "domain_info",
    "has_run",
    "may_be_stub",
    "possible_stubs",
    "unpacked",
]

Row = tuple[Any, ...]
"""The members of an xc_domaininfo_t, at the indices in `AT`."""

_PAGE_KIB: Final = 4
_NO_VCPUS: Final = 1 << 32  # a domain that has no vCPUs yet says -1 for the last of them

_NAMES = (
    "domain",
    "flags",
    "tot_pages",
    "max_pages",
    "cpu_time",
    "nr_online_vcpus",
    "max_vcpu_id",
    "ssidref",
    "handle",
    "cpupool",
    "outstanding_pages",
    "shr_pages",
    "paged_pages",
)
_FORMATS = {1: "B", 2: "H", 4: "I", 8: "Q", 16: "16s"}
_EMULATED_RTC = 1 << 3  # XEN_X86_EMU_RTC: all HVM guests have one, and no PVH guest


def _members() -> list[tuple[int, int, str]]:
    """Return offset, size and name of the members that are read, in this Xen release's order."""
    fields = dict(ffi.typeof("xc_domaininfo_t").fields)
    members = [(fields[name].offset, ffi.sizeof(fields[name].type), name) for name in _NAMES]
    emulation = lib.pyxen_emulation_flags_offset()
    if emulation >= 0:
        members.append((emulation, 4, "emulation"))
    return sorted(members)


def _layout(members: list[tuple[int, int, str]]) -> struct.Struct:
    """Return the layout of xc_domaininfo_t. Unpacking by it is eight times as fast as reading member by member."""
    layout, at = "=", 0
    for offset, size, _ in members:
        layout += f"{offset - at}x{_FORMATS[size]}"
        at = offset + size
    return struct.Struct(f"{layout}{ffi.sizeof('xc_domaininfo_t') - at}x")


_MEMBERS = _members()
_DOMAININFO = _layout(_MEMBERS)
_SIZE: Final[int] = ffi.sizeof("xc_domaininfo_t")
AT: Final = {name: place for place, (_, _, name) in enumerate(_MEMBERS)}

HANDLE, POOL, _FLAGS = AT["handle"], AT["cpupool"], AT["flags"]
_EMULATION = AT.get("emulation")
_HVM_GUEST: int = lib.XEN_DOMINF_hvm_guest
KEY: Final = itemgetter(AT["domain"], HANDLE)
"""Returns what identifies a domain, its domid and its uuid, of a row."""

_STATES = (
    (lib.XEN_DOMINF_dying, DomainState.DYING),
    (lib.XEN_DOMINF_shutdown, DomainState.SHUTDOWN),
    (lib.XEN_DOMINF_paused, DomainState.PAUSED),
    (lib.XEN_DOMINF_blocked, DomainState.BLOCKED),
)


def unpacked(buffer: CData, count: int) -> list[Row]:
    """Return the first rows of an array of xc_domaininfo_t."""
    return list(_DOMAININFO.iter_unpack(ffi.buffer(buffer, count * _SIZE)[:]))


def may_be_stub(row: Row) -> bool:
    """Tell whether a domain can be a stub domain: dom0 and HVM guests cannot."""
    return bool(row[AT["domain"]]) and _type(row, row[AT["flags"]]) is not DomainType.HVM


def possible_stubs(rows: Sequence[Row]) -> set[int]:
    """Return the places of the domains that can be stub domains.

    A stub domain serves an HVM guest, which libxl creates before it and destroys after it: without one there is none.
    """
    kinds = [_type(row, row[_FLAGS]) for row in rows]
    if DomainType.HVM not in kinds:
        return set()
    return {place for place, row in enumerate(rows) if may_be_stub(row)}


def has_run(row: Row) -> bool:
    """Tell whether a domain has run."""
    return bool(row[AT["cpu_time"]])


def domain_info(row: Row, name: str | None, pool: str | None, stubdomain_of: int | None = None) -> DomainInfo:
    """Return what is known of a domain."""
    return decoded_later([(DECODERS, row, name, pool, stubdomain_of)])[0]


_Source = tuple[Any, Row, str | None, str | None, int | None]
"""What `decoded_later` gets: decoders, a row, the name, the pool's name, the guest of a stub domain."""


def _member(name: str) -> Callable[[_Source], Any]:
    place = AT[name]
    return lambda source: source[1][place]


def _kib(name: str) -> Callable[[_Source], int]:
    place = AT[name]
    return lambda source: int(source[1][place]) * _PAGE_KIB


@lru_cache(maxsize=256)
def _shutdown_reason(flags: int) -> ShutdownReason | int | None:
    if not flags & lib.XEN_DOMINF_shutdown:
        return None
    reason: int = (flags >> lib.XEN_DOMINF_shutdownshift) & lib.XEN_DOMINF_shutdownmask
    try:
        return ShutdownReason(reason)
    except ValueError:
        return reason


@lru_cache(maxsize=256)
def _state(flags: int) -> DomainState:
    state = next((state for flag, state in _STATES if flags & flag), DomainState.RUNNING)
    if state is DomainState.SHUTDOWN and _shutdown_reason(flags) == ShutdownReason.CRASH:
        return DomainState.CRASHED
    return state


DECODERS: dict[str, Callable[[_Source], Any]] = {
    "domid": _member("domain"),
    "name": itemgetter(2),
    "uuid": lambda source: UUID(bytes=source[1][HANDLE]),
    "state": lambda source: _state(source[1][_FLAGS]),
    "shutdown_reason": lambda source: _shutdown_reason(source[1][_FLAGS]),
    "type": lambda source: _type(source[1], source[1][_FLAGS]),
    "memory_kib": _kib("tot_pages"),
    "maxmem_kib": _kib("max_pages"),
    "vcpus": _member("nr_online_vcpus"),
    "maxvcpus": lambda source: (source[1][AT["max_vcpu_id"]] + 1) % _NO_VCPUS,
    "cpu_time_ns": _member("cpu_time"),
    "pool": itemgetter(3),
    "poolid": _member("cpupool"),
    "ssidref": _member("ssidref"),
    "claimed_kib": _kib("outstanding_pages"),
    "shared_kib": _kib("shr_pages"),
    "paged_kib": _kib("paged_pages"),
    "stubdomain_of": itemgetter(4),
}
"""How the fields of `DomainInfo` follow from what Xen and xenstore say of a domain."""


def _type(row: Row, flags: int) -> DomainType:
    if not flags & _HVM_GUEST:
        return DomainType.PV
    if _EMULATION is not None and row[_EMULATION] & _EMULATED_RTC:
        return DomainType.HVM
    return DomainType.PVH
