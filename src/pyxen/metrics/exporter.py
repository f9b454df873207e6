"""An HTTP server that Prometheus scrapes."""

from __future__ import annotations

import contextlib
import os
import socket
import threading
import time
from socketserver import TCPServer, ThreadingMixIn
from types import TracebackType
from typing import Any, Final, Self
from urllib.parse import urlsplit
from weakref import WeakSet

from prometheus_client import CollectorRegistry, MetricsHandler

from pyxen._common.shield import logger
from pyxen._common.shortage import REMEDY, is_shortage, shortage
from pyxen.errors import InvalidArgument, OperationFailed
from pyxen.metrics.collector import HostCollector

__all__ = ["Exporter", "address_of"]

_LOG = logger(__name__)

_SEND_SECONDS: Final = 30
"""How long a client may take to receive the answer."""

_ASK_SECONDS: Final = 10
"""How long a client may take to send its request."""

_MOST_CLIENTS: Final = 32
"""How many clients are served at once."""

_LEAVE_SECONDS: Final = 2.0
"""How long the thread of a client that was let go may take to end."""

_SHORTAGE: Final = 1.0
"""Seconds until the next try to accept a client, if there are no descriptors."""

_MOST_PORTS: Final = 65535

_PAGE: Final = b"<!DOCTYPE html><title>pyxen exporter</title><p>Metrics of a Xen host: <a href=/metrics>/metrics</a>\n"


def address_of(text: str) -> tuple[str, int]:
    """Return address and port of a text such as ``127.0.0.1:9813`` or ``[::1]:9813``.

    Raises:
        InvalidArgument: It is something else.
    """
    address, colon, port = text.rpartition(":")
    bare = address[1:-1] if address.startswith("[") and address.endswith("]") else address
    ambiguous = ":" in bare and bare == address
    if not colon or not bare or ambiguous or not (port.isascii() and port.isdigit()) or int(port) > _MOST_PORTS:
        raise InvalidArgument(
            f"{text!r} is not an address to listen on: write 127.0.0.1:9813, or [::1]:9813 for IPv6",
            operation="exporter",
        )
    return bare, int(port)


class Exporter:
    """Serves the metrics of a collector at ``/metrics``, in Prometheus' format or OpenMetrics, as the client asks.

    ::

        with HostCollector("xenlight:///") as collector, Exporter(collector) as exporter:
            print(exporter.url)

    It listens from the start, and serves on threads of its own until it is closed. It has neither TLS nor a password:
    put a proxy in front of it before it leaves the machine. It serves at most 32 clients at once. One more takes the
    place of the one that has been sending its request for the longest; where all wait for their answer, it is let go. A
    request may take 10 seconds.

    In the child of a fork it serves nobody, and closing it does nothing: the parent serves on at the same address.

    Args:
        collector: Where the metrics come from. It is not closed.
        address: Where to listen: a name or an address.
        port: The port; 0 takes a free one.

    Raises:
        OSError: It cannot listen there.
        OperationFailed: This process may have no more descriptors or threads.
    """

    def __init__(self, collector: HostCollector, address: str = "127.0.0.1", port: int = 9813) -> None:
        self._pid = os.getpid()
        registry = CollectorRegistry()
        registry.register(collector)
        family, _, _, _, place = socket.getaddrinfo(address, port, type=socket.SOCK_STREAM)[0]

        class Handler(_Handler):
            pass

        Handler.registry = registry
        try:
            self._server = _Server(family, (str(place[0]), port), Handler)
        except OSError as error:
            if is_shortage(error):
                raise OperationFailed(f"exporter: cannot listen: {error}: {REMEDY}") from error
            raise
        self._thread = threading.Thread(target=self._server.serve_forever, name="pyxen-exporter", daemon=True)
        try:
            with shortage(OperationFailed, "exporter: cannot start a thread"):
                self._thread.start()
        except BaseException:
            self._server.server_close()
            raise
        _LISTENING.add(self._server.socket)

    def __repr__(self) -> str:
        return f"<Exporter {self.url}>"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    @property
    def port(self) -> int:
        """The port on which it listens."""
        return int(self._server.server_address[1])

    @property
    def url(self) -> str:
        """Where the metrics are."""
        address = str(self._server.server_address[0])
        return f"http://{f'[{address}]' if ':' in address else address}:{self.port}/metrics"

    def close(self) -> None:
        """Stop to serve. Calling it again does nothing."""
        if self._pid != os.getpid():
            return  # the thread belongs to the parent
        _LISTENING.discard(self._server.socket)
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


_LISTENING: Final[WeakSet[socket.socket]] = WeakSet()


def _after_fork_in_child() -> None:
    """Do not hold what the parent listens to: when it has closed that, clients would wait for nobody."""
    for listening in list(_LISTENING):
        listening.close()
    _LISTENING.clear()


os.register_at_fork(after_in_child=_after_fork_in_child)


class _Server(ThreadingMixIn, TCPServer):  # http.server's asks the DNS for the name of the address first
    """Serves each client on a thread, and few at once: silent ones must not take all descriptors of the process."""

    allow_reuse_address = True
    daemon_threads = True
    request_queue_size = 64

    def __init__(self, family: int, address: tuple[str, int], handler: type[MetricsHandler]) -> None:
        self.address_family = family
        self._changed = threading.Condition()
        self._clients: dict[socket.socket, float | None] = {}  # since when each has been asking; None once it has asked
        super().__init__(address, handler)

    def get_request(self) -> tuple[socket.socket, Any]:
        try:
            return super().get_request()
        except OSError as error:
            if is_shortage(error):  # the client still waits, so the server would ask again at once
                time.sleep(_SHORTAGE)
            raise

    def process_request(self, request: Any, client_address: Any) -> None:
        if self._has_place(request):
            super().process_request(request, client_address)
        else:
            self.shutdown_request(request)

    def _has_place(self, request: socket.socket) -> bool:
        """Give a new client a place, if need be that of the one that has been sending its request for the longest."""
        with self._changed:
            if len(self._clients) >= _MOST_CLIENTS:
                oldest = next((each for each, since in self._clients.items() if since is not None), None)
                if oldest is not None:
                    _hang_up(oldest)
                    self._changed.wait_for(lambda: len(self._clients) < _MOST_CLIENTS, _LEAVE_SECONDS)
            if len(self._clients) >= _MOST_CLIENTS:
                return False
            self._clients[request] = time.monotonic()
            return True

    def has_asked(self, request: socket.socket) -> None:
        """Note that a client's request has come."""
        with self._changed:
            self._clients[request] = None

    def service_actions(self) -> None:
        """Hang up on the clients that take too long to ask. The server calls this about twice a second."""
        with self._changed:
            limit = time.monotonic() - _ASK_SECONDS
            for request in [each for each, since in self._clients.items() if since is not None and since < limit]:
                _hang_up(request)

    def shutdown_request(self, request: Any) -> None:
        super().shutdown_request(request)
        with self._changed:
            self._clients.pop(request, None)
            self._changed.notify_all()

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ARG002 (its signature is socketserver's)
        _LOG.debug("a client could not be served", exc_info=True)  # mostly one that has hung up


def _hang_up(request: socket.socket) -> None:
    """Have the thread that serves a client end."""
    with contextlib.suppress(OSError):
        request.shutdown(socket.SHUT_RDWR)


class _Handler(MetricsHandler):
    timeout = _SEND_SECONDS

    def do_GET(self) -> None:  # noqa: N802 (http.server's name)
        if isinstance(self.server, _Server):
            self.server.has_asked(self.connection)
        path = urlsplit(self.path).path
        if path == "/metrics":
            super().do_GET()
        elif path == "/":
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.send_header("Content-Length", str(len(_PAGE)))
            self.end_headers()
            self.wfile.write(_PAGE)
        else:
            self.send_error(404, "the metrics are at /metrics")
