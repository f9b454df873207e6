"""Awaiting the calls that run programs of the host. They have no operation of a backend, but a thread each."""

from __future__ import annotations

import asyncio
import atexit
import contextvars
import functools
import os
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from concurrent.futures import wait as wait_for
from typing import Any, Final, ParamSpec, TypeVar

from pyxen._asyncio import done
from pyxen._common.owner_thread import OwnerThread
from pyxen._common.stopping import Stop, stoppable
from pyxen.aio._threads import NO_THREAD, start

__all__ = ["awaited"]

P = ParamSpec("P")
T = TypeVar("T")

END_SECONDS: Final = 30.0
"""Seconds that the end of the process waits for calls to undo what they have made."""

_RUNNING: Final[dict[Future[Any], Stop]] = {}
"""The calls that run, by their answers."""


def awaited(call: Callable[P, T], module: str) -> Callable[P, Coroutine[Any, Any, T]]:
    """Return a function that awaits a blocking call; it belongs to a module of the asyncio face.

    If the task is cancelled, the program that the call runs is ended, and the task goes on when the call has undone
    what it had made. A second cancel does not wait for that.
    """

    @functools.wraps(call)
    async def wait(*args: P.args, **kwargs: P.kwargs) -> T:
        stop, answer = Stop(), Future[T]()

        def run() -> None:
            try:
                with stoppable(stop):
                    answer.set_result(call(*args, **kwargs))
            except BaseException as error:  # noqa: BLE001 (it is raised in the task)
                answer.set_exception(error)
            finally:
                _RUNNING.pop(answer, None)

        name = getattr(call, "__name__", "call")
        work = functools.partial(contextvars.copy_context().run, run)
        thread = OwnerThread(work, lambda: _RUNNING.pop(answer, None), name=f"pyxen-{name}")
        _RUNNING[answer] = stop
        try:
            start(thread, f"{name}: {NO_THREAD}")
        except BaseException:  # Ctrl-C may come when it has begun
            stop.request()
            raise
        try:
            await done(answer)
        except asyncio.CancelledError:
            stop.request()
            await done(answer)
            raise
        except BaseException:  # the loop ends before the task: nothing can be awaited here
            stop.request()
            raise
        return answer.result()

    wait.__module__ = module
    return wait


def _stop_all() -> None:
    running = dict(_RUNNING)
    for stop in running.values():
        stop.request()
    wait_for(running, timeout=END_SECONDS)


# At exit: the loop may have ended before its tasks, and the threads end with the process, whatever they have made.
atexit.register(_stop_all)
os.register_at_fork(after_in_child=_RUNNING.clear)
