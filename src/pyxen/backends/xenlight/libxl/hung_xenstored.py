"""What ends calls of libxl's that wait for a xenstored that hangs.

libxl waits for each of xenstored's answers without a bound, and under the lock around libxl. So a thread looks, while
operations run and while libxl is opened, whether a call takes long. If it does, and xenstored does not answer this
thread either, the connection of that ``libxl_ctx`` is shut down: the call fails, and the ``libxl_ctx`` is replaced as
after a restart of xenstored.
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
from pyxen.backends.xenlight.libxl.sockets import connections, is_open_elsewhere, replace_by_null, sockets
from pyxen.backends.xenlight.xenstore.connection import answers, silent
from pyxen.backends.xenlight.xenstore.turns import Turns

__all__ = ["WATCH", "Lifeline", "Watched"]

_LONG: Final = 2.0  # seconds that a call may take before xenstored is asked whether it answers
_PAUSE: Final = 1.0  # seconds between looks
_OPENING: Final = 20.0  # seconds in which libxl opens, or what it waits for has been cut off


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
        self._gate = threading.RLock()  # reentrant: a signal handler may open a host, too
        self._thread: threading.Thread | None = None
        self.opening = Turns(_OPENING)
        """The turns of threads that have libxl open a connection."""

    def add(self, watched: Watched) -> None:
        """Begin to look at something."""
        with self._gate:
            self._watched.add(watched)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="pyxen-hung-xenstored", daemon=True)
                try:
                    self._thread.start()
                except BaseException:
                    self._thread = None
                    raise

    def remove(self, watched: Watched) -> None:
        """Stop looking at something."""
        with self._gate:
            self._watched.discard(watched)
        self._wake.set()

    def begun(self) -> None:
        """Tell that something that is looked at has become busy."""
        self._wake.set()

    def _run(self) -> None:
        try:
            while self._goes_on():
                self._wake.wait()
                self._wake.clear()
                while self._is_busy():
                    time.sleep(_PAUSE)
                    shielded(self._look)
        finally:
            with self._gate:
                if self._thread is threading.current_thread():
                    self._thread = None  # whatever ended it, the next that is looked at starts another one

    def _goes_on(self) -> bool:
        """Tell whether the thread is still needed."""
        with self._gate:
            if not self._watched and self._thread is threading.current_thread():
                self._thread = None
            return self._thread is threading.current_thread()

    def _all(self) -> list[Watched]:
        with self._gate:  # none is added meanwhile, which would end the iteration
            return list(self._watched)

    def _is_busy(self) -> bool:
        return any(watched.busy for watched in self._all())

    def _look(self) -> None:
        late = [watched for watched in self._all() if _is_late(watched)]
        if late and not answers():
            for watched in late:
                if _is_late(watched):
                    watched.cut_off()


def _is_late(watched: Watched) -> bool:
    return any(lib.pyxen_lock_held(thread) >= _LONG * 1000 for thread in watched.callers())


class Lifeline:
    """The connection of a ``libxl_ctx`` to xenstored: a duplicate of its socket, by which it can be shut down.

    There is none where xenstored is in a domain of its own, which is reached through the kernel.
    """

    def __init__(self) -> None:
        self._socket: socket.socket | None = None
        self._peer: str | None = None
        self._known: set[int] = set()
        self._opener: int | None = None
        self._was_late = False

    @contextlib.contextmanager
    def found(self, peer: str | None) -> Iterator[None]:
        """Find the one connection to xenstored, whose address is `peer`, that libxl opens in the block.

        Raises:
            ConnectFailed: xenstored did not answer, and what libxl had opened was shut down.
            OSError: This process may have no more descriptors.
        """
        with WATCH.opening.taken():  # so that no other `libxl_ctx` opens a connection in the block
            self._peer, self._known, self._was_late = peer, sockets() if peer else set(), False
            self._opener = threading.get_ident()
            try:
                WATCH.add(self)
                WATCH.begun()
                yield
                opened = self._opened()
            finally:
                self._opener = None
                WATCH.remove(self)
            self.close()  # the one before it, which libxl has lost
            self._socket = opened
            if self._was_late:
                raise silent()

    def _opened(self) -> socket.socket | None:
        """Return a duplicate of the connection that libxl has opened; None if it is not known which one it is."""
        if self._peer is None:
            return None
        found: list[socket.socket] = []
        try:
            for duplicate in connections(lambda address: address == self._peer, self._known):
                # pyxen's own connections have timeouts, for which Python makes them non-blocking; libxl's block.
                if os.get_blocking(duplicate.fileno()):
                    found.append(duplicate)
                else:
                    duplicate.close()
            return found.pop() if len(found) == 1 else None
        finally:
            for duplicate in found:
                duplicate.close()

    @property
    def busy(self) -> bool:
        """Whether libxl may be opening the connection."""
        return self._opener is not None

    def callers(self) -> Iterable[int]:
        """Return the thread that has libxl open the connection."""
        opener = self._opener
        return () if opener is None else (opener,)

    def cut_off(self) -> None:
        """Shut down the connection that is being opened: no answer to its first requests comes."""
        self._was_late = True
        opened = self._opened()
        if opened is not None:
            with opened:
                _shut_down(opened)

    def cut(self) -> None:
        """Shut the connection down: whatever waits for an answer fails."""
        if self._socket is not None:
            _shut_down(self._socket)

    def let_go(self) -> bool:
        """Shut the connection down if libxl has closed it, and tell whether it has. This does not wait for anything.

        libxl does so when it could not send a request. The duplicate keeps the connection open, and so does the thread
        of libxl's that reads from it. xenstored would wait for the rest of the request, and 4.17's serves nobody else
        until it comes.
        """
        with contextlib.suppress(OSError):  # no more descriptors, or no /proc
            if self._socket is not None and not is_open_elsewhere(self._socket):
                _shut_down(self._socket)
                return True
        return False

    def close(self) -> None:
        """Shut down the connection, which libxl has closed, and close the duplicate.

        A child of a fork may still have libxl's descriptor. xenstored would go on to queue events for it.
        """
        self.cut()
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def forked(self) -> None:
        """Close the copy of the connection in the child of a fork, with which its watches would outlive the parent.

        libxl is not used in the child any more, but has kept the number of its descriptor.
        """
        if self._socket is None:
            return
        inode = os.fstat(self._socket.fileno()).st_ino
        self._socket.close()
        self._socket = None
        with contextlib.suppress(OSError):  # no more descriptors, or no /proc
            replace_by_null(inode)


def _shut_down(connection: socket.socket) -> None:
    with contextlib.suppress(OSError):  # xenstored is gone
        connection.shutdown(socket.SHUT_RDWR)


WATCH: Final = _Watch()
"""Looks at all contexts of this process."""


os.register_at_fork(after_in_child=WATCH.forked)
