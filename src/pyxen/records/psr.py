"""What the CPUs of a host can do to watch and share caches and memory bandwidth (PSR), and what they measure."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Literal, TypeAlias

from pyxen.records.base import Record

__all__ = ["PsrAllocation", "PsrEvent", "PsrEventName", "PsrKind", "PsrKindName", "PsrMonitoring", "PsrSample"]


class PsrKind(StrEnum):
    """What can be shared out to domains."""

    L3 = "l3"
    """The parts of the L3 cache that a domain may fill, as a mask of bits (CAT)."""
    L3_CODE = "l3_code"
    """Those that it may fill with code, if Xen runs with CDP."""
    L3_DATA = "l3_data"
    """Those that it may fill with data, if Xen runs with CDP."""
    L2 = "l2"
    """The parts of the L2 cache that it may fill, as a mask of bits (CAT)."""
    MBA = "mba"
    """How much its memory bandwidth is throttled (MBA)."""


PsrKindName: TypeAlias = Literal["l3", "l3_code", "l3_data", "l2", "mba"]
"""The names of the kinds, for type checkers."""


class PsrEvent(StrEnum):
    """What can be measured of a domain (CMT, MBM), as ``xl psr-cmt-show`` names it."""

    CACHE_OCCUPANCY = "cache-occupancy"
    """Bytes that it has in the L3 cache now."""
    TOTAL_MEMORY = "total-mem-bandwidth"
    """Bytes that it has read and written since it was attached."""
    LOCAL_MEMORY = "local-mem-bandwidth"
    """Those of the socket's own memory."""


PsrEventName: TypeAlias = Literal["cache-occupancy", "total-mem-bandwidth", "local-mem-bandwidth"]
"""The names of what can be measured, for type checkers."""


@dataclass(frozen=True, slots=True)
class PsrMonitoring(Record):
    """What a host can measure, as ``xl psr-hwinfo --cmt``."""

    enabled: bool
    """Whether it measures anything: the CPUs can do it, and Xen runs with ``psr=cmt``."""
    total_rmids: int
    """How many domains can be measured at the same time; 0 if none."""
    events: tuple[PsrEvent, ...]
    """What can be measured."""


@dataclass(frozen=True, slots=True)
class PsrSample(Record):
    """A measured value."""

    value: int
    """The value, in bytes. A counter of memory traffic only grows, until it wraps."""
    tsc: int
    """When it was measured, in ticks of the CPU's time stamp counter."""


@dataclass(frozen=True, slots=True)
class PsrAllocation(Record):
    """What can be shared out on a socket, as a part of ``xl psr-hwinfo``."""

    kind: PsrKind
    """``l3``, ``l2`` or ``mba``."""
    socket: int
    """Number of the socket."""
    max_cos: int
    """The highest class of service; there are as many different settings, beside the default."""
    cbm_len: int | None
    """Bits in the mask of a cache; None for ``mba``."""
    cdp: bool | None
    """Whether code and data are set separately; None for ``mba``."""
    max_throttle: int | None
    """The highest value for ``mba``; None for a cache."""
    linear: bool | None
    """Whether values for ``mba`` are percentages; None for a cache."""
