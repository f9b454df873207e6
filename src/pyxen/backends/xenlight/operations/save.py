"""Saving of domains to files, restoring from them, and core dumps."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import ExitStack, closing, suppress
from typing import Any, Final, NamedTuple
from uuid import UUID, uuid4

from pyxen import xlcfg
from pyxen._common import savefile
from pyxen._common.atomic_file import PartialFile, writing
from pyxen._common.defaults import without_foreign_settings
from pyxen._common.preconditions import gone
from pyxen.backends.base import Allow
from pyxen.backends.xenlight.libxl.binding import CData, ffi, lib
from pyxen.backends.xenlight.libxl.context import Context
from pyxen.backends.xenlight.libxl.error_map import describe, raise_failure, stopped
from pyxen.backends.xenlight.libxl.event_loop import Script
from pyxen.backends.xenlight.libxl.marshal import Prepared, domain_config, prepare, to_json
from pyxen.backends.xenlight.libxl.process_workers import NO_DOMID
from pyxen.backends.xenlight.libxl.received_json import Received, read
from pyxen.backends.xenlight.operations import stream_header
from pyxen.backends.xenlight.operations.configuration import retrieved
from pyxen.backends.xenlight.operations.lifecycle import (
    Made,
    end,
    finish_create,
    keep_if_alone,
    remove,
)
from pyxen.backends.xenlight.operations.names import check_uuid, reserved_name, reserved_uuid
from pyxen.backends.xenlight.operations.passthrough import by_address, check_free, reserved_pcis
from pyxen.backends.xenlight.operations.room import await_memory
from pyxen.backends.xenlight.operations.suspend import Asked, go_on, let_go_on, stuck
from pyxen.backends.xenlight.operations.xl_lock import locked
from pyxen.config import DomainConfig
from pyxen.errors import Error, InvalidArgument, OperationFailed
from pyxen.libxljson import to_dict
from pyxen.operation import Operation

__all__ = [
    "Stream",
    "check_there",
    "core_dump",
    "create_from_stream",
    "finish_save",
    "received_by_address",
    "received_config",
    "restore",
    "restored",
    "save",
    "saved_config",
    "sent_config",
]

_SAVED: Final = "it is saved, but"


def save(
    context: Context,
    operation: Operation[None],
    domid: int,
    uuid: UUID,
    path: str,
    *,
    other: Prepared | None,
    checkpoint: bool,
    leave_paused: bool,
) -> Script[None]:
    """Save a domain to a file, as ``xl save``. After a failure, the domain continues and no file is left.

    If only what follows fails, the destroy of the saved domain or its resume, both are there, and the error says so.

    An existing file at `path` is replaced only after everything has been written.
    """
    config = yield from sent_config(context, operation, domid, uuid, other)
    with closing(Asked(domid)) as asked:
        try:
            yield from _appearing(
                context, operation, path, lambda partial: _send(context, operation, domid, uuid, partial, path, config)
            )
        except Exception:
            yield from let_go_on(context, operation, domid, uuid, asked=asked())
            raise
    yield from finish_save(context, operation, domid, uuid, checkpoint=checkpoint, leave_paused=leave_paused)


def finish_save(
    context: Context, operation: Operation[None], domid: int, uuid: UUID, *, checkpoint: bool, leave_paused: bool
) -> Script[None]:
    """End a domain that was saved, or let it go on. This is a part of a script.

    A domain that is not paused as it should be stays suspended: what it did from then on would be in no file.

    A disk or a reader was waited for. Where the domain was destroyed meanwhile, another one may have its domid.
    """
    remedy = "resume it" if leave_paused or checkpoint else "destroy it"
    try:
        is_there = context.hypervisor.alive(domid, uuid)
    except Error as error:  # it is not known how the guest is
        message = f"{_SAVED} the guest may still be suspended, for {error}: look at it, and {remedy}"
        raise describe(OperationFailed, message, operation) from error
    if not is_there:
        yield from remove(context, operation, domid, uuid)  # what is left of it in xenstore
        return
    if leave_paused:
        code = yield from context.complete(
            lambda how: lib.libxl_domain_pause(context.pointer, domid, how), abortable=False
        )
        if code and context.hypervisor.alive(domid, uuid):
            message = f"{_SAVED} it could not be paused, and is still suspended: resume it, or destroy it"
            raise describe(OperationFailed, message, operation, code)
    if leave_paused or checkpoint:
        try:
            code = yield from go_on(context, domid, uuid)
        except Error as error:  # it is not known how the guest is
            message = f"{_SAVED} the guest may still be suspended, for {error}: look at it, and resume it"
            raise describe(OperationFailed, message, operation) from error
        if code and context.hypervisor.alive(domid, uuid):
            raise stuck(operation, code, _SAVED)
        return
    code = yield from end(context, operation, domid, uuid, abortable=False)
    if code not in {0, lib.ERROR_DOMAIN_NOTFOUND}:
        raise describe(OperationFailed, f"{_SAVED} still here, suspended: destroy it", operation, code)


def sent_config(
    context: Context, operation: Operation[Any], domid: int, uuid: UUID, other: Prepared | None
) -> Script[str]:
    """Return what is sent with a domain as its configuration: the JSON of its own, or of another."""
    check_there(context, operation, domid, uuid)
    if other is None:
        config = yield from retrieved(context, operation, domid)
        config.c_info.domid = 0  # 0: the next free one
    else:
        config = domain_config(context.pointer, other.json, uuid if other.config.uuid is None else None)
    return to_json(context.pointer, config)


def _appearing(
    context: Context, operation: Operation[None], path: str, write: Callable[[PartialFile], Script[None]]
) -> Script[None]:
    """Let a script write a file, which appears when it is complete. A slow disk holds up this operation only."""
    made: list[PartialFile] = []
    yield from context.outside(lambda: made.append(PartialFile(operation, path)))
    with closing(made[0]) as partial:
        try:
            _check_wanted(operation)
            yield from write(partial)
            yield from context.outside(partial.appear)
        except Exception:
            # Without a thread for it, it is removed here. Where it cannot be removed, the first error says more.
            with suppress(OperationFailed, OSError):
                yield from context.outside(partial.close)
            raise


def check_there(context: Context, operation: Operation[Any], domid: int, uuid: UUID) -> None:
    """Check that a domain has not gone while a disk or a peer was waited for: another one may have its domid by now.

    Raises:
        DomainNotFound: It is gone.
    """
    if not context.hypervisor.alive(domid, uuid):
        raise gone(operation.verb, domid, uuid)


def _check_wanted(operation: Operation[Any]) -> None:
    """Check that an operation was not stopped while the disk was slow."""
    if operation.stopped is not None:
        raise stopped(operation)


def _send(
    context: Context, operation: Operation[None], domid: int, uuid: UUID, partial: PartialFile, path: str, config: str
) -> Script[None]:
    """Write a domain to a file. The domain is suspended afterwards."""
    with operation.measured(_grown(context, domid, partial.path)), writing(operation, path):
        yield from context.outside(lambda: _write_head(partial.fd, config))
        _check_wanted(operation)
        check_there(context, operation, domid, uuid)
        with context.sheltered(partial.fd, stream_header.SIZE) as stream:
            code = yield from context.complete(
                lambda how: lib.libxl_domain_suspend(context.pointer, domid, stream, 0, how),
                may_abort=stream_header.has_passed(partial.fd),
                asks=domid,
            )
    if code == 0 and operation.stopped is not None:
        code = lib.ERROR_ABORTED
    raise_failure(operation, code)


def _write_head(fd: int, config: str) -> None:
    savefile.write(fd, config)
    stream_header.make_room(fd)


def restore(
    context: Context,
    operation: Operation[Any],
    path: str,
    override: DomainConfig | None,
    *,
    paused: bool,
    allow: Allow | None = None,
    autoballoon: bool | None = None,
    lockfile: str | None = None,
) -> Script[tuple[int, UUID]]:
    """Create a domain from a file, as ``xl restore``, and return its domid and uuid. A failure leaves nothing.

    A slow disk, or a slow `allow`, holds up this operation only: xl's lock is taken when the configuration is known.

    Args:
        context: The libxl context to use.
        operation: The operation that this script belongs to.
        path: The file.
        override: A configuration to use instead of the one in the file.
        paused: Leave the domain paused.
        allow: Called with the configuration before anything is created; it refuses by returning False or raising. It
            runs on a thread of its own.
        autoballoon: Whether dom0 gives up memory for it; None: as the host is set up.
        lockfile: xl's lock, for `locked`.
    """
    found: list[tuple[Received, Stream, Callable[[], float]]] = []

    with ExitStack() as held:

        def look() -> None:
            fd, head = _opened(operation, path)
            held.callback(os.close, fd)
            received = received_config(operation, head, override, path, allow)
            found.append((received, Stream(fd, stream_header.has_passed(fd)), _passed(fd)))

        yield from context.outside(look)
        _check_wanted(operation)
        received, stream, passed = found[0]
        new = override is not None and override.uuid is None
        making = restored(context, operation, received, stream, new=new, paused=paused, autoballoon=autoballoon)
        with operation.measured(passed):
            return (yield from locked(context, operation, lockfile, autoballoon, making))


def _opened(operation: Operation[Any], path: str) -> tuple[int, savefile.Head]:
    """Open a file that `save` wrote; return its descriptor, at the beginning of the stream, and what precedes that."""
    fd = savefile.opened(operation, path)
    try:
        with savefile.readable(operation, path):
            head = savefile.read(fd, path)
            stream_header.check(stream_header.peek(fd), path)
    except BaseException:
        os.close(fd)
        raise
    return fd, head


class Stream(NamedTuple):
    """Where libxl's stream comes from."""

    fd: int
    """The descriptor, at the beginning of the stream."""
    has_passed: Callable[[], bool]
    """Tells whether libxl has read the beginning of it, see `stream_header`."""


def restored(
    context: Context,
    operation: Operation[Any],
    received: Received,
    stream: Stream,
    *,
    new: bool,
    paused: bool,
    autoballoon: bool | None,
) -> Script[tuple[int, UUID]]:
    """Create a domain from a stream, and return its domid and uuid; with `new`, it has a new uuid."""
    received = received_by_address(context, operation, received)
    config = domain_config(context.pointer, received.json, uuid4() if new else None)
    name = operation.subject = ffi.string(config.c_info.name).decode(errors="replace")
    identity = UUID(bytes=bytes(ffi.buffer(ffi.addressof(config.c_info, "uuid"), 16)))
    with reserved_uuid(operation, identity):
        before = check_uuid(context, operation, identity)
        with (
            reserved_name(context, operation, name) as is_free,
            reserved_pcis(context, operation, received.config.pcis),
            context.building(identity),
            context.journal.noting(identity),
        ):
            check_free(context, operation, received.config.pcis)
            yield from await_memory(context, operation, config, autoballoon)
            made = yield from create_from_stream(context, config, received.json, *stream, is_free=is_free)
            if made.code == 0:
                known = name if is_free else None
                yield from keep_if_alone(context, operation, made.domid, identity, name=known, chosen=not new)
            domid = yield from finish_create(context, operation, made, identity, name, before, paused=paused)
    return domid, identity


def received_by_address(context: Context, operation: Operation[Any], received: Received) -> Received:
    """Return a configuration from elsewhere whose PCI devices have addresses, as `by_address`."""
    config = by_address(context, operation, received.config)
    if config is received.config:
        return received
    devices = DomainConfig(config.name, pcis=config.pcis)
    return Received(config, received.document | {"pcidevs": to_dict(devices)["pcidevs"]})


def saved_config(path: str) -> DomainConfig:
    """Return the configuration in a file that `save` wrote."""
    operation: Operation[None] = Operation("saved_config", path)
    fd, head = _opened(operation, path)
    os.close(fd)
    config = received_config(operation, head, None, path).config
    return without_foreign_settings(config).replace(domid=None)


def create_from_stream(
    context: Context,
    config: CData,
    json: str,
    fd: int,
    may_abort: Callable[[], bool],
    *,
    remus: bool = False,
    is_free: bool = False,
) -> Script[Made]:
    """Create a paused domain from libxl's stream (`remus`: from its last checkpoint). This is a part of a script.

    `is_free` says that no domain has its name, so that libxl does not look for one.

    The stream comes from elsewhere, and libxl may not survive it. So libxl reads it in a process of its own, if it can.
    """
    checkpointed = lib.LIBXL_CHECKPOINTED_STREAM_REMUS if remus else lib.LIBXL_CHECKPOINTED_STREAM_NONE
    uuid = bytes(ffi.buffer(ffi.addressof(config.c_info, "uuid"), 16))
    payload = uuid + json.encode() + b"\0"
    number = checkpointed | (lib.PYXEN_NAME_IS_FREE if is_free else 0)
    event = yield from context.workers.restore(payload, fd, may_abort, number=number)
    if event is not None:
        return Made(event.code, event.domid, event.hung)
    params = ffi.new("libxl_domain_restore_params *")
    lib.libxl_domain_restore_params_init(params)
    params.stream_version = savefile.STREAM_VERSION
    params.checkpointed_stream = checkpointed
    domid = ffi.new("uint32_t *", NO_DOMID)

    def begin(how: CData) -> int:
        lib.pyxen_name_is_free(config.c_info.name if is_free else ffi.NULL)
        code: int = lib.libxl_domain_create_restore(context.pointer, config, domid, fd, -1, params, how, ffi.NULL)
        lib.pyxen_name_is_free(ffi.NULL)
        return code

    code = yield from context.complete(begin, may_abort=may_abort)
    return Made(code, domid[0])


def received_config(
    operation: Operation[Any],
    head: savefile.Head,
    override: DomainConfig | None = None,
    source: str = "the stream",
    allow: Allow | None = None,
) -> Received:
    """Return the configuration to restore a domain with.

    It may be long, and `allow` may query the host: call this where nobody waits for it, not in a script.

    Raises:
        ConfigError: The configuration is not valid, or libxl would abort the process on it.
        InvalidArgument: There is no configuration, or `allow` refuses it.
    """
    text = head.config
    if override is not None or not head.is_json:
        if override is None:
            override = xlcfg.loads(text)
        text = prepare(override).json
    elif not text:
        message = "the file has no configuration: give one, as the domain had it"
        raise describe(InvalidArgument, message, operation)
    return read(text, source, allow)


def core_dump(context: Context, operation: Operation[None], domid: int, uuid: UUID, path: str) -> Script[None]:
    """Write a domain's memory to a file, as ``xl dump-core``. A failure leaves no new file and keeps an old one."""
    yield from _appearing(
        context, operation, path, lambda partial: _dump(context, operation, domid, uuid, partial.path)
    )


def _dump(context: Context, operation: Operation[None], domid: int, uuid: UUID, path: str) -> Script[None]:
    check_there(context, operation, domid, uuid)
    there = os.fsencode(path)
    with operation.measured(_grown(context, domid, path)):
        event = yield from context.workers.call(lib.PYXEN_CORE_DUMP, domid=domid, payload=there + b"\0")
        if event is not None:
            code = event.code
        else:
            code = yield from context.complete(
                lambda how: lib.libxl_domain_core_dump(context.pointer, domid, there, how)
            )
        raise_failure(operation, code)


def _grown(context: Context, domid: int, path: str) -> Callable[[], float]:
    """Return a function that tells what fraction of a domain's memory a file holds."""
    info = context.hypervisor.domain(domid)
    expected = 1024 * max(1, info.memory_kib if info is not None else 1)
    return lambda: os.stat(path).st_size / expected


def _passed(fd: int) -> Callable[[], float]:
    """Return a function that tells what fraction of a file has been read through this descriptor or a duplicate."""
    size = max(1, os.fstat(fd).st_size)
    return lambda: os.lseek(fd, 0, os.SEEK_CUR) / size
