"""The client's end of a link: calls, operations, subscriptions and streams by number."""

from __future__ import annotations

import itertools
import os
import queue
import threading
import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Final, Protocol

from pyxen._common.shield import shielded
from pyxen.backends.remote.failures import error_of, failure_of
from pyxen.backends.remote.link import Link, LinkLost
from pyxen.backends.remote.messages import (
    GREETING,
    PROTOCOL,
    VERSION,
    Answer,
    Ask,
    Begun,
    Bye,
    Call,
    Cancel,
    Credit,
    Data,
    Done,
    Drained,
    End,
    Failed,
    Hello,
    Item,
    Kept,
    Over,
    Ping,
    Pong,
    Progress,
    Refused,
    Reply,
    Settled,
    Snap,
    Welcome,
)
from pyxen.backends.remote.pending import Pending, Subscription, fail, operation_of, what_may_be
from pyxen.backends.remote.streams import Stream, Streams
from pyxen.backends.remote.values import Malformed, codec_of, decoded
from pyxen.backends.remote.verbs import Verb, verb_of
from pyxen.config import DomainConfig
from pyxen.errors import ConnectFailed, Error, HostClosed, InvalidArgument, NotPrivileged, UnsupportedFeature
from pyxen.operation import Operation

__all__ = ["Client", "Peer"]

_TO_ANSWER: Final = 600.0  # seconds for a call that only looks
_TO_OPEN: Final = 120.0  # seconds for the host to be opened
_TO_CLOSE: Final = 120.0  # seconds for what is stopped to be undone
_PING: Final = 2.0  # seconds of silence before the other end is asked whether it is there
_LATE: Final = 10.0  # seconds of silence after which a call whose deadline has passed has no hope
_LOST: Final = 30.0  # seconds of silence after which the link is lost
_TICK: Final = 1.0  # seconds
_WORDS: Final = 0.5  # seconds for the rest of what is no greeting


class Peer(Protocol):
    """The program at this machine that leads to the other end."""

    def why(self, reason: str) -> str:
        """Return why the link has ended, in the program's own words if it has said something."""

    def close(self) -> None:
        """Release it. It ends by itself."""


class Client:
    """Asks a server.

    Args:
        link: The link to it.
        peer: The program that leads to it.
        where: The host, as messages name it.

    Raises:
        ConnectFailed: The other end is no pyxen, or one with another protocol, or is silent; or what the host says.
    """

    def __init__(self, link: Link, peer: Peer, where: str) -> None:
        self._link, self._peer, self._where = link, peer, where
        self.streams = Streams(link)
        self._pid = os.getpid()
        self._lock = threading.Lock()
        self._numbers = itertools.count(1)
        self._pending: dict[int, Pending] = {}
        self._answers: dict[int, queue.SimpleQueue[Any]] = {}
        self._deliveries: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._deliverer = threading.Thread(target=self._deliver, name="pyxen-remote", daemon=True)
        self._opened: queue.SimpleQueue[Welcome | Exception] = queue.SimpleQueue()
        self._over = threading.Event()
        self._closing = False
        self._lost: str | None = None
        self.round_trips = 0
        """How often a call has waited for the other end."""
        try:
            self.welcome = self._greet()
        except BaseException:
            self._over.set()
            link.close()
            peer.close()
            raise
        self.verbs = frozenset(self.welcome.verbs)

    def _greet(self) -> Welcome:
        try:
            first = self._link.read_exactly(len(GREETING), _TO_OPEN)
        except LinkLost as error:
            raise ConnectFailed(f"{self._where}: {error}; {self._peer.why('')}".rstrip("; ")) from None
        except OSError as error:
            raise ConnectFailed(f"{self._where}: {self._peer.why(error.strerror or '')}") from None
        if first != GREETING:
            raise ConnectFailed(f"{self._where}: {self._what_came(first)}")
        self._link.send(Hello(PROTOCOL, VERSION))
        self._deliverer.start()
        self._link.start(self._on_message, self._on_end, "pyxen-remote")
        try:
            found = self._opened.get(timeout=_TO_OPEN)
        except queue.Empty:
            raise ConnectFailed(f"{self._where}: pyxen there does not answer within {_TO_OPEN:.0f} s") from None
        if isinstance(found, Exception):
            raise found
        threading.Thread(target=self._watch, name="pyxen-remote-watch", daemon=True).start()
        return found

    def _what_came(self, first: bytes) -> str:
        if len(first) < len(GREETING) and not first.strip():
            return self._peer.why("the other end has ended")
        first += self._link.read_what_comes(_WORDS)
        text = first.decode(errors="replace").strip()[:200]
        return (
            f"what comes is not from pyxen serve: {text!r}. If a start-up file of the shell there prints that, "
            f"let it do so for terminals only. {self._peer.why('')}"
        ).strip()

    # Calls

    def ask(self, name: str, /, **arguments: Any) -> Any:
        """Make a call that only looks, and return its answer.

        Raises:
            ConnectFailed: The link is lost.
            Error: As the verb says.
        """
        verb = self._verb(name)
        number, answers = self._send(verb, arguments, Pending(verb))
        try:
            return self._answer(verb, answers)
        finally:
            self._forget(number)

    def begin(
        self,
        name: str,
        /,
        *,
        allow: Callable[[DomainConfig], object] | None = None,
        stream: Callable[[int], Stream] | None = None,
        subscription: Subscription | None = None,
        **arguments: Any,
    ) -> Operation[Any]:
        """Begin an operation there, and return when it has begun.

        Args:
            name: The verb.
            allow: Decides whether a domain with a configuration may be created.
            stream: Opens the stream of a call, by its number.
            subscription: What gets items while the operation lasts, and after it.
            **arguments: What is sent.

        Raises:
            ConnectFailed: The link is lost.
            Error: The verb refuses at once.
        """
        verb = self._verb(name)
        if "allow" in verb.names:
            arguments["allow"] = allow is not None
        operation = operation_of(verb, arguments)
        pending = Pending(verb, operation, None, subscription, allow)
        number, answers = self._send(verb, arguments, pending, stream)
        operation.carried_by(lambda stopping: self._stop(number, stopping.stopped), self._deliverer)
        try:
            self._answer(verb, answers)
        except BaseException as error:
            if not isinstance(error, Exception):
                self._stop(number, "cancelled")  # e.g. Ctrl-C: what began there is undone
            else:
                self._forget(number)
                if not operation.done():
                    operation.set_exception(error)
            raise
        finally:
            self._answers.pop(number, None)
        return operation

    def subscribe(
        self,
        name: str,
        item: Any,
        put: Callable[[Any], None],
        end: Callable[[Error | None], None],
        lost: Callable[[int | None], Any],
        /,
        **arguments: Any,
    ) -> Callable[[], None]:
        """Subscribe to something, and return a function that ends the subscription, and does not wait."""
        verb = self._verb(name)
        subscription = Subscription(codec_of(item), put, end, lost)
        number, answers = self._send(verb, arguments, Pending(verb, subscription=subscription))
        try:
            self._answer(verb, answers)
        except BaseException:
            self._forget(number)
            self._link.send(Cancel(number))
            raise
        finally:
            self._answers.pop(number, None)

        def stop() -> None:
            subscription.wanted = False
            if os.getpid() == self._pid and self._forget(number):
                self._link.send(Cancel(number))

        return stop

    def subscription(
        self,
        item: Any,
        put: Callable[[Any], None],
        end: Callable[[Error | None], None],
        lost: Callable[[int | None], Any],
    ) -> Subscription:
        """Return what gets the items of an operation; see `begin`."""
        return Subscription(codec_of(item), put, end, lost)

    def open_console(self, stream: Callable[[int], Stream], **arguments: Any) -> None:
        """Have a console's bytes come and go over a stream."""
        verb = self._verb("console")
        number, answers = self._send(verb, arguments, Pending(verb), stream)
        pending = self._pending.get(number)
        try:
            self._answer(verb, answers)
        except BaseException:
            if pending is not None and pending.stream is not None:
                pending.stream.close()
            raise
        finally:
            self._forget(number)

    @property
    def deliverer(self) -> threading.Thread:
        """The thread on which operations end and items arrive."""
        return self._deliverer

    def cancel(self, operation: Operation[Any]) -> None:
        """Stop the call of an operation, even if the operation has ended: it may have a subscription that has not."""
        with self._lock:
            found = [number for number, pending in self._pending.items() if pending.operation is operation]
        for number in found:
            self._stop(number, "cancelled")

    def number_of(self, operation: Operation[Any]) -> int:
        """Return the number of a running operation.

        Raises:
            InvalidArgument: It does not run here any more.
        """
        with self._lock:
            for number, pending in self._pending.items():
                if pending.operation is operation:
                    return number
        raise InvalidArgument("the domain is not being created any more", operation="await_console")

    def close(self) -> None:
        """Have the server stop what is going on and undo it, and end the link. Calling it again does nothing."""
        if os.getpid() != self._pid:
            return
        with self._lock:
            again, self._closing = self._closing, True
        if again:
            return
        self._link.send(Bye())
        if threading.current_thread() is not self._deliverer:
            self._over.wait(_TO_CLOSE)
        self._link.end("closed")
        self.streams.close()
        if threading.current_thread() is not self._deliverer:
            self._over.wait(_TICK)
            self._release()

    def _release(self) -> None:
        """Close the descriptors, so that the other end finds the end, too; it may be called again."""
        self._link.close()
        self._peer.close()
        if threading.current_thread() is not self._deliverer:
            self._deliverer.join(_TICK)

    def _verb(self, name: str) -> Verb:
        if os.getpid() != self._pid or self._closing:
            raise HostClosed("the host is closed, or was opened before a fork: open it again")
        if self._lost is not None:
            raise ConnectFailed(f"{name}: {self._lost}; connect again")
        if name not in self.verbs:
            raise self._unknown(name)
        return verb_of(name)

    def _unknown(self, name: str) -> Error:
        welcome = self.welcome
        if welcome.read_only:
            source = welcome.limited_by or "pyxen serve --read-only"
            return NotPrivileged(f"{name}: this way to {self._where} only looks, see {source} there")
        if welcome.limited_by:
            return NotPrivileged(f"{name}: this way to {self._where} does not allow it, see {welcome.limited_by} there")
        message = f"{name}: pyxen {self.welcome.version} on {self._where} does not know this: update it there"
        return UnsupportedFeature(message, feature=name, backend=self.welcome.backend)

    def _send(
        self,
        verb: Verb,
        arguments: Mapping[str, Any],
        pending: Pending,
        stream: Callable[[int], Stream] | None = None,
    ) -> tuple[int, queue.SimpleQueue[Any]]:
        try:
            data = verb.dumps(arguments)
        except (TypeError, ValueError, OverflowError) as error:
            raise InvalidArgument(f"this cannot be sent to {self._where}: {error}", operation=verb.name) from None
        answers: queue.SimpleQueue[Any] = queue.SimpleQueue()
        with self._lock:
            if self._lost is not None:
                raise ConnectFailed(f"{verb.name}: {self._lost}; connect again")
            number = next(self._numbers)
            self._pending[number] = pending
            self._answers[number] = answers
            if stream is not None:
                pending.stream = stream(number)
            self._link.send(Call(number, verb.name, data))
        return number, answers

    def _answer(self, verb: Verb, answers: queue.SimpleQueue[Any]) -> Any:
        self.round_trips += 1
        try:
            found = answers.get(timeout=_TO_ANSWER)
        except queue.Empty:
            raise ConnectFailed(f"{verb.name}: {self._where} has not answered within {_TO_ANSWER:.0f} s") from None
        if isinstance(found, Exception):
            raise found
        return found

    def _forget(self, number: int) -> bool:
        with self._lock:
            self._answers.pop(number, None)
            return self._pending.pop(number, None) is not None

    def _stop(self, number: int, reason: str | None) -> None:
        if os.getpid() == self._pid:
            self._link.send(Cancel(number, reason or "cancelled"))

    # On the link's thread

    def _on_message(self, message: Any) -> None:  # noqa: C901 (one case a message)
        match message:
            case Welcome():
                self._opened.put(message)
            case Refused():
                error = error_of(message.failure)
                self._opened.put(error if isinstance(error, Error) else ConnectFailed(str(error)))
            case Answer():
                self._answered(message)
            case Begun():
                self._begun(message)
            case Progress():
                self._progressed(message)
            case Done():
                self._done(message)
            case Settled():
                self._settled(message.id)
            case Failed():
                self._failed(message)
            case Item():
                self._item(message)
            case Over():
                self._ended(message)
            case Ask():
                self._asked(message)
            case Data() | Credit() | End() | Drained() | Snap():
                self.streams.take(message)
            case Ping():
                self._link.answer_ping()
            case Pong():
                pass
            case _:
                raise Malformed(f"{type(message).__name__} is not expected here")

    def _give(self, number: int, answer: Any) -> bool:
        with self._lock:
            answers = self._answers.pop(number, None)
        if answers is None:
            return False
        answers.put(answer)
        return True

    def _found(self, number: int) -> Pending | None:
        return self._pending.get(number)

    def _answered(self, message: Answer) -> None:
        pending = self._found(message.id)
        if pending is not None and not pending.verb.takes_time:
            self._give(message.id, decoded(message.result, pending.verb.result))

    def _begun(self, message: Begun) -> None:
        pending = self._found(message.id)
        if pending is not None and pending.operation is not None:
            self._show(pending.operation, message)
            self._give(message.id, None)

    def _progressed(self, message: Progress) -> None:
        pending = self._found(message.id)
        if pending is not None and pending.operation is not None:
            self._show(pending.operation, message)
            if message.what is not None:
                pending.operation.report(message.what, message.percent)

    def _show(self, operation: Operation[Any], message: Begun | Progress | Done | Failed) -> None:
        if message.subject is not None:
            operation.subject = message.subject
        if message.domid is not None:
            operation.domid = message.domid

    def _done(self, message: Done) -> None:
        pending = self._found(message.id)
        if pending is None or pending.operation is None:
            return
        operation = pending.operation
        self._show(operation, message)
        operation.log.extend(message.log)
        try:
            value = decoded(message.result, pending.verb.result)
        except Malformed as error:
            self._end(message.id, ConnectFailed(f"{pending.verb.name}: its result cannot be read: {error}"))
            return
        if message.undoable:
            pending.made = value
            self._link.send(Kept(message.id))
        else:
            self._succeed(message.id, value)

    def _settled(self, number: int) -> None:
        pending = self._found(number)
        if pending is not None and pending.made is not None:
            self._succeed(number, pending.made)

    def _succeed(self, number: int, value: Any) -> None:
        pending = self._found(number)
        if pending is None or pending.operation is None:
            return
        self._give(number, None)
        if pending.subscription is None:
            self._drop(number)
        operation, stream = pending.operation, pending.stream

        def end() -> None:
            if stream is not None:
                stream.join()
            if not operation.done():
                operation.set_result(value)

        self._deliveries.put(end)

    def _failed(self, message: Failed) -> None:
        pending = self._found(message.id)
        if pending is None:
            return
        if pending.operation is not None:
            self._show(pending.operation, message)
        self._end(message.id, error_of(message.failure), stopped=message.stopped)

    def _end(self, number: int, error: Exception, *, stopped: str | None = None) -> None:
        """End a call with an error: where it was begun if it has not begun, else in its operation."""
        pending = self._found(number)
        told = self._give(number, error)
        self._drop(number)
        if pending is None or pending.operation is None or told:
            return
        operation, stream = pending.operation, pending.stream
        error = pending.refusal or error
        log = getattr(error, "log", ())
        operation.log.extend(line for line in log if line not in operation.log)

        def end() -> None:
            if stream is not None:
                stream.join()
            if not operation.done():
                if stopped is not None and operation.stopped is None:
                    operation.stop(stopped)
                operation.set_exception(error)

        self._deliveries.put(end)

    def _drop(self, number: int) -> None:
        with self._lock:
            pending = self._pending.pop(number, None)
        if pending is not None and pending.stream is not None and pending.operation is not None:
            pending.stream.close()

    def _item(self, message: Item) -> None:
        pending = self._found(message.id)
        if pending is not None and pending.subscription is not None:
            value = decoded(message.value, pending.subscription.item)
            pending.subscription.come(value, len(message.value), self._deliveries.put)

    def _ended(self, message: Over) -> None:
        pending = self._found(message.id)
        if pending is None or pending.subscription is None:
            return
        self._drop(message.id)
        found = None if message.failure is None else error_of(message.failure)
        error = found if isinstance(found, Error) else None
        self._deliveries.put(partial(pending.subscription.over, error, link_lost=False))

    def _asked(self, message: Ask) -> None:
        pending = self._found(message.id)
        allow = None if pending is None else pending.allow
        if pending is None or allow is None:
            return
        pending.allow = None
        config = decoded(message.config, codec_of(DomainConfig))

        def reply() -> None:
            try:
                allowed = allow(config) is not False
            except Exception as error:  # noqa: BLE001 (it is a refusal, and is raised by the call)
                pending.refusal = error
                self._link.send(Reply(message.id, allowed=False, failure=failure_of(error)))
            else:
                self._link.send(Reply(message.id, allowed=allowed))

        threading.Thread(target=reply, name="pyxen-remote-allow", daemon=True).start()

    def _on_end(self, reason: str) -> None:
        self.streams.close()
        closed = self._closing
        why = "the host was closed" if closed else f"the connection to {self._where} is lost: {self._peer.why(reason)}"
        with self._lock:
            self._lost = why
            pending, self._pending = self._pending, {}
            answers, self._answers = self._answers, {}
        self._opened.put(ConnectFailed(f"{self._where}: {self._peer.why(reason)}"))
        for number, found in pending.items():
            error: Exception = ConnectFailed(f"{found.verb.name}: {why}{what_may_be(found)}")
            if number in answers:
                answers[number].put(error)
            if found.operation is not None:
                self._deliveries.put(partial(fail, found.operation, error))
            if found.subscription is not None:
                lost = None if closed else ConnectFailed(why)
                self._deliveries.put(partial(found.subscription.over, lost, link_lost=not closed))
        self._deliveries.put(None)
        self._over.set()
        threading.Thread(target=self._release, name="pyxen-remote-end", daemon=True).start()

    # On other threads

    def _deliver(self) -> None:
        while (call := self._deliveries.get()) is not None:
            shielded(call)

    def _watch(self) -> None:
        asked = 0.0
        while not self._over.wait(_TICK):
            now = time.monotonic()
            silence = now - self._link.heard
            if silence > _PING and now - asked > _PING:
                asked = now
                self._link.send(Ping())
            with self._lock:
                operations = [pending.operation for pending in self._pending.values() if pending.operation is not None]
            late = [each for each in operations if each.deadline is not None and now > each.deadline + _PING]
            if silence > _LOST or (late and silence > _LATE):
                self._link.end(f"no sign of life for {silence:.0f} s")
