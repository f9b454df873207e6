"""Remus replication at the source: the domain keeps running here, and another host keeps a copy, as ``xl remus``."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from pyxen._common.host_files import missing_file
from pyxen._common.shield import logger
from pyxen._common.shortage import shortage
from pyxen.backends.xenlight.libxl.binding import CData, ffi, lib, release
from pyxen.backends.xenlight.libxl.context import Context
from pyxen.backends.xenlight.libxl.error_map import BACKEND, describe, failure
from pyxen.backends.xenlight.libxl.event_loop import Script
from pyxen.backends.xenlight.migration import protocol
from pyxen.backends.xenlight.migration.migrate import head, through
from pyxen.backends.xenlight.migration.peer_channel import Lost, PeerChannel
from pyxen.backends.xenlight.migration.remus_stream import CheckpointedStream
from pyxen.backends.xenlight.migration.stream_relay import Passed, relay_from
from pyxen.backends.xenlight.operations.save import check_there
from pyxen.backends.xenlight.operations.suspend import let_go_on
from pyxen.backends.xenlight.operations.threaded_operations import ThreadedOperation
from pyxen.errors import (
    BackupLost,
    DomainNotFound,
    Error,
    FileMissing,
    InvalidState,
    MigrationFailed,
    OperationFailed,
    UnsupportedFeature,
)
from pyxen.operation import Operation
from pyxen.records.info import ENDS, DomainInfo, DomainState, ShutdownReason
from pyxen.remus import RemusOptions

__all__ = ["check", "remus", "remus_over", "remus_to_nobody"]

E = TypeVar("E", bound=OperationFailed)

_LOG = logger("pyxen.migration")

_TO_SUSPEND = 2.0  # seconds for a guest to suspend for a checkpoint: we cannot tell if one has just begun
_WITHOUT = "{}=False with allow_unsafe=True does without"
_NOT_BOTH = "Look there, and destroy one of both. Never let both run"


def check(options: RemusOptions) -> None:
    """Refuse a script that does not exist: libxl would only log that."""
    missing = missing_file([] if options.netbufscript is None else [os.fspath(options.netbufscript)])
    if missing is not None:
        error = FileMissing(f"no such file on the host: {missing}", operation="remus")
        error.filename = missing
        raise error


def remus(
    context: Context, domain: DomainInfo, command: Sequence[str], options: RemusOptions
) -> Callable[[ThreadedOperation], None]:
    """Return a function that replicates a domain to the receiver that a command leads to."""
    return through(command, lambda channel: remus_over(context, domain, channel, options))


def remus_to_nobody(context: Context, domain: DomainInfo, options: RemusOptions) -> Callable[[ThreadedOperation], None]:
    """Return a function that replicates a domain to nowhere, which libxl calls a black hole."""

    def work(threaded: ThreadedOperation) -> None:
        with shortage(OperationFailed, f"cannot open {os.devnull}"):
            nothing = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
        try:
            channel = PeerChannel(threaded.operation, nothing, nothing, peer=os.devnull)
        finally:
            os.close(nothing)
        remus_over(context, domain, channel, options, to_nobody=True)(threaded)

    return work


def remus_over(
    context: Context, domain: DomainInfo, channel: PeerChannel, options: RemusOptions, *, to_nobody: bool = False
) -> Callable[[ThreadedOperation], None]:
    """Return a function that replicates a domain to the receiver at the end of a channel, and closes the channel."""

    def work(threaded: ThreadedOperation) -> None:
        channel.wake = threaded.wake
        try:
            _Primary(context, threaded, domain, channel, options, to_nobody=to_nobody).replicate()
        finally:
            channel.close()

    return work


class _Primary:
    """The domain at the source, which keeps running there."""

    def __init__(
        self,
        context: Context,
        threaded: ThreadedOperation,
        domain: DomainInfo,
        channel: PeerChannel,
        options: RemusOptions,
        *,
        to_nobody: bool,
    ) -> None:
        self._context = context
        self._threaded = threaded
        self._domain = domain
        self._channel = channel
        self._options = options
        self._to_nobody = to_nobody
        self._stream = CheckpointedStream()
        self._begun = False
        # An aborted operation cannot run scripts: libxl would leave the vifs buffering all packets forever.
        self._abortable = not options.netbuf
        script = options.netbufscript
        self._script = ffi.NULL if script is None else ffi.new("char[]", os.fsencode(script))

    def replicate(self) -> None:
        """Replicate the domain until that fails. This returns if the domain was destroyed and the backup takes over."""
        try:
            if not self._to_nobody:
                protocol.greet(self._channel, lambda: head(self._context, self._threaded, self._domain))
            relay_from(self._threaded, self._channel, self._send, self._note, abortable=self._abortable)
        except BaseException as error:
            has_backup = self._stream.checkpoints > 0 and not self._to_nobody
            info = self._here()
            if info is None:
                if has_backup and not isinstance(error, Lost):
                    return
                raise self._failed(DomainNotFound, "the domain was destroyed meanwhile") from error
            stuck: Error | None = None
            try:
                self._threaded.do(self._go_on, undoing=True)
            except Error as failed:  # the backup must hear that the domain is not lost all the same
                stuck = failed
            if isinstance(error, Lost):
                raise self._lost(error, stuck, has_backup=has_backup) from error
            if has_backup:
                self._call_off(stuck)
            if stuck is not None:
                raise stuck from error
            if info.state in ENDS and info.shutdown_reason is not ShutdownReason.SUSPEND:
                raise self._failed(InvalidState, f"the guest has shut down: {info.shutdown_reason}") from error
            raise

    def _note(self, data: memoryview) -> None:
        before = self._stream.checkpoints
        self._stream.feed(data)
        if self._stream.checkpoints > before:
            self._threaded.operation.report(f"checkpoint {self._stream.checkpoints}", 100)

    def _here(self) -> DomainInfo | None:
        """Return the domain; None if it is gone."""
        info = self._context.hypervisor.domain(self._domain.domid)
        there = info is not None and info.uuid == self._domain.uuid and info.state is not DomainState.DYING
        return info if there else None

    def _send(self, operation: Operation[Any], fd: int, passed: Passed) -> Script[None]:
        check_there(self._context, operation, self._domain.domid, self._domain.uuid)
        info = self._info()  # libxl reads it until the end: it must stay alive
        self._begun = True
        code = yield from self._context.complete(
            lambda how: lib.libxl_domain_remus_start(self._context.pointer, info, self._domain.domid, fd, -1, how),
            abortable=self._abortable,
            may_abort=passed,
            asks=self._domain.domid,
        )
        raise _why(operation, code or lib.ERROR_FAIL)  # it only ends by failing, not always with a code

    def _info(self) -> CData:
        """Return the options as a ``libxl_domain_remus_info *``."""
        options = self._options
        info = ffi.new("libxl_domain_remus_info *")
        lib.libxl_domain_remus_info_init(info)
        info.interval = round(options.interval * 1000)
        for name, value in {
            "allow_unsafe": options.allow_unsafe,
            "blackhole": self._to_nobody,
            "netbuf": options.netbuf,
            "diskbuf": options.diskbuf,
            "colo": False,
        }.items():
            lib.libxl_defbool_set(ffi.addressof(info, name), value)
        info.netbufscript = self._script
        return info

    def _go_on(self, operation: Operation[Any]) -> Script[None]:
        which = self._domain.domid, self._domain.uuid
        yield from let_go_on(self._context, operation, *which, asked=self._begun, patience=_TO_SUSPEND)

    def _lost(self, lost: Lost, stuck: Error | None, *, has_backup: bool) -> OperationFailed:
        if not has_backup:
            return self._failed(MigrationFailed, f"{lost}; {_here(stuck)}")
        done = self._stream.checkpoints
        return self._in_doubt(f"{lost}, with checkpoint {done}; {_here(stuck)}, and may run there too. {_NOT_BOTH}")

    def _call_off(self, stuck: Error | None) -> None:
        """Make the destination destroy its copy, and wait until it has closed the channel."""
        try:
            self._channel.conclude()
            self._channel.write(self._stream.calling_off())
            self._channel.expect_end()
        except Lost as lost:
            message = (
                f"the replication was ended; {_here(stuck)}. It is not known whether the destination has heard of it "
                f"({lost}): the domain may run there too. {_NOT_BOTH}"
            )
            raise self._in_doubt(message) from lost

    def _in_doubt(self, message: str) -> BackupLost:
        error = self._failed(BackupLost, message)
        _LOG.error("%s", error)  # after Ctrl-C, or when a task is cancelled, nobody sees the exception
        return error

    def _failed(self, cls: type[E], message: str) -> E:
        return describe(cls, message, self._threaded.operation)


def _here(stuck: Error | None) -> str:
    """Say what has become of the domain here."""
    return "the domain goes on here" if stuck is None else f"the domain is still here, but: {stuck.message}"


def _why(operation: Operation[Any], code: int) -> Error:
    """Return the exception for a replication that ended. libxl reports an unsupported option only in its log."""
    log = "".join(operation.log) if operation.stopped is None else ""
    if "No support for network buffering" in log:
        message = f"remus: libxl of Xen {release} was built without network buffering; {_WITHOUT.format('netbuf')}"
        return UnsupportedFeature(message, feature="netbuf", backend=BACKEND)
    if "device not handled by checkpoint" in log:
        message = f"libxl replicates disks of DRBD only, with Remus's protocol; {_WITHOUT.format('diskbuf')}"
        return describe(OperationFailed, message, operation, code)
    return failure(operation, code)
