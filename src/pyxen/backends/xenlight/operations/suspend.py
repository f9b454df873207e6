"""Suspending and resuming of guests, including guests whose suspend was given up.

libxl asks a guest through a xenstore node. The guest empties the node after reading it, and suspends a moment later.
When libxl gives up a suspend, it does not withdraw the request. The guest would then still suspend, and nobody would
resume it. So this module withdraws the request. If the guest has already read it, the module waits for the suspend and
resumes the guest.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import closing
from typing import Any, Final
from uuid import UUID

from pyxen._common.xenstore import refused
from pyxen.backends.xenlight.libxl import hung_qemu
from pyxen.backends.xenlight.libxl.binding import lib
from pyxen.backends.xenlight.libxl.context import Context
from pyxen.backends.xenlight.libxl.error_map import describe, failure, raise_failure
from pyxen.backends.xenlight.libxl.event_loop import Script, Wait
from pyxen.backends.xenlight.libxl.lock import LIBXL
from pyxen.backends.xenlight.xenstore.connection import Connection, Verb
from pyxen.errors import ConnectFailed, Error, OperationFailed, QmpError
from pyxen.operation import Operation
from pyxen.records.info import ENDS, DomainState, ShutdownReason

__all__ = ["Asked", "go_on", "let_go_on", "resume", "stuck", "suspend"]

_ENTRY: Final = "/local/domain/{}/control/shutdown"
_REQUEST: Final = "suspend"
_QEMU_HANGS: Final = "Failed to resume device model: rc=-9"  # ERROR_TIMEDOUT
_TO_SUSPEND: Final = 10.0  # seconds in which a guest that has read the request suspends


class Asked:
    """Tells whether a guest was asked to suspend since this object was created. Must be closed.

    Args:
        domid: The guest's domid.
        connect: Opens a connection to xenstore.

    Raises:
        ConnectFailed: xenstored does not answer.
        XenstoreError: xenstored refuses to tell.
    """

    def __init__(self, domid: int, connect: Callable[[], Connection] = Connection) -> None:
        self._entry = _ENTRY.format(domid)
        with LIBXL.released():  # nobody else should wait for a slow xenstored
            self._xenstore = connect()
            try:
                [answer] = self._xenstore.batch([(Verb.WATCH, self._entry.encode() + b"\0asked\0")])
                if isinstance(answer, OSError):
                    raise refused(answer.errno or 0, "watch", self._entry)
                self()
            except BaseException:
                self._xenstore.close()
                raise
        self._xenstore.events.clear()  # of the watch itself

    def close(self) -> None:
        """Stop watching."""
        self._xenstore.close()

    def __call__(self) -> bool:
        """Tell whether the guest was asked to suspend."""
        try:
            with LIBXL.released():
                self._xenstore.batch([(Verb.READ, self._entry.encode() + b"\0")])  # events arrive before the answer
        except ConnectFailed:
            return True  # it may have been
        return bool(self._xenstore.events)


def suspend(context: Context, operation: Operation[None], domid: int, uuid: UUID) -> Script[None]:
    """Ask the guest to suspend itself, as ``xl suspend``; it stays in memory."""
    with closing(Asked(domid)) as asked:
        code = yield from context.complete(
            lambda how: lib.libxl_domain_suspend_only(context.pointer, domid, how),
            unhang=lambda: hung_qemu.cut_off(domid),
            asks=domid,
        )
        if code == 0 and operation.stopped is None:
            return
        yield from let_go_on(context, operation, domid, uuid, asked=asked())
    raise_failure(operation, code or lib.ERROR_ABORTED)


def resume(context: Context, operation: Operation[None], domid: int) -> Script[None]:
    """Resume a suspended guest, as ``xl resume``."""
    code = yield from context.complete(lambda how: lib.libxl_domain_resume(context.pointer, domid, 1, how))
    raise_failure(operation, code)


def go_on(context: Context, domid: int, uuid: UUID) -> Script[int]:
    """Resume a domain if it has suspended, and return libxl's code. As part of a clean-up, it cannot be stopped."""
    info = context.hypervisor.glance_at(domid)
    if info is None or info.uuid != uuid:  # another domain may have its domid by now
        return 0
    if (info.state, info.shutdown_reason) != (DomainState.SHUTDOWN, ShutdownReason.SUSPEND):
        return 0
    return (
        yield from context.complete(
            lambda how: lib.libxl_domain_resume(context.pointer, domid, 1, how), abortable=False, repeatable=True
        )
    )


def let_go_on(
    context: Context, operation: Operation[Any], domid: int, uuid: UUID, *, asked: bool, patience: float = _TO_SUSPEND
) -> Script[None]:
    """Let a guest continue after libxl gave up its suspend. This cannot be stopped. A guest that is gone is left alone.

    Args:
        context: The libxl context to use.
        operation: The operation that suspended it.
        domid: The guest's domid.
        uuid: Its uuid: another domain may have the domid by now.
        asked: Whether it was, or may have been, asked to suspend.
        patience: Seconds to wait for a guest that seems to have read the request.

    Raises:
        OperationFailed: It cannot be resumed, or it is not known whether it is suspended.
    """
    try:
        if not context.hypervisor.alive(domid, uuid):
            return
        if asked:
            yield from _take_back(context, domid, uuid, patience)
        else:  # libxl tells Xen to suspend an HVM guest without drivers
            context.hypervisor.take_back_suspend(domid)
        code = yield from go_on(context, domid, uuid)
    except Error as error:  # xenstored does not answer, or refuses; or Xen does
        message = f"failed, and the guest may still be suspended, for {error}: look at it, and resume it"
        raise describe(OperationFailed, message, operation) from error
    if code != 0:
        raise stuck(operation, code)


def _take_back(context: Context, domid: int, uuid: UUID, patience: float) -> Script[None]:
    """Take back a request to suspend; if the guest has read it, wait until it has suspended."""
    entry = _ENTRY.format(domid)
    try:
        taken = context.hypervisor.replace(entry, _REQUEST, "")
    except Error:  # perhaps only since another thread did not get an answer: once more, in a while
        yield from _await_end(context, domid, uuid, time.monotonic() + patience)
        if not context.hypervisor.alive(domid, uuid):
            return
        taken = context.hypervisor.replace(entry, _REQUEST, "")
    if not taken:
        yield from _await_end(context, domid, uuid, time.monotonic() + patience)


def stuck(operation: Operation[Any], code: int, so_far: str = "failed, and") -> OperationFailed:
    """Return the exception for an operation whose guest could not be resumed at its end.

    Args:
        operation: The operation.
        code: libxl's code for the resume.
        so_far: What has become of the operation otherwise.
    """
    message = f"{so_far} the guest could not be resumed: it is suspended"
    why = failure(operation, code)
    if isinstance(why, QmpError):
        return describe(QmpError, f"{message}, since its QEMU has ended: destroy it", operation, code)
    if any(_QEMU_HANGS in line for line in operation.log):
        remedy = "resume it when QEMU goes on, or destroy it"
        return describe(QmpError, f"{message}, since its QEMU does not answer: {remedy}", operation, code)
    return describe(OperationFailed, f"{message}; try to resume it", operation, code)


def _await_end(context: Context, domid: int, uuid: UUID, until: float) -> Script[None]:
    """Wait until a domain has suspended or otherwise ended, or until a deadline by `time.monotonic`."""
    with context.watching(domid) as token:
        while time.monotonic() < until:
            info = context.hypervisor.glance_at(domid)
            if info is None or info.uuid != uuid or info.state in ENDS:
                return
            yield Wait(token, lambda: 0, until=until)
