"""How long domains have existed, from the time that libxl writes when it creates one."""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final

from pyxen.backends.xenlight.hypervisor import Hypervisor
from pyxen.records.info import DomainInfo, DomainUptime

__all__ = ["uptimes"]

_SECONDS: Final = re.compile(r"\d{1,11}(\.\d{1,9})?", re.ASCII)
"""Seconds since 1970, in as many digits as a `datetime` can hold."""


def uptimes(hypervisor: Hypervisor, infos: Sequence[DomainInfo]) -> list[DomainUptime]:
    """Return how long these domains have existed, with one round trip to xenstore."""
    said = hypervisor.read_all([f"/vm/{info.uuid}/start_time" for info in infos])
    now = time.time()
    return [_uptime(info, _started(info, text, now), now) for info, text in zip(infos, said, strict=True)]


def _started(info: DomainInfo, text: str | None, now: float) -> float | None:
    """Return when a domain was created, in seconds since 1970; libxl did not create dom0, and xl takes its kernel."""
    if info.domid == 0:
        return now - time.clock_gettime(time.CLOCK_BOOTTIME)
    return float(text) if text is not None and _SECONDS.fullmatch(text) else None


def _uptime(info: DomainInfo, started: float | None, now: float) -> DomainUptime:
    return DomainUptime(
        domid=info.domid,
        name=info.name,
        uuid=info.uuid,
        start_time=None if started is None else datetime.fromtimestamp(started, UTC),
        uptime_s=None if started is None else max(0.0, now - started),
    )
