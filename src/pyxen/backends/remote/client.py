"""The client's end of a link: calls, operations, subscriptions and streams by number."""

from __future__ import annotations

import os
import queue
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, Protocol

from pyxen._common.shortage import shortage
from pyxen._common.sparing import check_spared
from pyxen.backends.refs import DomainRef
from pyxen.backends.remote.calls import Calls
from pyxen.backends.remote.failures import error_of
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
    Over,
    Ping,
    Pong,
    Progress,
    Refused,
    Settled,
    Snap,
    Welcome,
)
from pyxen.backends.remote.pending import Pending, Subscription, operation_of, what_may_be
from pyxen.backends.remote.streams import Stream, Streams
from pyxen.backends.remote.values import Malformed, codec_of
from pyxen.backends.remote.verbs import Verb, verb_of
from pyxen.config import DomainConfig
from pyxen.errors import ConnectFailed, Error, HostClosed, InvalidArgument, NotPrivileged, UnsupportedFeature
from pyxen.operation import Operation

__all__ = ["Client", "Peer"]

_TO_ANSWER: Final = 600.0  # seconds for a call that only looks
_NO_THREAD: Final = "cannot start a thread"
_TO_OPEN: Final = 120.0  # seconds for the host to be opened
_TO_CLOSE: Final = 120.0  # seconds for what is stopped to be undone
_PING: Final = 2.0  # seconds of silence before the other end is asked whether it is there
_LATE: Final = 10.0  # seconds of silence after which a call whose deadline has passed has no hope
_TO_END: Final = 300.0  # seconds from a deadline or a stop until an operation ends; the server undoes for as long
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
        self._calls = Calls(link)
        self._pid = os.getpid()
        self._opened: queue.SimpleQueue[Welcome | Exception] = queue.SimpleQueue()
        self._over = threading.Event()
        self._closing = False
        self.round_trips = 0
        """How often a call has waited for the other end."""
        try:
            self.welcome = self._greet()
        except BaseException:
            self._over.set()
            link.close()
            peer.close()
            self._calls.end("the host was not opened", closed=True)  # unless the link's thread has done so
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
        with shortage(ConnectFailed, _NO_THREAD):
            self._calls.deliverer.start()
        self._link.start(self._on_message, self._on_end, "pyxen-remote")
        try:
            found = self._opened.get(timeout=_TO_OPEN)
        except queue.Empty:
            raise ConnectFailed(f"{self._where}: pyxen there does not answer within {_TO_OPEN:.0f} s") from None
        if isinstance(found, Exception):
            raise found
        if found.protocol != PROTOCOL:
            message = f"pyxen {found.version} there speaks protocol {found.protocol}, pyxen {VERSION} here {PROTOCOL}"
            raise ConnectFailed(f"{self._where}: {message}: update the older one")
        with shortage(ConnectFailed, _NO_THREAD):
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
        pending = Pending(verb)
        try:
            found = self._heard(verb, self._send(verb, arguments, pending))
        except BaseException:  # e.g. Ctrl-C: what the answer would have opened here is closed there
            self._cancel(pending)
            raise
        finally:
            self._calls.forget(pending.number)
        return _given(found)

    def begin(
        self,
        name: str,
        /,
        *,
        allow: Callable[[DomainConfig], bool | None] | None = None,
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
        domain = arguments.get("domain")
        if isinstance(domain, DomainRef) and domain.domid:  # the other end spares its dom0; it does not know our own
            check_spared(operation.verb, domain.domid, domain.uuid)
        pending = Pending(verb, operation, None, subscription, allow)
        try:
            answers = self._send(verb, arguments, pending, stream)
            operation.carried_by(
                lambda stopping: self._stop(pending.number, stopping.stopped), self._calls.deliverer, self.completer
            )
            self._answer(verb, answers)
        except BaseException as error:
            self._stop(pending.number, "cancelled")  # if it goes on, e.g. after Ctrl-C: what began there is undone
            if isinstance(error, Exception):
                self._calls.fail(pending.number, error)
            raise
        finally:
            self._calls.answered(pending.number)
        return operation

    def subscribe(
        self,
        name: str,
        item: Any,
        put: Callable[[Any], None],
        end: Callable[[Error | None], None],
        lost: Callable[[int | None], Sequence[Any]],
        /,
        **arguments: Any,
    ) -> Callable[[], None]:
        """Subscribe to something, and return a function that ends the subscription, and does not wait."""
        verb = self._verb(name)
        subscription = Subscription(codec_of(item), put, end, lost)
        pending = Pending(verb, subscription=subscription)
        try:
            self._answer(verb, self._send(verb, arguments, pending))
        except BaseException:
            self._calls.forget(pending.number)
            self._cancel(pending)
            raise
        finally:
            self._calls.answered(pending.number)

        def stop() -> None:
            subscription.wanted = False
            if os.getpid() == self._pid and self._calls.forget(pending.number):
                self._cancel(pending)

        return stop

    def subscription(
        self,
        item: Any,
        put: Callable[[Any], None],
        end: Callable[[Error | None], None],
        lost: Callable[[int | None], Sequence[Any]],
    ) -> Subscription:
        """Return what gets the items of an operation; see `begin`."""
        return Subscription(codec_of(item), put, end, lost)

    def open_console(self, stream: Callable[[int], Stream], **arguments: Any) -> None:
        """Have a console's bytes come and go over a stream."""
        verb = self._verb("console")
        pending = Pending(verb)
        try:
            self._answer(verb, self._send(verb, arguments, pending, stream))
        except BaseException:
            if pending.stream is not None:
                pending.stream.close()
            raise
        finally:
            self._calls.forget(pending.number)

    @property
    def deliverer(self) -> threading.Thread:
        """The thread on which operations end and items arrive."""
        return self._calls.deliverer

    @property
    def completer(self) -> object:
        """What completes operations; see `pyxen.operation.completing`."""
        return self._calls

    def cancel(self, operation: Operation[Any]) -> None:
        """Stop the call of an operation, even if the operation has ended: it may have a subscription that has not."""
        if os.getpid() != self._pid:
            return
        for number in self._calls.numbers_of(operation):
            self._stop(number, "cancelled")

    def number_of(self, operation: Operation[Any]) -> int:
        """Return the number of a running operation.

        Raises:
            HostClosed: The host was opened before a fork.
            InvalidArgument: It does not run here any more.
        """
        self._check_open()
        for number in self._calls.numbers_of(operation):
            return number
        raise InvalidArgument("the domain is not being created any more", operation="await_console")

    def close(self) -> None:
        """Have the server stop what is going on and undo it, and end the link. Calling it again does nothing."""
        if os.getpid() != self._pid:
            return
        self._closing = True
        self._link.send(Bye())
        if threading.current_thread() is not self._calls.deliverer:
            self._over.wait(_TO_CLOSE)
        self._link.end("closed")
        self.streams.close()
        if threading.current_thread() is not self._calls.deliverer:
            self._over.wait(_TICK)
            self._release()

    def _release(self) -> None:
        """Close the descriptors, so that the other end finds the end, too; it may be called again."""
        self._link.close()
        self._peer.close()
        if threading.current_thread() is not self._calls.deliverer:
            self._calls.deliverer.join(_TICK)

    def _check_open(self) -> None:
        if os.getpid() != self._pid or self._closing:
            raise HostClosed("the host is closed, or was opened before a fork: open it again")

    def _verb(self, name: str) -> Verb:
        self._check_open()
        if self._calls.lost is not None:
            raise ConnectFailed(f"{name}: {self._calls.lost}; connect again")
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
    ) -> queue.SimpleQueue[Any]:
        """Send a call, and return where its answer comes. Its number is in `pending`, also if this is interrupted."""
        try:
            data = verb.dumps(arguments)
        except (TypeError, ValueError, OverflowError) as error:
            raise InvalidArgument(f"this cannot be sent to {self._where}: {error}", operation=verb.name) from None
        return self._calls.add(pending, lambda number: Call(number, verb.name, data), stream)

    def _answer(self, verb: Verb, answers: queue.SimpleQueue[Any]) -> Any:
        return _given(self._heard(verb, answers))

    def _heard(self, verb: Verb, answers: queue.SimpleQueue[Any]) -> Any:
        """Return the answer of a call, which may be an error.

        Raises:
            ConnectFailed: None has come in time.
        """
        self.round_trips += 1
        try:
            return answers.get(timeout=_TO_ANSWER)
        except queue.Empty:
            raise ConnectFailed(f"{verb.name}: {self._where} has not answered within {_TO_ANSWER:.0f} s") from None

    def _cancel(self, pending: Pending) -> None:
        """Have the server forget a call, if it may have been sent: it ignores one that it has not got."""
        if pending.number:
            self._link.send(Cancel(pending.number))

    def _stop(self, number: int, reason: str | None) -> None:
        if os.getpid() != self._pid:
            return
        pending = self._calls.get(number)
        if pending is not None:  # else it has ended
            pending.ends()
            self._link.send(Cancel(number, reason or "cancelled"))

    # On the link's thread

    def _on_message(self, message: Any) -> None:
        match message:
            case Welcome():
                self._opened.put(message)
            case Refused():
                error = error_of(message.failure)
                self._opened.put(error if isinstance(error, Error) else ConnectFailed(str(error)))
            case Answer() | Begun() | Progress() | Done() | Settled() | Failed() | Item() | Over() | Ask():
                self._calls.take(message)
            case Data() | Credit() | End() | Drained() | Snap():
                self.streams.take(message)
            case Ping():
                self._link.answer_ping()
            case Pong():
                pass
            case _:
                raise Malformed(f"{type(message).__name__} is not expected here")

    def _on_end(self, reason: str) -> None:
        self.streams.close()
        closed = self._closing
        why = "the host was closed" if closed else f"the connection to {self._where} is lost: {self._peer.why(reason)}"
        self._opened.put(ConnectFailed(f"{self._where}: {self._peer.why(reason)}"))
        self._calls.end(why, closed=closed)
        self._over.set()
        try:
            threading.Thread(target=self._release, name="pyxen-remote-end", daemon=True).start()
        except RuntimeError:  # there is no thread for it: this one, which ends after this, waits for the others
            self._release()

    # On another thread

    def _watch(self) -> None:
        asked = 0.0
        while not self._over.wait(_TICK):
            now = time.monotonic()
            silence = now - self._link.heard
            if silence > _PING and now - asked > _PING:
                asked = now
                self._link.send(Ping())
            late = {number: now - since for number, since in self._calls.over_since().items()}
            if silence > _LOST or (silence > _LATE and any(seconds > _PING for seconds in late.values())):
                self._link.end(f"no sign of life for {silence:.0f} s")
            for number, seconds in late.items():
                if seconds > _TO_END:
                    self._give_up(number)

    def _give_up(self, number: int) -> None:
        """End an operation here which the server has not ended, though it answers."""
        pending = self._calls.get(number)
        if pending is None:
            return
        why = f"{self._where} answers, but has not ended this {_TO_END:.0f} s after its deadline or its stop"
        what = "; what became of it there is not known: look it up" if pending.made is None else what_may_be(pending)
        self._stop(number, "timeout")
        self._calls.fail(number, ConnectFailed(f"{pending.verb.name}: {why}{what}"))


def _given(found: Any) -> Any:
    """Return an answer, or raise it if it is an error."""
    if isinstance(found, BaseException):
        raise found
    return found
