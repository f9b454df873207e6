"""The calls that a client has going, by number, and what the server says of them."""

from __future__ import annotations

import itertools
import queue
import threading
from collections.abc import Callable
from functools import partial
from typing import Any, Final

from pyxen._common.allow import accepts
from pyxen._common.shield import shielded
from pyxen._common.shortage import shortage
from pyxen.backends.remote.failures import error_of, failure_of
from pyxen.backends.remote.link import Link
from pyxen.backends.remote.messages import (
    VERSION,
    Answer,
    Ask,
    Begun,
    Call,
    Done,
    Failed,
    Item,
    Kept,
    Over,
    Progress,
    Reply,
    Settled,
)
from pyxen.backends.remote.pending import Pending, fail, what_may_be
from pyxen.backends.remote.streams import Stream
from pyxen.backends.remote.values import Malformed, codec_of, decoded
from pyxen.config import DomainConfig
from pyxen.errors import ConnectFailed, Error, OperationFailed, UnsupportedFeature
from pyxen.operation import Operation, completing

__all__ = ["AboutCall", "Calls"]

AboutCall = Answer | Begun | Progress | Done | Settled | Failed | Item | Over | Ask
"""The messages about a call."""

_STOPPED: Final = ("cancelled", "timeout", "closed")
"""Why a call may have been stopped; any other word of the server's is as good as the first."""


class Calls:
    """The calls of a client that have not ended.

    Args:
        link: The link to the server.
    """

    def __init__(self, link: Link) -> None:
        self._link = link
        self._lock = threading.Lock()
        self._numbers = itertools.count(1)
        self._pending: dict[int, Pending] = {}
        self._answers: dict[int, queue.SimpleQueue[Any]] = {}
        self._deliveries: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self.deliverer = threading.Thread(target=self._deliver, name="pyxen-remote", daemon=True)
        """The thread on which operations end and items arrive."""
        self.lost: str | None = None
        """Why there will be no more calls; None if there may."""

    def add(
        self, pending: Pending, message: Callable[[int], Call], stream: Callable[[int], Stream] | None = None
    ) -> queue.SimpleQueue[Any]:
        """Send a call, note its number in it, and return where its answer comes.

        Raises:
            ConnectFailed: The link is lost.
            Error: The stream cannot be opened.
        """
        answers: queue.SimpleQueue[Any] = queue.SimpleQueue()
        with self._lock:
            if self.lost is not None:
                raise ConnectFailed(f"{pending.verb.name}: {self.lost}; connect again")
            number = pending.number = next(self._numbers)
            self._pending[number] = pending
            self._answers[number] = answers
            try:
                if stream is not None:
                    pending.stream = stream(number)
            except BaseException:
                self._pending.pop(number, None)
                self._answers.pop(number, None)
                raise
            self._link.send(message(number))
        return answers

    def answered(self, number: int) -> None:
        """Expect no answer of a call any more."""
        with self._lock:
            self._answers.pop(number, None)

    def forget(self, number: int) -> bool:
        """Forget a call; tell whether it was there."""
        with self._lock:
            self._answers.pop(number, None)
            return self._pending.pop(number, None) is not None

    def get(self, number: int) -> Pending | None:
        """Return a call; None if it has ended."""
        return self._pending.get(number)

    def numbers_of(self, operation: Operation[Any]) -> list[int]:
        """Return the numbers of the calls that an operation has going."""
        with self._lock:
            return [number for number, pending in self._pending.items() if pending.operation is operation]

    def over_since(self) -> dict[int, float]:
        """Return the calls whose operations should end, by number, with since when: a time that may be yet to come."""
        with self._lock:
            going = list(self._pending.items())
        return {number: since for number, each in going if (since := each.over_since()) is not None}

    def end(self, why: str, *, closed: bool) -> None:
        """End all calls, because the link has ended; on the link's thread.

        Args:
            why: Why it has.
            closed: Whether that was wanted here.
        """
        with self._lock:
            self.lost = why
            pending, self._pending = self._pending, {}
            answers, self._answers = self._answers, {}
        for number, found in pending.items():
            error = ConnectFailed(f"{found.verb.name}: {why}{what_may_be(found)}")
            if number in answers:
                answers[number].put(error)
            if found.operation is not None:
                self._deliveries.put(partial(fail, found.operation, error))
            if found.subscription is not None:
                lost = None if closed else ConnectFailed(why)
                self._deliveries.put(partial(found.subscription.over, lost, link_lost=not closed))
        self._deliveries.put(None)

    def _deliver(self) -> None:
        with completing(self):
            while (call := self._deliveries.get()) is not None:
                shielded(call)

    # On the link's thread

    def take(self, message: AboutCall) -> None:
        """Take a message about a call; one about a call that has ended meanwhile is ignored.

        Raises:
            Malformed: It does not fit the call.
        """
        pending = self._pending.get(message.id)
        if pending is None:
            return
        match message:
            case Answer():
                self._answered(pending, message)
            case Begun():
                self._show(_operation_of(pending, message), message)
                self._give(message.id, None)
            case Progress():
                self._progressed(pending, message)
            case Done():
                self._done(pending, message)
            case Settled():
                if pending.done:
                    self._succeed(message, pending, pending.made)
            case Failed():
                self._failed(pending, message)
            case Item():
                self._item(pending, message)
            case Over():
                self._over(pending, message)
            case Ask():
                self._asked(pending, message)

    def _give(self, number: int, answer: Any) -> bool:
        with self._lock:
            answers = self._answers.pop(number, None)
        if answers is None:
            return False
        answers.put(answer)
        return True

    def _answered(self, pending: Pending, message: Answer) -> None:
        if pending.verb.takes_time:
            raise _unfit(pending, message)
        try:
            answer = decoded(message.result, pending.verb.result)
        except Malformed as error:
            answer = _unknown(pending.verb.name, error)
        self._give(message.id, answer)

    def _progressed(self, pending: Pending, message: Progress) -> None:
        operation = _operation_of(pending, message)
        self._show(operation, message)
        if message.what is not None:
            operation.report(message.what, message.percent)

    def _show(self, operation: Operation[Any], message: Begun | Progress | Done | Failed) -> None:
        if message.subject is not None:
            operation.subject = message.subject
        if message.domid is not None:
            operation.domid = message.domid

    def _done(self, pending: Pending, message: Done) -> None:
        operation = _operation_of(pending, message)
        if pending.done:
            return  # the first one counts
        pending.done = True
        pending.ends()
        self._show(operation, message)
        operation.log.extend(message.log)
        try:
            value = decoded(message.result, pending.verb.result)
        except Malformed as error:
            self.fail(message.id, _unknown(pending.verb.name, error))
            return
        if message.undoable:
            pending.made = value
            self._link.send(Kept(message.id))
        else:
            self._succeed(message, pending, value)

    def _succeed(self, message: Done | Settled, pending: Pending, value: Any) -> None:
        operation, stream = _operation_of(pending, message), pending.stream
        self._give(message.id, None)
        if pending.subscription is None:
            self._drop(message.id)

        def end() -> None:
            if stream is not None:
                stream.join()
            if not operation.done():
                operation.set_result(value)

        self._deliveries.put(end)

    def _failed(self, pending: Pending, message: Failed) -> None:
        if pending.operation is not None:
            self._show(pending.operation, message)
        error = pending.refusal or error_of(message.failure)
        self.fail(message.id, error, stopped=message.stopped)

    def fail(self, number: int, error: BaseException, *, stopped: str | None = None) -> None:
        """End a call with an error, where it was begun and in its operation; any thread may call this.

        Args:
            number: Its number. One that has ended stays as it is.
            error: The error.
            stopped: Why the server has stopped it, if it has.
        """
        pending = self._pending.get(number)
        if pending is None:
            return
        self._give(number, error)
        self._drop(number)
        if pending.operation is None:
            return
        operation, stream = pending.operation, pending.stream
        log = getattr(error, "log", ())
        operation.log.extend(line for line in log if line not in operation.log)

        def end() -> None:
            if stream is not None:
                stream.join()
            if not operation.done():
                if stopped is not None and operation.stopped is None:
                    operation.stop(stopped if stopped in _STOPPED else _STOPPED[0])
                operation.set_exception(error)

        self._deliveries.put(end)

    def _drop(self, number: int) -> None:
        with self._lock:
            pending = self._pending.pop(number, None)
        if pending is not None and pending.stream is not None and pending.operation is not None:
            pending.stream.close()

    def _item(self, pending: Pending, message: Item) -> None:
        if pending.subscription is None:
            raise _unfit(pending, message)
        pending.subscription.come(message, self._deliveries.put)

    def _over(self, pending: Pending, message: Over) -> None:
        if pending.subscription is None:
            raise _unfit(pending, message)
        self._drop(message.id)
        found = None if message.failure is None else error_of(message.failure)
        error = found if isinstance(found, Error) else None
        self._deliveries.put(partial(pending.subscription.over, error, link_lost=False))

    def _asked(self, pending: Pending, message: Ask) -> None:
        allow = pending.allow
        if allow is None:
            raise _unfit(pending, message)
        pending.allow = None
        try:
            config = decoded(message.config, codec_of(DomainConfig))
        except Malformed as problem:
            self._refuse(message.id, pending, _unknown(pending.verb.name, problem))
            return

        def reply() -> None:
            try:
                with completing(self):  # the same rule as on the host's own machine, where the host would hang
                    allowed = accepts(config, allow)
            except BaseException as error:  # noqa: BLE001 (it is a refusal, and is raised by the call: even an exit)
                self._refuse(message.id, pending, error)
            else:
                self._link.send(Reply(message.id, allowed=allowed))

        try:
            with shortage(OperationFailed, f"{pending.verb.name}: cannot start a thread for allow"):
                threading.Thread(target=reply, name="pyxen-remote-allow", daemon=True).start()
        except OperationFailed as error:
            self._refuse(message.id, pending, error)

    def _refuse(self, number: int, pending: Pending, error: BaseException) -> None:
        """Have a domain not created, because of an error that the call raises then."""
        pending.refusal = error
        self._link.send(Reply(number, allowed=False, failure=failure_of(error)))


def _operation_of(pending: Pending, message: AboutCall) -> Operation[Any]:
    if pending.operation is None:
        raise _unfit(pending, message)
    return pending.operation


def _unknown(verb: str, error: Malformed) -> Error:
    """Return the error for a value that means nothing here: those of a newer pyxen may have more. The link goes on."""
    message = (
        f"{verb}: pyxen {VERSION} here is older than that on the host, update it: it does not know what came: {error}"
    )
    return UnsupportedFeature(message, feature=verb)


def _unfit(pending: Pending, message: AboutCall) -> Malformed:
    return Malformed(f"{type(message).__name__} is not expected of {pending.verb.name}")
