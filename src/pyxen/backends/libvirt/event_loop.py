"""libvirt's event loop: one per process, on its own thread, started before the first connection is opened."""

from __future__ import annotations

import atexit
import os
import threading
import weakref
from typing import Protocol

from pyxen._common.shortage import shortage
from pyxen._common.still_open import still_open
from pyxen.backends.libvirt.binding import VirError, api, silence
from pyxen.errors import ConnectFailed

__all__ = ["begin", "close_at_exit"]

_lock = threading.Lock()
_begun_by: int | None = None
_ending = threading.Event()
_open: weakref.WeakSet[Closeable] = weakref.WeakSet()


class Closeable(Protocol):
    """Something that is closed before Python exits."""

    def close(self) -> None: ...


def close_at_exit(what: Closeable) -> None:
    """Close something before Python exits, if it still exists: later, its threads would already be gone."""
    _open.add(what)


def begin() -> None:
    """Start the loop, unless it already runs.

    libvirt has one loop per process. If the application registered its own, libvirt uses that, and this one idles.

    Raises:
        ConnectFailed: Its thread cannot be started.
    """
    global _begun_by  # noqa: PLW0603 (libvirt's loop is the process's)
    with _lock:
        if _begun_by == os.getpid():
            return
        silence()
        api.virEventRegisterDefaultImpl()
        thread = threading.Thread(target=_run, name="pyxen-libvirt-loop", daemon=True)
        with shortage(ConnectFailed, "cannot start a thread for libvirt"):
            thread.start()
        atexit.register(_end, thread)
        _begun_by = os.getpid()


def _after_fork_in_child() -> None:
    """Begin without a loop: the thread of the parent is not here, and may have held the locks."""
    global _lock, _ending
    _lock, _ending = threading.Lock(), threading.Event()


os.register_at_fork(after_in_child=_after_fork_in_child)


def _run() -> None:
    # Without a timeout the loop would sleep forever if nothing is registered, and never notice that it should end.
    api.virEventAddTimeout(1000, lambda *_: None, None)
    while not _ending.is_set():
        try:
            api.virEventRunDefaultImpl()
        except VirError:
            return


def _end(thread: threading.Thread) -> None:
    """Stop the loop before Python exits: a callback after that would crash."""
    if os.getpid() == _begun_by:
        for what in still_open(_open):
            what.close()
        _ending.set()
        api.virEventAddTimeout(0, lambda *_: None, None)
        thread.join(2)
