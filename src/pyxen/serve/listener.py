"""Serving many programs of this machine over a socket: ``pyxen serve --socket``."""

from __future__ import annotations

import contextlib
import os
import select
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from pyxen._common.shield import logger
from pyxen._common.shortage import shortage
from pyxen.backends.base import Backend
from pyxen.backends.remote.failures import failure_of
from pyxen.backends.remote.link import framed
from pyxen.backends.remote.messages import GREETING, MOST_FRAME, VERSION, Refused
from pyxen.errors import ConnectFailed, Error, NotPrivileged, OperationFailed
from pyxen.serve.budget import Budget, Share
from pyxen.serve.peers import Peer, peer_of, why_not
from pyxen.serve.server import Server
from pyxen.serve.settings import Settings

__all__ = ["MOST_CLIENTS", "MOST_OF_USER", "MOST_STREAMS_OF_USER", "Listener"]

_LOG: Final = logger("pyxen.serve")
MOST_CLIENTS: Final = 64
"""The most clients that are served at once."""
MOST_OF_USER: Final = 32
"""The most clients of one user, so that none takes the place of all others."""
MOST_STREAMS_OF_USER: Final = 128
"""The most consoles and transfers of one user: each may have `WINDOW` bytes here that are not written yet."""
_TO_END: Final = 330.0  # seconds for what clients have going to be undone
_NOT_NOW: Final = "pyxen on the host can serve no more clients now"
_SHORTAGE: Final = 1.0  # seconds until the next try to accept a client, if there are no descriptors


@dataclass(frozen=True, slots=True, eq=False)
class _Client:
    peer: Peer
    server: Server
    thread: threading.Thread


class Listener:
    """Accepts clients, and serves each over a link of its own.

    Args:
        listening: The socket. The caller closes it.
        settings: Who may connect, and what they may do.
        open_backend: Opens the host, for each client.
    """

    def __init__(self, listening: socket.socket, settings: Settings, open_backend: Callable[[], Backend]) -> None:
        self._listening, self._settings, self._open = listening, settings, open_backend
        self._lock = threading.Lock()
        self._waking = threading.RLock()  # a signal's handler may take it while its own thread has it
        self._clients: set[_Client] = set()
        self._budget = Budget(each=MOST_FRAME)
        self._streams = Budget(2 * MOST_STREAMS_OF_USER, MOST_STREAMS_OF_USER)
        self._refused: set[int] = set()
        with shortage(OperationFailed, "cannot begin to serve"):
            self._wake = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        listening.setblocking(False)

    def __len__(self) -> int:
        return len(self._clients)

    def end(self) -> None:
        """Have `run` return; any thread and a signal's handler may call it."""
        with self._waking:
            if self._wake >= 0:
                os.eventfd_write(self._wake, 1)

    def run(self) -> None:
        """Accept clients until `end` is called."""
        poller = select.poll()
        poller.register(self._wake, select.POLLIN)
        poller.register(self._listening, select.POLLIN)
        while not any(fd == self._wake for fd, _ in poller.poll()):
            self._accept()

    def wind_up(self) -> None:
        """End the links of all clients, and wait until what they have going is stopped and undone. Call it once."""
        with self._lock:
            left = list(self._clients)
        for client in left:
            client.server.end("the server was told to end")
        end = time.monotonic() + _TO_END
        for client in left:
            client.thread.join(max(0.0, end - time.monotonic()))
        with self._waking:
            wake, self._wake = self._wake, -1
            os.close(wake)

    def _accept(self) -> None:
        try:
            link, _ = self._listening.accept()
        except (BlockingIOError, ConnectionAbortedError):
            return
        except OSError as error:
            _LOG.error("cannot accept a client: %s", error.strerror)
            time.sleep(_SHORTAGE)
            return
        with link:
            try:
                peer = peer_of(link)
            except OSError as error:
                _LOG.error("a client whose user is not known: %s", error.strerror)
                return
            try:
                self._check(peer)
                self._serve(peer, link)
            except Error as error:
                self._tell(peer, error)
                _refuse(link, error)
            except OSError as error:
                _LOG.error("cannot serve a client: %s", error)

    def _tell(self, peer: Peer, error: Error) -> None:
        """Log why a client is refused, once for each user: none can fill the log."""
        if peer.uid not in self._refused:
            self._refused.add(peer.uid)
            _LOG.warning("%s", error)

    def _check(self, peer: Peer) -> None:
        reason = why_not(peer, self._settings)
        if reason is not None:
            raise NotPrivileged(reason)
        with self._lock:
            of_user = Counter(client.peer.uid for client in self._clients)
        if of_user.total() >= MOST_CLIENTS:
            raise ConnectFailed(f"{MOST_CLIENTS} clients are connected, and no more are served: try again later")
        if of_user[peer.uid] >= MOST_OF_USER:
            raise ConnectFailed(f"{peer.name} has {MOST_OF_USER} connections, and may have no more: close one first")

    def _serve(self, peer: Peer, link: socket.socket) -> None:
        with shortage(ConnectFailed, _NOT_NOW):
            fd = os.dup(link.fileno())
        share, streams = Share(self._budget, peer.uid), Share(self._streams, peer.uid)
        server = Server(fd, fd, policy=self._settings.policy, share=share, streams=streams)  # it closes the descriptor

        def run() -> None:
            try:
                server.run(self._open)
            except ConnectFailed as error:
                _LOG.error("cannot serve a client: %s", error)
            finally:
                with self._lock:
                    self._clients.discard(client)

        client = _Client(peer, server, threading.Thread(target=run, name="pyxen-serve-client", daemon=True))
        with self._lock:
            self._clients.add(client)
        try:
            with shortage(ConnectFailed, _NOT_NOW):
                client.thread.start()
        except BaseException:
            with self._lock:
                self._clients.discard(client)
            server.close()
            raise


def _refuse(link: socket.socket, error: Error) -> None:
    """Say why a client is not served, without waiting for it."""
    with contextlib.suppress(OSError):
        link.setblocking(False)
        link.send(GREETING + framed(Refused(failure_of(error), VERSION)))
