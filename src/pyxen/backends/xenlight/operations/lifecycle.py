"""The life cycle of domains: scripts that create, run and end them."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Collection
from functools import partial
from typing import Any, Final, NamedTuple
from uuid import UUID, uuid4

from pyxen._common.backend_domains import no_backend_of, served_devices
from pyxen._common.endings import LEFT, SETTINGS, ended_otherwise
from pyxen._common.host_files import lacks_bridge
from pyxen._common.pci_preconditions import first_unassigned, not_assignable
from pyxen._common.preconditions import check_ended, check_paused, file_missing, name_taken, no_bridge
from pyxen._common.scripts import at_once
from pyxen._common.usb_lookup import no_such_usb
from pyxen.backends.xenlight.libxl.binding import CData, c_text, ffi, lib
from pyxen.backends.xenlight.libxl.context import Context
from pyxen.backends.xenlight.libxl.error_map import BACKEND, describe, failure, raise_failure, stopped
from pyxen.backends.xenlight.libxl.event_loop import Script
from pyxen.backends.xenlight.libxl.marshal import Prepared, domain_config, to_json
from pyxen.backends.xenlight.libxl.own_records import check_readable
from pyxen.backends.xenlight.libxl.process_workers import NO_DOMID
from pyxen.backends.xenlight.libxl.received_json import read
from pyxen.backends.xenlight.operations.configuration import retrieved
from pyxen.backends.xenlight.operations.effects import present
from pyxen.backends.xenlight.operations.names import (
    check_alone,
    check_uuid,
    free_name,
    reserved_name,
    reserved_uuid,
)
from pyxen.backends.xenlight.operations.passthrough import check_free, reserved_pcis
from pyxen.backends.xenlight.operations.pci import devices
from pyxen.backends.xenlight.operations.room import await_memory, check_memory, is_crowded
from pyxen.backends.xenlight.operations.wait import wait_end
from pyxen.backends.xenlight.sysfs import is_unplugged
from pyxen.errors import (
    ConnectFailed,
    DomainExists,
    DomainNotFound,
    Error,
    InvalidArgument,
    NotFound,
    OperationFailed,
    UnsupportedFeature,
)
from pyxen.operation import Operation
from pyxen.records.info import DomainState, ShutdownReason
from pyxen.units import mib_to_kib

__all__ = [
    "Made",
    "check_create",
    "create",
    "destroy",
    "end",
    "finish_create",
    "half_made",
    "is_there",
    "keep_if_alone",
    "pause",
    "reboot",
    "remove",
    "rename",
    "shutdown",
    "soft_reset",
    "unpause",
]

_NO_ROOM: Final = re.compile(r"segment \w+ too large|not enough memory for initial mapping")
_KILLED: Final = "the worker process did not answer, as when xenstored hangs, and was killed"


class Made(NamedTuple):
    """The result of libxl's part of a create or restore."""

    code: int
    domid: int
    """`NO_DOMID` if there is no domain, or if the worker that created it died before it could report the domid."""
    hung: bool = False
    """The worker did not answer, and was killed."""


def create(
    context: Context,
    operation: Operation[Any],
    new: Prepared,
    identity: UUID,
    *,
    paused: bool,
    autoballoon: bool | None = None,
) -> Script[int]:
    """Create a domain and return its domid. Any failure leaves nothing behind.

    `autoballoon` tells whether dom0 gives up memory for it; None: as Xen's command line says.
    """
    with reserved_uuid(operation, identity):
        chosen = new.config.uuid is not None  # a new random one is unique
        before = check_uuid(context, operation, identity) if chosen else set()
        if error := no_backend_of(operation, served_devices(new.config), partial(is_there, context)):
            raise error
        check_readable(context.pointer, new.json)
        needed = mib_to_kib(new.config.memory or 0)
        name = new.config.name
        with (
            reserved_name(context, operation, name) as is_free,
            reserved_pcis(context, operation, new.config.pcis),
            context.journal.noting(identity),
            context.building(identity, needed),
        ):
            check_free(context, operation, new.config.pcis)
            made = None
            if not is_crowded(context, identity, needed):
                made = yield from _make_in_worker(context, new.json, identity, is_free=is_free)
            if made is None:
                made = yield from _make_here(context, operation, new.json, identity, autoballoon, is_free=is_free)
            if made.code == 0:
                known = name if is_free else None
                yield from keep_if_alone(context, operation, made.domid, identity, name=known, chosen=chosen)
            return (yield from finish_create(context, operation, made, identity, name, before, new, paused=paused))


def keep_if_alone(
    context: Context, operation: Operation[Any], domid: int, identity: UUID, *, name: str | None, chosen: bool
) -> Script[None]:
    """Remove a domain whose name or uuid another program has given to another domain meanwhile.

    Args:
        context: The libxl context to use.
        operation: The operation that made the domain.
        domid: The domain.
        identity: Its uuid.
        name: Its name; None: libxl has looked whether it is free.
        chosen: Whether somebody chose the uuid. If not, it is new, and no other domain has it.
    """
    try:
        check_alone(context, operation, domid, name, identity if chosen else None)
    except DomainExists:
        yield from remove(context, operation, domid, identity)
        raise


def check_create(context: Context, operation: Operation[Any], new: Prepared, autoballoon: bool | None) -> Script[None]:
    """Refuse a domain that `create` could not create now."""
    identity = new.config.uuid or uuid4()
    check_uuid(context, operation, identity)
    check_readable(context.pointer, new.json)
    yield from context.connected()
    config = domain_config(context.pointer, new.json, identity)
    other = ffi.new("uint32_t *")
    if lib.libxl_name_to_domid(context.pointer, c_text(new.config.name), other) == 0:
        raise name_taken(operation, other[0], new.config.name)
    check_free(context, operation, new.config.pcis)
    if lacking := _lacking(context, operation, new):
        raise lacking
    check_memory(context, operation, config, autoballoon)


def _lacking(context: Context, operation: Operation[Any], new: Prepared, code: int | None = None) -> Error | None:
    """Return the exception for what a configuration names and this machine lacks; None if it lacks nothing."""
    missing = [path for path in new.files if not os.path.exists(path)]
    if missing:
        return file_missing(operation, *missing, code=code)
    config = new.config
    bridge = next((vif.bridge for vif in config.vifs if lacks_bridge(vif)), None)
    if bridge is not None:
        return no_bridge(operation, bridge, code)
    unplugged = next(filter(is_unplugged, config.usbdevs), None)
    if unplugged is not None:
        return no_such_usb(operation, unplugged, code)
    unassigned = first_unassigned(devices(context.hypervisor), config.pcis) if config.pcis else None
    return None if unassigned is None else not_assignable(operation, unassigned, code)


def _make_in_worker(context: Context, json: str, identity: UUID, *, is_free: bool) -> Script[Made | None]:
    """Have a worker do what `_make_here` does; None if there is no worker, or it did not start the create."""
    payload = identity.bytes + json.encode() + b"\0"
    made = yield from context.workers.call(
        lib.PYXEN_CREATE, number=lib.PYXEN_NAME_IS_FREE if is_free else 0, payload=payload
    )
    return None if made is None or made.code == lib.PYXEN_NOT_BEGUN else Made(made.code, made.domid, hung=made.hung)


def _make_here(
    context: Context,
    operation: Operation[Any],
    json: str,
    identity: UUID,
    autoballoon: bool | None,
    *,
    is_free: bool,
) -> Script[Made]:
    yield from context.connected()
    config = domain_config(context.pointer, json, identity)
    if (yield from await_memory(context, operation, config, autoballoon)):  # a worker can begin now
        made = yield from _make_in_worker(context, json, identity, is_free=is_free)
        if made is not None:
            return made
    domid = ffi.new("uint32_t *", NO_DOMID)

    def begin(how: CData) -> int:
        lib.pyxen_name_is_free(config.c_info.name if is_free else ffi.NULL)
        code: int = lib.libxl_domain_create_new(context.pointer, config, domid, how, ffi.NULL)
        lib.pyxen_name_is_free(ffi.NULL)
        return code

    code = yield from context.complete(begin)
    return Made(code, domid[0])


def finish_create(
    context: Context,
    operation: Operation[Any],
    made: Made,
    identity: UUID,
    name: str,
    before: Collection[int],
    new: Prepared | None = None,
    *,
    paused: bool,
) -> Script[int]:
    """Finish a create or a restore after libxl's part; see `create` and `half_made`."""
    code, domid, hung = made
    if code != 0 and domid == NO_DOMID:
        domid = half_made(context, identity, name, before, with_names=not hung)
    operation.domid = None if domid == NO_DOMID else domid
    if code == 0 and operation.stopped is None and not paused:
        code = yield from context.complete(
            lambda how: lib.libxl_domain_unpause(context.pointer, domid, how), repeatable=True
        )
    if code == 0 and operation.stopped is None:
        return domid
    # Where a worker hung, libxl would hang in this process, too.
    reason = failure(operation, code) if hung else _why_not_created(context, operation, name, new, code)
    yield from remove(context, operation, domid, identity)
    raise reason


def destroy(context: Context, operation: Operation[None], domid: int, uuid: UUID) -> Script[None]:
    """Destroy a domain, as ``xl destroy``."""
    raise_failure(operation, (yield from end(context, operation, domid, uuid)))


def end(context: Context, operation: Operation[Any], domid: int, uuid: UUID, *, abortable: bool = True) -> Script[int]:
    """Destroy a domain with all that libxl may leave of it, and return libxl's code."""
    code = yield from _destroy(context, operation, domid, abortable=abortable)
    _clear_away(context, domid, uuid)
    return code


def _clear_away(context: Context, domid: int, uuid: UUID) -> None:
    """Remove what libxl has left of a domain in xenstore, as far as that is possible; nothing if it still lives."""
    with contextlib.suppress(ConnectFailed, OperationFailed):  # the domain is gone all the same
        context.hypervisor.clear_away(domid, uuid)


def _destroy(context: Context, operation: Operation[Any], domid: int, *, abortable: bool) -> Script[int]:
    event = yield from context.workers.call(lib.PYXEN_DESTROY, domid=domid, abortable=abortable)
    while event is not None and event.hung:
        if operation.stopped is not None:
            raise stopped(operation, event.code, f"{_KILLED}; domain {domid} may be left: destroy it later")
        # Another operation had to end. This one has time for another worker.
        event = yield from context.workers.call(lib.PYXEN_DESTROY, domid=domid, abortable=abortable)
    if event is not None and not event.lost:
        return event.code
    code = yield from context.complete(
        lambda how: lib.libxl_domain_destroy(context.pointer, domid, how), abortable=abortable, repeatable=True
    )
    return 0 if code == lib.ERROR_DOMAIN_NOTFOUND and event is not None else code  # the worker already destroyed it


def pause(context: Context, operation: Operation[None], domid: int) -> Script[None]:
    """Stop a domain's vCPUs, as ``xl pause``."""
    code = yield from context.complete(lambda how: lib.libxl_domain_pause(context.pointer, domid, how))
    raise_failure(operation, code)


def unpause(context: Context, operation: Operation[None], domid: int) -> Script[None]:
    """Resume a domain's vCPUs, as ``xl unpause``."""
    code = yield from context.complete(lambda how: lib.libxl_domain_unpause(context.pointer, domid, how))
    if code == lib.ERROR_FAIL and operation.stopped is None:
        info = context.hypervisor.domain(domid)
        if info is not None:
            check_paused(info)
    raise_failure(operation, code)


@at_once
def rename(context: Context, operation: Operation[None], domid: int, name: str) -> None:
    """Rename a domain, as ``xl rename``."""
    with free_name(context, operation, name, domid):
        code = lib.libxl_domain_rename(context.pointer, domid, ffi.NULL, c_text(name))
    raise_failure(operation, code)


def reboot(
    context: Context, operation: Operation[None], domid: int, uuid: UUID, *, wait: bool, fallback: bool
) -> Script[None]:
    """Ask the guest to reboot, as ``xl reboot``, or with `wait` and `fallback` ``xl reboot -w -F``."""
    with context.watching(domid) as token:
        code = yield from context.complete(lambda how: lib.libxl_domain_reboot(context.pointer, domid, how), asks=domid)
        if code == lib.ERROR_NOPARAVIRT and fallback and operation.stopped is None:
            code = yield from context.complete(
                lambda how: lib.libxl_send_trigger(context.pointer, domid, lib.LIBXL_TRIGGER_RESET, 0, how)
            )
        raise_failure(operation, code)
        if wait:
            yield from wait_end(context, token, domid, uuid)


def soft_reset(context: Context, operation: Operation[None], domid: int) -> Script[None]:
    """Restart a guest while keeping its memory, as xl does for ``on_soft_reset="soft-reset"``.

    Only a worker can do it, because the worker calls libxl in a way that Python cannot (see cffi_build/worker.c).
    Aborting it would destroy the domain.
    """
    config = yield from retrieved(context, operation, domid)
    json = read(to_json(context.pointer, config), "what libxl keeps").json.encode() + b"\0"
    check_ended(present(context, operation, domid), operation.verb, "shut down")  # libxl would end a guest that runs
    event = yield from context.workers.call(lib.PYXEN_SOFT_RESET, domid=domid, payload=json, abortable=False)
    if event is not None and event.hung and operation.stopped is not None:
        raise stopped(operation, event.code, f"{_KILLED}; the domain is not restarted: destroy it")
    if event is None:
        message = "a soft reset needs a worker process: connect with workers=1 or more, from an ordinary Python"
        raise UnsupportedFeature(message, feature=operation.verb, backend=BACKEND)
    raise_failure(operation, event.code)
    code = yield from context.complete(
        lambda how: lib.libxl_domain_unpause(context.pointer, domid, how), abortable=False
    )
    raise_failure(operation, code)


def shutdown(
    context: Context, operation: Operation[None], domid: int, uuid: UUID, *, wait: bool, fallback: bool
) -> Script[None]:
    """Ask the guest to power off, as ``xl shutdown``, or with `wait` and `fallback` ``xl shutdown -w -F``."""
    with context.watching(domid) as token:
        yield from _ask_shutdown(context, operation, domid, fallback=fallback)
        if not wait:
            return
        reason = yield from wait_end(context, token, domid, uuid)
    if reason is None:  # somebody else has destroyed it
        return
    setting = SETTINGS.get(reason)
    is_destroyed = setting is not None and (yield from _is_to_be_destroyed(context, operation, domid, setting))
    if is_destroyed:
        code = yield from remove(context, operation, domid, uuid)
        if code not in {0, lib.ERROR_DOMAIN_NOTFOUND}:
            message = "the guest has shut down, but its domain cannot be destroyed: destroy it"
            raise describe(OperationFailed, message, operation, code)
    if reason != ShutdownReason.POWEROFF:
        fate = f"its domain is destroyed, as {setting} says" if is_destroyed else LEFT
        raise ended_otherwise(operation, reason, fate)


def _ask_shutdown(context: Context, operation: Operation[None], domid: int, *, fallback: bool) -> Script[None]:
    code = yield from context.complete(lambda how: lib.libxl_domain_shutdown(context.pointer, domid, how), asks=domid)
    if code == lib.ERROR_NOPARAVIRT and fallback and operation.stopped is None:
        code = yield from context.complete(
            lambda how: lib.libxl_send_trigger(context.pointer, domid, lib.LIBXL_TRIGGER_POWER, 0, how)
        )
    raise_failure(operation, code)


def _is_to_be_destroyed(context: Context, operation: Operation[None], domid: int, setting: str) -> Script[bool]:
    """Tell whether a setting such as ``on_poweroff`` says ``destroy``; False if libxl did not create the domain."""
    try:
        config = yield from retrieved(context, operation, domid)
    except (NotFound, DomainNotFound):
        return False
    except OperationFailed as error:
        if operation.stopped is not None:
            raise
        message = "the guest has shut down, but it is not known whether its domain is to be destroyed: look at it"
        raise describe(OperationFailed, message, operation, error.code) from error
    return bool(getattr(config, setting) == lib.LIBXL_ACTION_ON_SHUTDOWN_DESTROY)


def is_there(context: Context, key: str | int) -> bool:
    """Tell whether there is a domain with this name or domid; a name that is a number is a domid, as for libxl."""
    if isinstance(key, str) and not key.isdecimal():
        return bool(lib.libxl_name_to_domid(context.pointer, c_text(key), ffi.new("uint32_t *")) == 0)
    return context.hypervisor.domain(int(key)) is not None


def half_made(context: Context, uuid: UUID, name: str, before: Collection[int], *, with_names: bool = True) -> int:
    """Return the domid of a domain whose worker died before reporting it; `NO_DOMID` if there is no such domain.

    Another program may have given the uuid to a domain of its own. A half-made domain has never run, and it has its
    name or none yet.

    Args:
        context: The libxl context to use.
        uuid: The uuid that the domain was to have.
        name: The name that it was to have.
        before: The domids of the domains that had the uuid before.
        with_names: Whether to ask xenstore for names. Without its answer, names do not count.
    """
    holders = [info for info in context.hypervisor.with_uuid(uuid) if info.domid not in before]
    found = [info.domid for info in holders if info.state is DomainState.PAUSED]
    if found and with_names:
        with contextlib.suppress(ConnectFailed):
            names = {info.domid: info.name for info in context.hypervisor.domains() if info.uuid == uuid}
            found = [domid for domid in found if names.get(domid) in {None, name}]
    return next(iter(found), NO_DOMID)


def remove(context: Context, operation: Operation[Any], domid: int, uuid: UUID) -> Script[int]:
    """Destroy a domain if it still exists, and return libxl's code. As part of a clean-up, it cannot be stopped."""
    if domid == NO_DOMID:
        return 0
    if context.hypervisor.alive(domid, uuid):
        return (yield from end(context, operation, domid, uuid, abortable=False))
    _clear_away(context, domid, uuid)
    return 0


def _why_not_created(context: Context, operation: Operation[Any], name: str, new: Prepared | None, code: int) -> Error:
    """Return the exception for a create that failed. libxl mostly returns ERROR_FAIL, so look for the cause."""
    if operation.stopped is None:
        other = ffi.new("uint32_t *")
        if lib.libxl_name_to_domid(context.pointer, c_text(name), other) == 0 and other[0] != operation.domid:
            return name_taken(operation, other[0], name, code)
        if new is not None and (lacking := _lacking(context, operation, new, code)):
            return lacking
        if any(map(_NO_ROOM.search, operation.log)):
            message = "the kernel, its ramdisk and its page tables have no room in the guest's memory: give it more"
            return describe(InvalidArgument, message, operation, code)
    return failure(operation, code)
