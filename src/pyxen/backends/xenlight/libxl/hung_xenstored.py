"""What ends calls of libxl's that wait for a xenstored that hangs.

libxl waits for each of xenstored's answers without a bound, and under the lock around libxl. So a thread looks, while
operations run, whether a call takes long. If it does, and xenstored does not answer this thread either, the connection
of that ``libxl_ctx`` is shut down: the call fails, and the ``libxl_ctx`` is replaced as after a restart of xenstored.
"""

from __future__ import annotations

import contextlib
import os
import socket
import threading
import time
import weakref
from collections.abc import Iterable, Iterator
from typing import Final, Protocol

from pyxen._common.shield import shielded
from pyxen.backends.xenlight.libxl.binding import lib
from pyxen.backends.xenlight.libxl.sockets import connections, descriptors
from pyxen.backends.xenlight.xenstore.connection import answers

__all__ = ["WATCH", "Lifeline", "Watched"]

_LONG: Final = 2.0  # seconds that a call may take before xenstored is asked whether it answers
_PAUSE: Final = 1.0  # seconds between looks


class Lifeline:
    """The connection of a ``libxl_ctx`` to xenstored: a duplicate of its socket, by which it can be shut down.

    There is none where xenstored is in a domain of its own, which is reached through the kernel.
    """

    def __init__(self) -> None:
        self._socket: socket.socket | None = None

    @contextlib.contextmanager
    def found(self, peer: str | None) -> Iterator[None]:
        """Find the one socket to xenstored, whose address is `peer`, that is opened in the block."""
        before = descriptors()
        yield
        self.close()
        found = list(connections(descriptors() - before, lambda address: address == peer))
        if len(found) == 1:
            [self._socket] = found
            return
        for duplicate in found:
            duplicate.close()

    def cut(self) -> None:
        """Shut the connection down: whatever waits for an answer fails."""
        if self._socket is not None:
            with contextlib.suppress(OSError):  # xenstored is gone
                self._socket.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Close the duplicate."""
        if self._socket is not None:
            self._socket.close()


class Watched(Protocol):
    """What makes calls of libxl's."""

    @property
    def busy(self) -> bool:
        """Whether it may be in a call."""

    def callers(self) -> Iterable[int]:
        """Return the threads that make its calls, by `threading.get_ident`."""

    def cut_off(self) -> None:
        """Shut its connection to xenstored down."""


class _Watch:
    """The thread that looks. It sleeps while nothing is carried out, and ends with the last that is looked at."""

    def __init__(self) -> None:
        self.forked()

    def forked(self) -> None:
        """Begin with nothing, in the child of a fork too: there the thread is the parent's, and a lock may be held."""
        self._watched: weakref.WeakSet[Watched] = weakref.WeakSet()
        self._wake = threading.Event()
        self._gate = threading.Lock()
        self._thread: threading.Thread | None = None

    def add(self, watched: Watched) -> None:
        """Begin to look at something."""
        with self._gate:
            self._watched.add(watched)
            if self._thread is None:
                thread = threading.Thread(target=self._run, name="pyxen-hung-xenstored", daemon=True)
                thread.start()
                self._thread = thread

    def remove(self, watched: Watched) -> None:
        """Stop looking at something."""
        with self._gate:
            self._watched.discard(watched)
        self._wake.set()

    def begun(self) -> None:
        """Tell that something that is looked at has become busy."""
        self._wake.set()

    def _run(self) -> None:
        while True:
            self._wake.wait()
            self._wake.clear()
            while self._is_busy():
                time.sleep(_PAUSE)
                shielded(self._look)
            with self._gate:
                if not self._watched:
                    self._thread = None
                    return

    def _is_busy(self) -> bool:
        return any(watched.busy for watched in list(self._watched))

    def _look(self) -> None:
        late = [watched for watched in list(self._watched) if _is_late(watched)]
        if late and not answers():
            for watched in late:
                if _is_late(watched):
                    watched.cut_off()


def _is_late(watched: Watched) -> bool:
    return any(lib.pyxen_lock_held(thread) >= _LONG * 1000 for thread in watched.callers())


WATCH: Final = _Watch()
"""Looks at all contexts of this process."""


os.register_at_fork(after_in_child=WATCH.forked)
