"""Room in the host's memory for a new domain: from domains that are being destroyed, or from dom0."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from typing import Any, Final
from uuid import UUID

from pyxen._common.autoballoon import CREDIT, STALL, is_automatic, new_target_kib, pending_kib
from pyxen._common.preconditions import not_enough_memory
from pyxen._common.shield import logger
from pyxen.backends.xenlight.info import command_line
from pyxen.backends.xenlight.libxl.binding import CData, ffi, lib
from pyxen.backends.xenlight.libxl.builds import BUILDS
from pyxen.backends.xenlight.libxl.context import Context
from pyxen.backends.xenlight.libxl.error_map import raise_failure
from pyxen.backends.xenlight.libxl.event_loop import Script, Wait
from pyxen.backends.xenlight.libxl.process_workers import NO_DOMID
from pyxen.backends.xenlight.operations.effects import not_written
from pyxen.backends.xenlight.operations.memory import memory
from pyxen.errors import Error, OperationFailed
from pyxen.operation import Operation
from pyxen.records.info import DomainState
from pyxen.records.memory import DomainMemory

__all__ = ["await_memory", "check_memory", "is_crowded", "may_balloon"]

_LOG: Final = logger("pyxen.libxl")

_MEMORY_COMES_BACK: Final = 10.0  # seconds for Xen to reclaim the memory of a destroyed domain
_LOOK_AGAIN: Final = 0.05  # seconds between checks
_LOOKS: Final = 0.01  # seconds for looks at figures that belong together, while other domains are being built


def is_crowded(context: Context, uuid: UUID, needed_kib: int) -> bool:
    """Tell whether the domains that this process is already making need the memory that is free."""
    return bool(_promised_kib(context, uuid)) and _unpromised_kib(context, uuid) < needed_kib


def await_memory(
    context: Context, operation: Operation[Any], config: CData, autoballoon: bool | None = None
) -> Script[bool]:
    """Wait until the host has the memory that a new domain needs.

    Xen would allocate what is left before it fails, so the domain is refused before.

    Args:
        context: The context, which counts the domain among those that are being made.
        operation: The create.
        config: The ``libxl_domain_config *`` of the domain.
        autoballoon: Whether dom0 gives up memory for it. None: unless Xen's command line says how much dom0 has.

    Returns:
        Whether that took time, so that a worker which had no memory may begin now.

    Raises:
        NotEnoughMemory: The host does not have it in time.
    """
    uuid = UUID(bytes=bytes(ffi.buffer(ffi.addressof(config.c_info, "uuid"), 16)))
    needed = ffi.new("uint64_t *")
    raise_failure(operation, lib.libxl_domain_need_memory(context.pointer, config, NO_DOMID, needed))
    BUILDS[uuid] = needed[0]
    late = time.monotonic() + _MEMORY_COMES_BACK
    while _free_kib(context, operation) < needed[0]:
        dying = [info.domid for info in context.hypervisor.glance() if info.state is DomainState.DYING]
        if not dying or time.monotonic() > late:
            break
        with context.watching(dying[0]) as token:
            yield Wait(token)  # returns at once: the domain is dying
            yield Wait(token, until=time.monotonic() + _LOOK_AGAIN)
    is_enough = _free_kib(context, operation) >= needed[0]
    crowded = is_crowded(context, uuid, needed[0])
    if (crowded or not is_enough) and may_balloon(context, autoballoon):
        yield from _take_from_dom0(context, operation, uuid, needed[0])
        return True
    if crowded:
        yield from _await_earlier(context, uuid, needed[0])
        is_enough = _free_kib(context, operation) >= needed[0]
    if not is_enough:
        raise not_enough_memory(operation, needed[0], _free_kib(context, operation), lib.ERROR_NOMEM)
    return crowded


def _await_earlier(context: Context, uuid: UUID, needed: int) -> Script[None]:
    """Wait, for a bounded time, until the domains that this process began to make earlier leave enough.

    They would all fail if each took the same free memory for its own. What libxl says that a domain needs is a little
    more than what it gets: so one that is being built for long refuses no other.
    """
    late = time.monotonic() + CREDIT
    while is_crowded(context, uuid, needed) and time.monotonic() < late:
        yield Wait(context.token(), until=time.monotonic() + _LOOK_AGAIN)


def check_memory(context: Context, operation: Operation[Any], config: CData, autoballoon: bool | None) -> None:
    """Refuse a domain that would not get its memory now, neither what is free nor what dom0 could give up."""
    needed = ffi.new("uint64_t *")
    raise_failure(operation, lib.libxl_domain_need_memory(context.pointer, config, NO_DOMID, needed))
    dom0 = _dom0(context)  # before the free memory, or what it gives up in between would count as lacking
    free = _free_kib(context, operation)
    if needed[0] > free:
        if not may_balloon(context, autoballoon):
            raise not_enough_memory(operation, needed[0], free, lib.ERROR_NOMEM)
        new_target_kib(operation, dom0, needed[0] - free - pending_kib(dom0), needed[0], free)


def _free_kib(context: Context, operation: Operation[Any]) -> int:
    """Return the free memory as libxl sees it before a create."""
    free = ffi.new("uint64_t *")
    raise_failure(operation, lib.libxl_get_free_memory(context.pointer, free))
    return int(free[0])


def may_balloon(context: Context, autoballoon: bool | None) -> bool:
    """Tell whether dom0 gives up memory for new domains, if need be."""
    return is_automatic(command_line(context.hypervisor)) if autoballoon is None else autoballoon


def _promised_kib(context: Context, uuid: UUID) -> int:
    """Return the memory that domains still need which this process began to make before this one."""
    earlier = dict(BUILDS)
    for later in list(earlier)[list(earlier).index(uuid) if uuid in earlier else 0 :]:
        del earlier[later]
    if not earlier:
        return 0
    living = [info for info in context.hypervisor.glance() if info.state is not DomainState.DYING]
    have = {info.uuid: info.memory_kib + (info.claimed_kib or 0) for info in living}
    return sum(max(0, needed - have.get(other, 0)) for other, needed in earlier.items())


def _unpromised_kib(context: Context, uuid: UUID) -> int:
    """Return the free memory that no domain still needs which this process began to make before this one."""
    free, late = context.hypervisor.free_kib(), time.monotonic() + _LOOKS
    while promised := _promised_kib(context, uuid):
        before, free = free, context.hypervisor.free_kib()
        if free == before or time.monotonic() > late:  # the same: both figures are of one moment
            break
    return free - promised


def _take_from_dom0(context: Context, operation: Operation[Any], uuid: UUID, needed: int) -> Script[None]:
    """Lower dom0's memory target until the host has enough, as xl does; if dom0 cannot give up enough, take it back.

    libxl's own functions for this block, and xl holds a lock around the whole create. Here scripts wait, one domain
    after the other is served, and what dom0 was already asked for is not asked for twice.
    """
    lowered, twice, late, trusted = 0, 0, time.monotonic() + CREDIT, True

    def free() -> int:
        return _unpromised_kib(context, uuid)

    try:
        while True:
            dom0 = _dom0(context)  # before the free memory, or what it gives up in between would be asked for twice
            if (short := needed - free()) <= 0:
                if surplus := min(-short, twice):
                    _raise_dom0(context, surplus)
                return
            more = short - (pending_kib(dom0) if trusted else 0)
            if more > 0:
                new_target_kib(operation, dom0, more, needed, max(0, needed - short))
                before = _dom0(context)  # the look above takes time, and other programs set the target, too
                raise_failure(operation, lib.libxl_set_memory_target(context.pointer, 0, -more, 1, 0))
                lowered += more
                twice += 0 if trusted else min(more, pending_kib(before))  # dom0 may do yet what it was asked first
                if (target := _dom0(context).target_kib) == before.target_kib:
                    lowered -= more  # libxl does not look whether xenstored has taken it
                    path, wanted = "/local/domain/0/memory/target", (target or before.current_kib) - more
                    raise not_written(operation, path, wanted, target)
            followed = yield from _follow(context, lambda: free() >= needed, late)
            if time.monotonic() >= late or not (followed or trusted):
                raise not_enough_memory(
                    operation, needed, max(0, free()), lib.ERROR_NOMEM, dom0_keeps_kib=_dom0(context).current_kib
                )
            trusted = followed
    except BaseException as error:
        if lowered and not _raise_dom0(context, lowered):
            stays = f"dom0 does not get back the {lowered} KiB that it was to give up: set its memory"
            _LOG.error("create: %s", stays)  # what stops a create is not always shown
            if isinstance(error, Error):
                error.message += f"; {stays}"
        raise


def _raise_dom0(context: Context, lowered: int) -> bool:
    """Give dom0 back what it was to give up, and tell whether it gets it, as far as that is known."""
    before = _target(context)
    if lib.libxl_set_memory_target(context.pointer, 0, lowered, 1, 0) != 0:
        return False
    return before is None or _target(context) != before


def _target(context: Context) -> int | None:
    """Return dom0's memory target; None if it is not known."""
    with contextlib.suppress(Error):
        return _dom0(context).target_kib
    return None


def _dom0(context: Context) -> DomainMemory:
    info = context.hypervisor.domain(0)
    if info is None:
        raise OperationFailed("Xen does not list dom0", operation="create")
    return memory(context.hypervisor, info)


def _follow(context: Context, is_enough: Callable[[], bool], late: float) -> Script[bool]:
    """Wait until dom0 has given up enough, or has reached its target; return False if it makes no progress."""
    least, quiet = _dom0(context).current_kib, time.monotonic() + STALL
    while time.monotonic() < late:
        yield Wait(context.token(), until=time.monotonic() + _LOOK_AGAIN)
        dom0 = _dom0(context)
        if is_enough() or not pending_kib(dom0):
            return True
        if dom0.current_kib < least:
            least, quiet = dom0.current_kib, time.monotonic() + STALL
        elif time.monotonic() > quiet:
            return False
    return False
