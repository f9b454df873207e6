"""A lock for the tasks of any loops, in the process that made it."""

from __future__ import annotations

import os
import threading
from collections import deque
from concurrent.futures import Future
from types import TracebackType

from pyxen._asyncio import done
from pyxen.errors import HostClosed

__all__ = ["TaskLock"]


class TaskLock:
    """A lock for ``async with``, which tasks get in their order.

    A lock of asyncio belongs to one loop. It would also stay locked for ever in the child of a fork. A task whose loop
    was closed under it holds the lock until it is garbage-collected.
    """

    def __init__(self) -> None:
        self._waiting: deque[Future[None]] = deque()
        self._held = False
        self._gate = threading.RLock()  # garbage collection may end a holder on the thread that has the gate
        self._pid = os.getpid()

    @property
    def inherited(self) -> bool:
        """Whether it belongs to the parent of this process, whose tasks do not run here."""
        return os.getpid() != self._pid

    def check(self) -> None:
        """Check that it belongs to this process.

        Raises:
            HostClosed: It does not.
        """
        if self.inherited:
            raise HostClosed("the host was opened before a fork: open it again")

    async def __aenter__(self) -> None:
        self.check()
        turn: Future[None] = Future()
        self._waiting.append(turn)
        self._give()
        if turn.done():
            return
        try:
            await done(turn)
        except BaseException:
            if not turn.cancel():  # it has just been given
                self._release()
            raise

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._release()

    def _release(self) -> None:
        if not self.inherited:
            with self._gate:
                self._held = False
                self._give()

    def _give(self) -> None:
        """Give the lock to the task that has waited longest, if it is free."""
        with self._gate:
            while self._waiting and not self._held:
                turn = self._waiting.popleft()
                self._held = True  # first: the task that gets it may give it back at once
                if turn.set_running_or_notify_cancel():
                    turn.set_result(None)
                else:
                    self._held = False
