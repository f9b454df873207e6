"""Starting threads for the asyncio face, at any time, also while the program ends."""

from __future__ import annotations

import contextlib
import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from queue import Empty, SimpleQueue
from typing import Final, TypeAlias

from pyxen._common.shortage import shortage
from pyxen.errors import OperationFailed

__all__ = ["NO_THREAD", "Daemons", "start"]

NO_THREAD: Final = "cannot start a thread"

_Inbox: TypeAlias = SimpleQueue[Callable[[], object] | None]

_IDLE_SECONDS: Final = 10.0
"""How long a thread waits for another call."""


def start(thread: threading.Thread, what: str = NO_THREAD) -> None:
    """Start a thread.

    Raises:
        OperationFailed: It cannot be started; or the interpreter ends. Python then throws `GeneratorExit` into what
            still waits, and would wait for ever for a thread to begin.
    """
    if sys.is_finalizing():
        raise OperationFailed(f"{what}: the program ends")
    with shortage(OperationFailed, what):
        thread.start()


class Daemons:
    """Threads for calls that may never end, such as users' functions. They do not keep the program from ending.

    Python waits at exit for the threads of a `ThreadPoolExecutor`, without a bound. It waits for ever for one that it
    does not know because Ctrl-C came while it was started.

    Args:
        most: How many calls are made at the same time. The others wait for their turn.
        name: The name of the threads.
    """

    def __init__(self, most: int, name: str) -> None:
        self._most, self._name = most, name
        self._waiting: deque[Callable[[], object]] = deque()
        """Calls that no thread has yet."""
        self._idle: list[_Inbox] = []
        """Where threads that have nothing to do wait for a call."""
        self._threads: set[threading.Thread] = set()
        self._ended = False
        # Reentrant: garbage collection may end a coroutine, which makes a call, on the thread that has it.
        self._gate = threading.RLock()

    def submit(self, call: Callable[[], object], /) -> None:
        """Have a thread make a call, which handles its own errors. Use `pyxen._common.shortage.submitted`.

        Raises:
            OperationFailed: No thread can be started for it.
        """
        inbox: _Inbox = SimpleQueue()
        inbox.put(call)  # a thread keeps its arguments until it ends
        thread = threading.Thread(target=self._run, args=(inbox,), name=self._name, daemon=True)
        with self._gate:  # nothing is made here: a collection would begin where others wait for the gate
            if self._idle:
                self._idle.pop().put(call)
                return
            if len(self._threads) >= self._most:
                self._waiting.append(call)
                return
            self._threads.add(thread)
        try:
            start(thread)
        except BaseException:
            if not thread.is_alive():  # Ctrl-C may come when it has begun
                self._threads.discard(thread)
            raise

    def end(self, seconds: float = 0.0) -> None:
        """Let the threads end when no call is left, and wait for them.

        Args:
            seconds: How long to wait.
        """
        latest = time.monotonic() + seconds
        with self._gate:
            self._ended = True
            while self._idle:
                self._idle.pop().put(None)
        for thread in self._threads.copy() - {threading.current_thread()}:
            with contextlib.suppress(RuntimeError):  # it was not started
                thread.join(max(0.0, latest - time.monotonic()))

    def _run(self, inbox: _Inbox) -> None:
        while call := self._next(inbox):
            call()
            del call  # it is not kept while there is no other

    def _next(self, inbox: _Inbox) -> Callable[[], object] | None:
        """Return the next call of this thread, or None if the thread is to end: it then counts no more."""
        thread = threading.current_thread()
        with self._gate:
            if inbox.empty():
                if self._waiting:
                    return self._waiting.popleft()
                if self._ended:
                    self._threads.discard(thread)
                    return None
                self._idle.append(inbox)
        try:
            call = inbox.get(timeout=_IDLE_SECONDS)
        except Empty:
            call = None
        if call is not None:
            return call
        with self._gate:  # a call may have come just now
            if inbox in self._idle:
                self._idle.remove(inbox)
            call = None if inbox.empty() else inbox.get_nowait()
            if call is None and self._waiting:
                call = self._waiting.popleft()
            if call is None:
                self._threads.discard(thread)
        return call
