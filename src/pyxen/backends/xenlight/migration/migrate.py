"""Live migration: libxl's part at the source and at the destination."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Sequence
from typing import Any
from uuid import UUID

from pyxen._common import savefile
from pyxen._common.migration import AWAY, INCOMING, in_doubt
from pyxen._common.shield import logger
from pyxen.backends.base import Allow
from pyxen.backends.xenlight.libxl.binding import ffi, lib
from pyxen.backends.xenlight.libxl.context import Context
from pyxen.backends.xenlight.libxl.error_map import BACKEND, describe, failure, raise_failure
from pyxen.backends.xenlight.libxl.event_loop import Script
from pyxen.backends.xenlight.libxl.marshal import Prepared, domain_config
from pyxen.backends.xenlight.libxl.process_workers import NO_DOMID
from pyxen.backends.xenlight.libxl.received_json import Received
from pyxen.backends.xenlight.migration import protocol, remus_stream
from pyxen.backends.xenlight.migration.peer_channel import Lost, PeerChannel
from pyxen.backends.xenlight.migration.peer_command import PeerCommand
from pyxen.backends.xenlight.migration.stream_relay import Passed, relay_from, relay_to
from pyxen.backends.xenlight.operations.lifecycle import Made, half_made, remove, rename
from pyxen.backends.xenlight.operations.names import reserved_uuid
from pyxen.backends.xenlight.operations.passthrough import check_free, reserved_pcis
from pyxen.backends.xenlight.operations.room import await_memory
from pyxen.backends.xenlight.operations.save import (
    check_there,
    create_from_stream,
    received_by_address,
    received_config,
    sent_config,
)
from pyxen.backends.xenlight.operations.suspend import Asked, let_go_on
from pyxen.backends.xenlight.operations.threaded_operations import ThreadedOperation
from pyxen.backends.xenlight.operations.xl_lock import locked
from pyxen.config import DomainType
from pyxen.errors import (
    BackupLost,
    DomainExists,
    Error,
    MigrationFailed,
    MigrationInDoubt,
    OperationFailed,
    UnsupportedFeature,
)
from pyxen.operation import Operation
from pyxen.records.info import DomainInfo, DomainState, ShutdownReason

__all__ = ["check", "head", "migrate", "migrate_over", "receive", "through"]

_LOG = logger("pyxen.migration")

_STREAM = "<migration stream>"


def check(context: Context, domain: DomainInfo, verb: str) -> None:
    """Refuse a domain whose memory cannot be sent while the domain runs."""
    if domain.type is DomainType.PV and not context.hypervisor.has_shadow_paging():
        instead = "save it here and restore it there" if verb == "migrate" else "that needs a PVH or HVM guest here"
        raise UnsupportedFeature(
            f"{verb} {domain.name}: this Xen was built without shadow paging, which it takes to send the memory of a "
            f"PV guest while it runs: {instead}",
            feature=verb,
            backend=BACKEND,
        )


def migrate(
    context: Context, domain: DomainInfo, command: Sequence[str], other: Prepared | None
) -> Callable[[ThreadedOperation], None]:
    """Return a function that migrates a domain to the receiver that a command leads to; see `migrate_over`."""
    return through(command, lambda channel: migrate_over(context, domain, channel, other))


def through(
    command: Sequence[str], over: Callable[[PeerChannel], Callable[[ThreadedOperation], None]]
) -> Callable[[ThreadedOperation], None]:
    """Return a function that runs a channel operation over a command's pipes."""

    def work(threaded: ThreadedOperation) -> None:
        with PeerCommand(threaded.operation, command) as peer:
            try:
                over(PeerChannel(threaded.operation, peer.read_fd, peer.write_fd, peer="the destination"))(threaded)
            except (MigrationFailed, MigrationInDoubt, BackupLost) as error:
                peer.hang_up()
                error.message += peer.last_words()
                raise

    return work


def migrate_over(
    context: Context, domain: DomainInfo, channel: PeerChannel, other: Prepared | None
) -> Callable[[ThreadedOperation], None]:
    """Return a function that migrates a domain to the receiver at the end of a channel, and closes the channel.

    Args:
        context: The libxl context to use.
        domain: The domain.
        channel: The channel.
        other: The configuration to send instead of the domain's own.
    """

    def work(threaded: ThreadedOperation) -> None:
        operation = threaded.operation
        channel.wake = threaded.wake
        try:
            protocol.send(channel, _DomainAtSource(context, threaded, domain, other))
        except (Lost, protocol.Refused) as error:
            message = f"{error}; the domain goes on here"
            raise describe(MigrationFailed, message, operation) from error
        except protocol.InDoubt as error:
            doubt = describe(MigrationInDoubt, in_doubt(domain.name or "", error), operation)
            _LOG.error("%s", doubt)  # after Ctrl-C, or when a task is cancelled, nobody sees the exception
            raise doubt from error
        finally:
            channel.close()

    return work


class _DomainAtSource:
    """The domain at the source."""

    def __init__(
        self, context: Context, threaded: ThreadedOperation, domain: DomainInfo, other: Prepared | None
    ) -> None:
        self._context = context
        self._other = other
        self._domain = domain
        self._threaded = threaded
        self._domid = domain.domid
        self._uuid = domain.uuid
        self._name = domain.name or ""
        self._asked = False

    def head(self) -> bytes:
        return head(self._context, self._threaded, self._domain, self._other)

    def stream(self, channel: PeerChannel) -> None:
        relay_from(self._threaded, channel, self._send)

    def set_aside(self) -> None:
        self._threaded.do(self._set_aside)

    def take_back(self) -> None:
        self._threaded.do(self._take_back, undoing=True)

    def end(self) -> None:
        self._threaded.do(self._end, undoing=True)

    def _send(self, operation: Operation[Any], fd: int, passed: Passed) -> Script[None]:
        context = self._context
        check_there(context, operation, self._domid, self._uuid)
        with contextlib.closing(Asked(self._domid)) as asked:
            code = yield from context.complete(
                lambda how: lib.libxl_domain_suspend(context.pointer, self._domid, fd, lib.LIBXL_SUSPEND_LIVE, how),
                may_abort=passed,
                asks=self._domid,
            )
            self._asked = asked()
        raise_failure(operation, code)

    def _set_aside(self, operation: Operation[Any]) -> Script[None]:
        check_there(self._context, operation, self._domid, self._uuid)
        yield from rename(self._context, operation, self._domid, self._name + AWAY)

    def _take_back(self, operation: Operation[Any]) -> Script[None]:
        stuck: Error | None = None
        try:
            yield from let_go_on(self._context, operation, self._domid, self._uuid, asked=self._asked)
        except Error as error:  # it has its name again all the same
            stuck = error
        info = self._context.hypervisor.domain(self._domid)
        if info is not None and info.uuid == self._uuid and info.name == self._name + AWAY:
            yield from rename(self._context, operation, self._domid, self._name)
        if stuck is not None:
            raise stuck

    def _end(self, operation: Operation[Any]) -> Script[None]:
        message = f"the domain runs at the destination, but {self._name}{AWAY}"
        try:
            code = yield from remove(self._context, operation, self._domid, self._uuid)
        except Error as error:  # it is not known whether it is there
            message += f" may be left here, for {error}: look for it, and destroy it"
            raise describe(OperationFailed, message, operation) from error
        if code not in {0, lib.ERROR_DOMAIN_NOTFOUND}:
            raise describe(OperationFailed, f"{message} is left here: destroy it", operation, code)


def head(context: Context, threaded: ThreadedOperation, domain: DomainInfo, other: Prepared | None = None) -> bytes:
    """Return the head that precedes libxl's stream of a domain."""
    return savefile.head(
        threaded.do(lambda operation: sent_config(context, operation, domain.domid, domain.uuid, other))
    )


def receive(
    context: Context,
    channel: PeerChannel,
    *,
    remus: bool,
    paused: bool,
    allow: Allow | None = None,
    autoballoon: bool | None = None,
    lockfile: str | None = None,
) -> Callable[[ThreadedOperation], tuple[int, UUID]]:
    """Return a function that receives a domain over a channel, closes the channel, and returns the domid and uuid.

    Args:
        context: The libxl context to use.
        channel: Where the domain arrives.
        remus: Receive checkpoints, and start the domain when no more arrive.
        paused: Leave the domain paused.
        allow: Called with the configuration before anything is created; it refuses by returning False or raising. It
            runs on the operation's thread.
        autoballoon: Whether dom0 gives up memory for it; None: as the host is set up.
        lockfile: The file of xl's lock, which is held meanwhile; None: none is.
    """

    def work(threaded: ThreadedOperation) -> tuple[int, UUID]:
        channel.wake = threaded.wake
        arriving = _DomainAtDestination(
            context, threaded, channel, lockfile, remus=remus, paused=paused, allow=allow, autoballoon=autoballoon
        )
        try:
            return protocol.receive_backup(channel, arriving) if remus else protocol.receive(channel, arriving)
        except Lost as error:
            message = f"{error}; nothing of the domain is left here"
            raise describe(MigrationFailed, message, threaded.operation) from error
        finally:
            channel.close()
            arriving.forget()

    return work


class _DomainAtDestination:
    """The domain at the destination. It is as configured, except that it has a temporary name until it runs."""

    def __init__(
        self,
        context: Context,
        threaded: ThreadedOperation,
        channel: PeerChannel,
        lockfile: str | None,
        *,
        remus: bool,
        paused: bool,
        allow: Allow | None,
        autoballoon: bool | None,
    ) -> None:
        self._context = context
        self._threaded = threaded
        self._channel = channel
        self._remus = remus
        self._paused = paused
        self._allow = allow
        self._autoballoon = autoballoon
        self._lockfile = lockfile
        self._noting = contextlib.ExitStack()
        self._domid = NO_DOMID
        self._name = ""
        self._uuid = UUID(int=0)

    def restore(self, head: savefile.Head, channel: PeerChannel) -> None:
        received = received_config(self._threaded.operation, head, None, _STREAM, self._allow)

        def script(operation: Operation[Any], fd: int, passed: Passed) -> Script[None]:
            restoring = self._restore(received, operation, fd, passed)
            return locked(self._context, operation, self._lockfile, self._autoballoon, restoring)

        relay_to(self._threaded, channel, script)

    def start(self) -> tuple[int, UUID]:
        return self._threaded.do(self._start, undoing=True)

    def remove(self) -> None:
        self._threaded.do(self._remove, undoing=True)

    def forget(self) -> None:
        """Count it no longer among the domains that are being made, whatever has become of it."""
        self._noting.close()

    def _restore(self, received: Received, operation: Operation[Any], fd: int, passed: Passed) -> Script[None]:
        context = self._context
        received = received_by_address(context, operation, received)
        document = received.document
        self._name = document["c_info"]["name"]
        self._threaded.operation.subject = operation.subject = self._name
        document["c_info"]["name"] = self._name + INCOMING
        text = json.dumps(document)
        config = domain_config(context.pointer, text)
        self._uuid = UUID(bytes=bytes(ffi.buffer(ffi.addressof(config.c_info, "uuid"), 16)))
        self._noting.enter_context(reserved_uuid(operation, self._uuid))
        self._check_free(operation)
        self._noting.enter_context(reserved_pcis(context, operation, received.config.pcis))
        check_free(context, operation, received.config.pcis)
        before = {info.domid for info in self._twins()}
        self._noting.enter_context(context.building(self._uuid))
        yield from await_memory(context, operation, config, self._autoballoon)
        if not before:  # with a twin, the uuid does not tell which one is half-made
            self._noting.enter_context(context.journal.noting(self._uuid))
        made = yield from create_from_stream(context, config, text, fd, passed, remus=self._remus)
        self._domid = made.domid
        try:
            reason = self._why_not_restored(operation, made, before)
        except Error as error:  # Xen does not list its domains
            reason = error
        self._threaded.operation.domid = operation.domid = None if self._domid == NO_DOMID else self._domid
        if reason is not None:
            yield from self._remove(operation)
            raise reason

    def _why_not_restored(self, operation: Operation[Any], made: Made, before: set[int]) -> Error | Lost | None:
        """Return the exception for what arrived: None if it is whole. A half-made domain is looked for first."""
        if made.domid == NO_DOMID:
            name = self._name + INCOMING
            self._domid = half_made(self._context, self._uuid, name, before, with_names=not made.hung)
        if made.code == 0 and self._remus:
            return None  # the source is lost, and this may be the only copy: nothing may stop it now
        if operation.stopped is not None:
            return failure(operation, made.code or lib.ERROR_ABORTED)
        if made.code == 0:
            return self._still_running(operation)
        if any(remus_stream.MARK in line for line in operation.log):
            return Lost("the source has called the backup off")
        return self._channel.lost() or failure(operation, made.code)

    def _twins(self) -> list[DomainInfo]:
        """Return the other domains with this uuid: the source, if it is on the same host."""
        alive = (info for info in self._context.hypervisor.domains() if info.state is not DomainState.DYING)
        return [info for info in alive if info.uuid == self._uuid and info.domid != self._domid]

    def _check_free(self, operation: Operation[Any]) -> None:
        """Refuse the domain if its name or uuid belongs to a domain here that cannot be the source."""
        for info in self._context.hypervisor.domains():
            same_name, same_uuid = info.name == self._name, info.uuid == self._uuid
            if info.state is DomainState.DYING or (same_name and same_uuid):
                continue  # it may be the source: we know once it has suspended
            if same_name or same_uuid or info.name == self._name + INCOMING:
                which = f"the uuid {self._uuid}" if same_uuid else f"the name {info.name}"
                message = f"domain {info.domid} ({info.name}) has {which} already: rename or destroy it"
                raise describe(DomainExists, message, operation)

    def _still_running(self, operation: Operation[Any]) -> OperationFailed | None:
        """Return an exception if a twin still runs after the whole stream arrived: then it is not the source."""
        for info in self._twins():
            if info.shutdown_reason is not ShutdownReason.SUSPEND:
                message = f"domain {info.domid} ({info.name}) has the uuid {self._uuid} already, and is not the source"
                return describe(DomainExists, message, operation)
        return None

    def _start(self, operation: Operation[Any]) -> Script[tuple[int, UUID]]:
        context = self._context
        if not self._remus:  # the source was waited for
            check_there(context, operation, self._domid, self._uuid)
        try:
            yield from rename(context, operation, self._domid, self._name)
        except OperationFailed as error:
            if not self._remus:
                raise
            _LOG.warning("The backup stays %s%s: %s", self._name, INCOMING, error)  # running matters more than a name
        if not self._paused:
            code = yield from context.complete(
                lambda how: lib.libxl_domain_unpause(context.pointer, self._domid, how), abortable=False
            )
            raise_failure(operation, code)
        self._noting.close()
        return self._domid, self._uuid

    def _remove(self, operation: Operation[Any]) -> Script[None]:
        yield from remove(self._context, operation, self._domid, self._uuid)
        self._noting.close()
