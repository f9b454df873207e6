"""The server: one client, one host, one pair of descriptors."""

from __future__ import annotations

import contextlib
import functools
import os
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, Final

from pyxen._common.shield import logger
from pyxen._common.shortage import submitted
from pyxen._copies.orphans import remove_orphans
from pyxen.backends.base import Allow, Backend
from pyxen.backends.remote.failures import error_of, failure_of
from pyxen.backends.remote.link import Link
from pyxen.backends.remote.lost import events_lost, nodes_lost, qmp_events_lost
from pyxen.backends.remote.messages import (
    BACKLOG,
    GREETING,
    MOST_CALLS,
    MOST_STREAMS,
    PROTOCOL,
    VERSION,
    Answer,
    Ask,
    Bye,
    Call,
    Cancel,
    Credit,
    Data,
    Drained,
    End,
    FromClient,
    Hello,
    Kept,
    Ping,
    Pong,
    Refused,
    Reply,
    Settled,
    Snap,
    Welcome,
)
from pyxen.backends.remote.streams import Streams, pair
from pyxen.backends.remote.values import Codec, Malformed, codec_of, encoded
from pyxen.backends.remote.verbs import VERBS, verb_of
from pyxen.config import DomainConfig
from pyxen.errors import (
    ConnectFailed,
    Error,
    InvalidArgument,
    NotPrivileged,
    OperationFailed,
    UnsupportedFeature,
)
from pyxen.events import Event
from pyxen.features import Feature
from pyxen.operation import Operation
from pyxen.records.qmp_event import QmpEvent
from pyxen.records.xenstore import NodeChange
from pyxen.serve.budget import Budget, Share
from pyxen.serve.calls import ServedCall, Subscription
from pyxen.serve.claims import ServedClaims
from pyxen.serve.policy import ALL, MOST_SHORT, Policy
from pyxen.serve.questions import Question, unknown_argument
from pyxen.serve.saving import save_over, spoken_out
from pyxen.serve.store import ServedStore

__all__ = ["Server"]

_LOG = logger("pyxen.serve")

_THREADS: Final = 16
_TO_GREET: Final = 30.0  # seconds for the client's first message
_SILENCE: Final = 90.0  # seconds without a sign of life, after which the client is taken for dead; it sends one every 2
_TO_DECIDE: Final = 600.0  # seconds for the client to say whether it allows a domain, if the call has no deadline
_TO_UNDO: Final = 300.0  # seconds for what is stopped to be undone
_TO_SEND: Final = 10.0  # seconds for the last messages
_TO_FLUSH: Final = 5.0  # seconds for what was sent to a console before it was closed
_MOST_HELD: Final = 8 << 20
"""The bytes of short messages with calls that were not carried out, above which the next message waits."""
_MOST_FIRST: Final = 4 << 10
"""The most bytes of the client's first message."""
_SLOWEST: Final = 64 << 10
"""The bytes a second at which a message must come."""
_TICK: Final = 0.25  # seconds between reports of progress

_UNDOABLE: Final = frozenset({"create", "restore", "restore_over", "start"})
"""Verbs whose result is a domain, which ends if the client does not get it. A domain that migrated here must stay."""


class Server:
    """Serves a host to the client at the other end of two descriptors, until it or the link ends.

    What the client has begun is undone then.

    Args:
        read_fd: Where the client's messages come from. Both descriptors are closed at the end.
        write_fd: Where they are answered.
        policy: What the client may do.
        share: What it has of the budget for long messages; None is a budget of its own.
        streams: What it has of the streams of all clients; None is no bound.
    """

    def __init__(
        self,
        read_fd: int,
        write_fd: int,
        *,
        policy: Policy = ALL,
        share: Share | None = None,
        streams: Share | None = None,
    ) -> None:
        self._link = link = Link(read_fd, write_fd, FromClient)
        link.most_frame, link.slowest, link.admit = _MOST_FIRST, _SLOWEST, self._admit
        self._policy = policy
        self._share = share or Share(Budget(), 0)
        self._admitted = 0
        self._streams = Streams(link, streams)
        self._lock = threading.Lock()
        self._calls: dict[int, ServedCall] = {}
        self._subscriptions: dict[int, Subscription] = {}
        self._asked: dict[int, Question] = {}
        self._last = 0
        self._held = 0
        self._room = threading.Condition()
        self._hello: Hello | None = None
        self._changed = threading.Event()
        self._bye = False
        self._pool = ThreadPoolExecutor(_THREADS, thread_name_prefix="pyxen-serve")
        self._backend: Any = None
        self._store: ServedStore | None = None
        self._claims: ServedClaims | None = None
        self._special: dict[str, Callable[..., object]] = {
            "await_console": self._await_console,
            "claims_open": self._open,
            "console": self._console,
            "migrate_over": self._converse,
            "qmp_events": self._qmp_events,
            "receive_migration": self._converse,
            "remove_orphans": self._remove_orphans,
            "remus_over": self._converse,
            "restore": self._restore,
            "restore_over": self._restore_over,
            "save_over": self._save_over,
            "store_begin": self._open,
            "store_watch": self._store_watch,
            "subscribe": self._subscribe,
        }

    def end(self, reason: str) -> None:
        """End the link, so that `run` winds up; any thread and a signal's handler may call it."""
        self._link.end(reason)  # `run` looks at that; to wake it takes a lock that the handler's thread may hold

    def close(self) -> None:
        """Close the descriptors, if it cannot `run`."""
        self._pool.shutdown(wait=False)
        self._link.close()

    def run(self, open_backend: Callable[[], Backend]) -> None:
        """Serve.

        Args:
            open_backend: Opens the host. If that fails, the client gets the error.

        Raises:
            ConnectFailed: No thread can be started.
        """
        try:
            self._link.send_raw(GREETING)
            self._link.start(self._on_message, self._on_end, "pyxen-serve")
            if not self._greeted():
                return
            try:
                backend = self._backend = open_backend()
            except (Error, OSError) as error:
                self._refuse(error)
                return
            with contextlib.closing(backend):
                try:
                    self._welcome(backend)
                    self._watch()
                finally:
                    self._wind_up()
        finally:
            self._pool.shutdown(wait=False, cancel_futures=True)
            self._link.close()
            self._share.close()

    def _greeted(self) -> bool:
        end = time.monotonic() + _TO_GREET
        while self._hello is None and self._link.ended is None and time.monotonic() < end:
            self._changed.wait(_TICK)
        if self._hello is None:
            return False
        self._changed.clear()
        if self._hello.protocol != PROTOCOL:
            here, there = f"pyxen {VERSION} on the host", f"pyxen {self._hello.version} here"
            older = here if self._hello.protocol > PROTOCOL else there
            message = f"{here} speaks protocol {PROTOCOL}, {there} protocol {self._hello.protocol}: update {older}"
            self._refuse(ConnectFailed(message))
            return False
        return True

    def _refuse(self, error: Exception) -> None:
        self._link.send(Refused(failure_of(error), VERSION))
        self._link.finish(_TO_SEND)

    def _welcome(self, backend: Backend) -> None:
        policy = self._policy
        features = tuple(sorted(backend.features - {Feature.LIBVIRT}))
        if Feature.XENSTORE in backend.features:
            self._store = ServedStore(backend.xenstore())
        verbs = tuple(sorted(policy.verbs))
        self._claims = ServedClaims(backend.claims)
        self._link.send(
            Welcome(PROTOCOL, VERSION, backend.name, features, verbs, policy.read_only, limited_by=policy.source)
        )

    def _watch(self) -> None:
        """Report progress until the client says goodbye, or is gone."""
        while self._link.ended is None and not self._bye:
            self._changed.wait(_TICK)
            with self._lock:
                reporting: list[ServedCall | Subscription] = [*self._calls.values(), *self._subscriptions.values()]
            for each in reporting:
                each.report()
            if time.monotonic() - self._link.heard > _SILENCE:
                self._link.end("the client gives no sign of life")

    def _wind_up(self) -> None:
        """Stop what is going on, undo what did not arrive, and end the link."""
        if not self._bye:
            self._streams.close()
        with self._lock:
            calls, questions = list(self._calls.values()), list(self._asked.values())
        for question in questions:
            question.answer(ConnectFailed("the link to the client is gone"))
        for call in calls:
            call.stop("closed" if self._bye else "cancelled")
        end = time.monotonic() + _TO_UNDO
        while self._going() and time.monotonic() < end:
            time.sleep(0.01)
        if self._bye:
            grace = time.monotonic() + _TO_SEND
            while self._calls and self._link.ended is None and time.monotonic() < grace:
                time.sleep(0.01)
        self._streams.close()
        with self._lock:
            left = list(self._calls.values())
        for call in left:
            call.undo()
        if self._claims is not None:
            self._claims.close()
        self._link.finish(_TO_SEND)

    def _going(self) -> bool:
        with self._lock:
            return any(call.made is None for call in self._calls.values())

    # The rest runs on the link's thread

    def _admit(self, size: int) -> bool:
        """Wait until there is room for a message, and say meanwhile that this end is there."""
        if size <= MOST_SHORT:
            return True
        while not self._share.take(size, _TICK):
            if self._link.ended is not None:
                return False
            self._link.answer_ping()
            self._link.heard = time.monotonic()  # nothing is read meanwhile: that it is silent is our doing
        self._admitted = size
        return True

    def _on_end(self, _: str) -> None:
        self._share.give(self._admitted)  # of a message that was not read to its end
        self._changed.set()

    def _on_message(self, message: Any) -> None:
        if self._hello is None:
            if not isinstance(message, Hello):
                raise Malformed("the first message is not a greeting")
            self._link.most_frame = self._policy.most_frame
            self._hello = message
            self._changed.set()
        elif isinstance(message, Call):
            self._begin(message)
            self._link.wait_for_room(BACKLOG)
        else:
            self._take(message)
            self._share.give(self._admitted)
            self._admitted = 0

    def _take(self, message: Any) -> None:
        match message:
            case Data() | Credit() | End() | Drained() | Snap():
                self._streams.take(message)
            case Cancel():
                self._cancel(message)
            case Kept():
                self._keep(message.id)
            case Reply():
                self._replied(message)
            case Ping():
                self._link.answer_ping()
            case Pong():
                pass
            case Bye():
                self._bye = True
                self._changed.set()
            case _:
                raise Malformed(f"{type(message).__name__} is not expected here")

    def _begin(self, message: Call) -> None:
        if message.id <= self._last or self._backend is None:
            raise Malformed("the number of a call is not larger than that of the last one")
        self._last = message.id
        admitted, self._admitted = self._admitted, 0
        call = ServedCall(self._link, message.id, message.verb, self._ended)
        with self._lock:
            full = len(self._calls) >= MOST_CALLS
            if not full:
                self._calls[message.id] = call
        held = 0 if admitted else len(message.arguments)
        with self._room:
            self._held += held
        try:
            if full:
                raise OperationFailed(f"{MOST_CALLS} calls are going on: wait for one first", operation=message.verb)
            if self._bye:
                raise ConnectFailed(f"{message.verb}: the host is being closed")
            carry_out = partial(self._carry_out, call, message, held, admitted)
            submitted(self._pool, carry_out, OperationFailed, message.verb)
        except Error as error:
            self._let_go(held, admitted)
            call.fail(error)
        with self._room:
            self._room.wait_for(lambda: self._held < _MOST_HELD or self._link.ended is not None)

    def _cancel(self, message: Cancel) -> None:
        with self._lock:
            call = self._calls.get(message.id)
        if call is not None:
            call.stop(message.reason if message.reason in {"timeout", "closed"} else "cancelled")
        else:  # its answer has not arrived: the client has stopped to wait
            self._shut(message.id)

    def _keep(self, number: int) -> None:
        with self._lock:
            call = self._calls.get(number)
            if call is None or call.made is None:
                return
            call.made = None
            del self._calls[number]
        self._link.send(Settled(number))

    def _replied(self, message: Reply) -> None:
        with self._lock:
            question = self._asked.get(message.id)
        if question is not None:
            refusal = None if message.failure is None else error_of(message.failure)
            question.answer(refusal, allowed=message.allowed)

    def _ended(self, number: int) -> None:
        with self._lock:
            call = self._calls.get(number)
            if call is not None and call.made is None:
                del self._calls[number]

    # The rest runs on the threads of the pool

    def _let_go(self, held: int, admitted: int) -> None:
        """Note that the arguments of a call take no memory any more."""
        self._share.give(admitted)
        with self._room:
            self._held -= held
            self._room.notify_all()

    def _carry_out(self, call: ServedCall, message: Call, held: int, admitted: int) -> None:
        self._link.wait_for_room(BACKLOG)
        try:
            verb = self._allowed(message.verb)
            by_place, by_name = verb_of(verb).loads(message.arguments)
            if call.stopped is not None:
                raise OperationFailed("stopped before it began", operation=verb)
            special = self._special.get(verb)
            if special is not None:
                special(call, *by_place, **by_name)
            else:
                self._plainly(call, verb, by_place, by_name)
        except Malformed as error:
            call.fail(unknown_argument(message.verb, error))
        except BaseException as error:  # noqa: BLE001 (the client gets it)
            if not isinstance(error, (Error, OSError, ValueError)):
                _LOG.exception("%s failed unexpectedly", message.verb)
            call.fail(error)
        finally:
            self._let_go(held, admitted)

    def _allowed(self, verb: str) -> str:
        if verb not in VERBS:
            message = f"{verb[:100]}: pyxen {VERSION} on the host does not know this: update it there"
            raise UnsupportedFeature(message, feature=verb[:100])
        if verb not in self._policy.verbs:
            raise NotPrivileged(f"{verb}: this way to the host does not allow it, see {self._policy.source}")
        return verb

    def _plainly(self, call: ServedCall, name: str, by_place: list[Any], by_name: dict[str, Any]) -> None:
        verb = verb_of(name)
        if by_name.get("clear") and not self._policy.all:
            raise NotPrivileged(f"{name}: this way to the host does not clear, see {self._policy.source}")
        result = getattr(self._owner(name), name)(*by_place, **by_name)
        shown = self._policy.shown
        if verb.takes_time:
            undo = self._undo_of(name)
            call.follow(result, verb.result, undo=undo, shown=shown)
        else:
            self._answer(call, verb.result, shown(result))

    def _owner(self, verb: str) -> Any:
        """Return what has a verb as its method."""
        if verb.startswith("store_"):
            if self._store is None:
                self._backend.xenstore()  # says why not
            return self._store
        return self._claims if verb.startswith("claims_") else self._backend

    def _open(self, call: ServedCall) -> None:
        """Open a transaction or a set of claims. Its number is that of the call, by which a client can give it up."""
        getattr(self._owner(call.verb), call.verb)(call.number)
        self._answer(call, verb_of(call.verb).result, call.number)
        call.on_stop(lambda _: self._shut(call.number))

    def _shut(self, number: int) -> None:
        """Shut what a call has opened, if it has, on a thread that may wait."""
        for each in (self._store, self._claims):
            if each is not None and each.has(number):
                with contextlib.suppress(OperationFailed):  # no thread is left: the end of the link does it
                    submitted(self._pool, partial(each.shut, number), OperationFailed, "cancel")

    def _answer(self, call: ServedCall, codec: Codec, result: Any = None) -> None:
        self._link.send(Answer(call.number, encoded(result, codec)))
        self._ended(call.number)

    def _undo_of(self, verb: str) -> Callable[[Any], object] | None:
        if verb in _UNDOABLE:
            return lambda ref: self._backend.destroy(ref, timeout=None).wait()
        if verb == "create_cpupool":
            return lambda pool: self._backend.destroy_cpupool(pool).wait()
        return None

    def _remove_orphans(self, call: ServedCall) -> None:
        remove_orphans(self._backend)
        self._answer(call, verb_of("remove_orphans").result, True)

    def _restore(self, call: ServedCall, path: str, config: DomainConfig | None, **how: Any) -> None:
        operation = self._backend.restore(path, config, **self._asking(call, how))
        call.follow(operation, verb_of("restore").result, undo=self._undo_of("restore"))

    def _asking(self, call: ServedCall, how: dict[str, Any]) -> dict[str, Any]:
        """Return arguments with a function in the place of the flag whether to ask the client."""
        return {**how, "allow": self._question(call, how.get("timeout")) if how["allow"] else None}

    def _question(self, call: ServedCall, timeout: float | None) -> Allow:
        end = time.monotonic() + (_TO_DECIDE if timeout is None else min(timeout, _TO_DECIDE))

        def allow(config: DomainConfig) -> bool:
            question = Question()
            with self._lock:
                self._asked[call.number] = question
            call.on_stop(lambda _: question.answer(None, allowed=False))
            self._link.send(Ask(call.number, encoded(self._policy.shown(config), codec_of(DomainConfig))))
            if self._link.ended is not None:
                question.answer(ConnectFailed("the link to the client is gone"))
            try:
                return question.wait(max(0.0, end - time.monotonic()))
            finally:
                with self._lock:
                    self._asked.pop(call.number, None)

        return allow

    def _room_for_stream(self, verb: str) -> None:
        if len(self._streams) >= MOST_STREAMS:
            raise InvalidArgument(f"{MOST_STREAMS} consoles and transfers are open: close one first", operation=verb)

    def _restore_over(self, call: ServedCall, config: DomainConfig | None, **how: Any) -> None:
        self._room_for_stream("restore")
        ours, theirs = pair()
        try:
            stream = self._streams.open(call.number, sink=ours, serves=True, own=True)
            try:
                operation = self._backend.restore_over(theirs, config, **self._asking(call, how))
            except BaseException:
                stream.close()
                raise
        finally:
            os.close(theirs)
        call.follow(operation, verb_of("restore_over").result, undo=self._undo_of("restore_over"), ends=stream.close)

    def _save_over(self, call: ServedCall, domain: Any, **how: Any) -> None:
        self._room_for_stream("save")
        ours, theirs = pair()
        try:
            stream = self._streams.open(call.number, source=ours, serves=True, own=True)
            try:
                operation = save_over(self._backend, domain, theirs, stream, **how)
            except BaseException:
                stream.close()
                raise
        finally:
            os.close(theirs)
        call.follow(operation, verb_of("save_over").result, ends=stream.close)

    def _converse(self, call: ServedCall, *by_place: Any, **how: Any) -> None:
        """Carry out a verb that talks to another host over the client's descriptors."""
        verb = call.verb
        self._room_for_stream(verb)
        ours, theirs = pair()

        def begin() -> Operation[Any]:
            if verb == "receive_migration":
                operation = self._backend.receive_migration(theirs, theirs, **self._asking(call, how))
            else:
                domain, *rest = by_place
                operation = getattr(self._backend, verb)(domain, theirs, theirs, *rest, **how)
            return operation  # type: ignore[no-any-return]  # a backend of any kind

        try:
            stream = self._streams.open(call.number, both=ours, serves=True, own=True)
            try:
                operation = spoken_out(begin, stream)
            except BaseException:
                stream.close()
                raise
        finally:
            os.close(theirs)
        call.follow(operation, verb_of(verb).result)

    def _console(self, call: ServedCall, *which: Any) -> None:
        self._room_for_stream("console")
        fd = self._backend.console(*which)
        self._streams.open(call.number, both=fd, serves=True, own=True, as_one=True, flush=_TO_FLUSH)
        self._answer(call, verb_of("console").result)

    def _await_console(self, call: ServedCall, uuid: Any, creating: int) -> None:
        with self._lock:
            other = self._calls.get(creating)
        operation = None if other is None or other.verb not in _UNDOABLE else other.operation
        if operation is None:
            raise InvalidArgument("the domain is not being created any more", operation="await_console")
        call.follow(self._backend.await_console(uuid, operation), verb_of("await_console").result)

    def _subscribe(self, call: ServedCall) -> None:
        subscription = Subscription(self._link, call.number, codec_of(Event), events_lost)
        stop = self._backend.subscribe(subscription.put, functools.partial(self._over, call.number, subscription))
        self._subscribed(call, subscription, stop)

    def _store_watch(self, call: ServedCall, paths: Sequence[str]) -> None:
        subscription = Subscription(self._link, call.number, codec_of(NodeChange), lambda _: nodes_lost(paths))
        over = functools.partial(self._over, call.number, subscription)
        stop = self._backend.xenstore().watch(list(paths), subscription.put, over)
        self._subscribed(call, subscription, stop)

    def _subscribed(self, call: ServedCall, subscription: Subscription, stop: Callable[[], None]) -> None:
        with self._lock:
            self._subscriptions[call.number] = subscription
        self._link.send(Answer(call.number, encoded(None, codec_of(None))))
        call.on_stop(lambda _: self._unsubscribe(call, stop))

    def _unsubscribe(self, call: ServedCall, stop: Callable[[], None]) -> None:
        stop()
        with self._lock:
            self._subscriptions.pop(call.number, None)
        self._ended(call.number)

    def _over(self, number: int, subscription: Subscription, error: Error | None = None) -> None:
        with self._lock:
            self._subscriptions.pop(number, None)
        subscription.end(error)
        self._ended(number)

    def _qmp_events(self, call: ServedCall, domain: Any, *, timeout: float | None) -> None:
        subscription = Subscription(self._link, call.number, codec_of(QmpEvent), qmp_events_lost)
        over = functools.partial(self._over, call.number, subscription)
        operation = self._backend.qmp_events(domain, subscription.put, over, timeout=timeout)
        with self._lock:
            self._subscriptions[call.number] = subscription

        def running(ended: Operation[Any]) -> None:
            if ended.exception() is None:
                call.on_stop(ended.result().stop)

        operation.add_done_callback(running)
        call.follow(operation, codec_of(None), shown=lambda _: None)
