"""libvirt's event loop: one for the process, on a thread of its own, begun before the first connection is opened."""

from __future__ import annotations

import atexit
import os
import threading
import weakref
from typing import Protocol

from pyxen.backends.libvirt.binding import VirError, api, silence

__all__ = ["begin", "close_at_exit"]

_lock = threading.Lock()
_begun_by: int | None = None
_ending = threading.Event()
_open: weakref.WeakSet[Closeable] = weakref.WeakSet()


class Closeable(Protocol):
    """What is closed before Python ends."""

    def close(self) -> None: ...


def close_at_exit(what: Closeable) -> None:
    """Have something closed when Python ends, if it still is there then: later, threads of its own would be gone."""
    _open.add(what)


def begin() -> None:
    """Begin the loop, if it does not run yet.

    libvirt knows one loop. Where the application has registered its own, libvirt keeps to that, and this one idles.
    """
    global _begun_by  # noqa: PLW0603 (libvirt's loop is the process's)
    with _lock:
        if _begun_by == os.getpid():
            return
        silence()
        api.virEventRegisterDefaultImpl()
        thread = threading.Thread(target=_run, name="pyxen-libvirt-loop", daemon=True)
        thread.start()
        atexit.register(_end, thread)
        _begun_by = os.getpid()


def _run() -> None:
    # Without a timeout the loop would sleep for ever when nothing is registered, and never see that it has to end.
    api.virEventAddTimeout(1000, lambda *_: None, None)
    while not _ending.is_set():
        try:
            api.virEventRunDefaultImpl()
        except VirError:
            return


def _end(thread: threading.Thread) -> None:
    """End the loop before Python ends: a callback after that would crash."""
    if os.getpid() == _begun_by:
        for what in list(_open):
            what.close()
        _ending.set()
        api.virEventAddTimeout(0, lambda *_: None, None)
        thread.join(2)
