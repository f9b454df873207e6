"""Saving a domain to a descriptor, and restoring from one: a file, a pipe or a socket, which may be slow or dead."""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Callable
from typing import Any
from uuid import UUID

from pyxen._common import savefile
from pyxen.backends.base import Allow
from pyxen.backends.xenlight.libxl.binding import lib
from pyxen.backends.xenlight.libxl.context import Context
from pyxen.backends.xenlight.libxl.error_map import describe, raise_failure
from pyxen.backends.xenlight.libxl.event_loop import Script
from pyxen.backends.xenlight.libxl.marshal import Prepared
from pyxen.backends.xenlight.libxl.received_json import Received
from pyxen.backends.xenlight.migration.migrate import head
from pyxen.backends.xenlight.migration.peer_channel import Lost, PeerChannel
from pyxen.backends.xenlight.migration.stream_relay import Passed, relay_from, relay_to
from pyxen.backends.xenlight.operations.save import Stream, check_there, finish_save, received_config, restored
from pyxen.backends.xenlight.operations.suspend import Asked, let_go_on
from pyxen.backends.xenlight.operations.threaded_operations import ThreadedOperation
from pyxen.backends.xenlight.operations.xl_lock import locked
from pyxen.config import DomainConfig
from pyxen.errors import OperationFailed, ParseError
from pyxen.operation import Operation
from pyxen.records.info import DomainInfo

__all__ = ["SOURCE", "restore_over", "save_over"]

SOURCE = "<descriptor>"
"""The name of what is read, in errors."""


def save_over(
    context: Context,
    domain: DomainInfo,
    channel: PeerChannel,
    other: Prepared | None,
    *,
    checkpoint: bool,
    leave_paused: bool,
) -> Callable[[ThreadedOperation], None]:
    """Return a function that saves a domain to a channel, and closes the channel; see `save`."""

    def work(threaded: ThreadedOperation) -> None:
        channel.wake = threaded.wake
        asked = False
        which = domain.domid, domain.uuid

        def send(operation: Operation[Any], fd: int, passed: Passed) -> Script[None]:
            nonlocal asked
            check_there(context, operation, *which)
            with contextlib.closing(Asked(domain.domid)) as begun:
                code = yield from context.complete(
                    lambda how: lib.libxl_domain_suspend(context.pointer, domain.domid, fd, 0, how),
                    may_abort=passed,
                    asks=domain.domid,
                )
                asked = begun()
            raise_failure(operation, code)

        try:
            channel.write(head(context, threaded, domain, other))
            try:
                relay_from(threaded, channel, send)
                _sync(channel.read_fd)
            except BaseException:
                threaded.do(lambda _: let_go_on(context, threaded.operation, *which, asked=asked), undoing=True)
                raise
        except Lost as error:
            message = f"cannot write to the descriptor: {error}; the domain goes on"
            raise describe(OperationFailed, message, threaded.operation) from error
        finally:
            channel.close()
        threaded.do(
            lambda operation: finish_save(context, operation, *which, checkpoint=checkpoint, leave_paused=leave_paused),
            undoing=True,
        )

    return work


def _sync(fd: int) -> None:
    """Have the data of a file on its disk before the domain ends."""
    if stat.S_ISREG(os.fstat(fd).st_mode):
        try:
            os.fsync(fd)
        except OSError as error:
            raise Lost(error.strerror) from error


def restore_over(
    context: Context,
    channel: PeerChannel,
    override: DomainConfig | None,
    *,
    paused: bool,
    allow: Allow | None,
    autoballoon: bool | None,
    lockfile: str | None,
) -> Callable[[ThreadedOperation], tuple[int, UUID]]:
    """Return a function that creates a domain from a channel, closes the channel, and returns domid and uuid.

    See `restore` for the arguments.
    """

    def work(threaded: ThreadedOperation) -> tuple[int, UUID]:
        channel.wake = threaded.wake
        found: list[tuple[int, UUID]] = []

        def make(received: Received, operation: Operation[Any], fd: int, passed: Passed) -> Script[None]:
            new = override is not None and override.uuid is None
            stream = Stream(fd, passed)
            making = restored(context, operation, received, stream, new=new, paused=paused, autoballoon=autoballoon)
            found.append((yield from locked(context, operation, lockfile, autoballoon, making)))
            threaded.operation.subject, threaded.operation.domid = operation.subject, operation.domid

        try:
            first = savefile.parse(channel.read, SOURCE)
            received = received_config(threaded.operation, first, override, SOURCE, allow)
            relay_to(threaded, channel, lambda *pipe: make(received, *pipe))
        except Lost as lost:
            message = f"not a saved domain, or truncated: it ends where libxl's stream begins, or before ({lost})"
            raise ParseError(message, source=SOURCE) from lost
        finally:
            channel.close()
        return found[0]

    return work
