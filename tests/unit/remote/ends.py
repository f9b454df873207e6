"""The two ends of a link, joined by pipes, and one of them played by a test."""

from __future__ import annotations

import contextlib
import os
import select
import struct
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, Final

import msgspec

import pyxen
from pyxen import Host
from pyxen.backends.remote.backend import RemoteBackend
from pyxen.backends.remote.client import Client
from pyxen.backends.remote.link import Link
from pyxen.backends.remote.messages import GREETING, PROTOCOL, FromServer, Hello, Welcome
from pyxen.backends.remote.verbs import VERBS
from pyxen.connection import open_backend
from pyxen.features import Feature
from pyxen.serve.policy import ALL, Policy
from pyxen.serve.server import Server
from tests.waiting import SECONDS

__all__ = ["SECONDS", "Far", "Served", "client_to", "far_client", "far_server", "served", "until", "usual_welcome"]

URI: Final = "xenlight+ssh://there/"


class Silent:
    """A way that says nothing of its own."""

    def why(self, reason: str) -> str:
        return reason

    def close(self) -> None:
        """Do nothing."""


def client_to(read_fd: int, write_fd: int) -> Client:
    return Client(Link(read_fd, write_fd, FromServer), Silent(), "there")


class Served:
    """A host behind a server.

    Attributes:
        host: The host, as the client has it.
        there: The same host in this process.
        cut: Cuts the link.
    """

    def __init__(self, uri: str, *, policy: Policy = ALL) -> None:
        to_server, from_client = os.pipe()
        to_client, from_server = os.pipe()
        self._relays = [Relay(to_server), Relay(to_client)]
        there, here = (relay.read_fd for relay in self._relays)
        self.server = Server(there, from_server, policy=policy)
        self._thread = threading.Thread(target=self.server.run, args=[partial(open_backend, uri, 1)])
        self._thread.start()
        self.client = client_to(here, from_client)
        self.host = Host(RemoteBackend(self.client, URI))
        self.there = pyxen.connect(uri)

    def cut(self) -> None:
        """Cut the link: each end finds the end of what it reads, and nothing that is sent from now on arrives."""
        for relay in self._relays:
            relay.cut()

    def ended(self) -> bool:
        """Tell whether the server ends in time."""
        self._thread.join(SECONDS)
        return not self._thread.is_alive()

    def close(self) -> None:
        self.host.close()
        self.there.close()
        assert self.ended()
        self.cut()


class Relay:
    """What stands between the two ends, for one direction, so that a test can cut it."""

    def __init__(self, source: int) -> None:
        self.read_fd, self._sink = os.pipe()
        self._source = source
        self._wake, self._stop = os.pipe()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def cut(self) -> None:
        """Cut it, and return when it is cut. Calling it again does nothing."""
        stop, self._stop = self._stop, -1
        if stop >= 0:
            os.close(stop)  # its thread finds the end of what it waits for, too, and closes the rest
        self._thread.join(SECONDS)
        assert not self._thread.is_alive()

    def _run(self) -> None:
        poller = select.poll()
        for fd in (self._source, self._wake):
            poller.register(fd, select.POLLIN)
        with contextlib.suppress(OSError):
            while True:
                ready = [fd for fd, _ in poller.poll()]
                data = os.read(self._source, 1 << 16) if ready == [self._source] else b""
                if not data:
                    break
                while data:
                    data = data[os.write(self._sink, data) :]
        for fd in (self._source, self._sink, self._wake):
            os.close(fd)


@contextlib.contextmanager
def served(uri: str, *, policy: Policy = ALL) -> Iterator[Served]:
    """Have a host behind a server."""
    found = Served(uri, policy=policy)
    try:
        yield found
    finally:
        found.close()


class Far:
    """An end of a link that a test plays."""

    def __init__(self, read_fd: int, write_fd: int, incoming: Any) -> None:
        self.read_fd, self.write_fd = read_fd, write_fd
        self._decoder = msgspec.msgpack.Decoder(incoming)
        self._buffer = b""

    def say(self, *messages: Any) -> None:
        for message in messages:
            data = msgspec.msgpack.encode(message)
            self.write(struct.pack(">I", len(data)) + data)

    def write(self, data: bytes) -> None:
        with contextlib.suppress(BrokenPipeError):
            while data:
                data = data[os.write(self.write_fd, data) :]

    def hear(self) -> Any:
        """Return the next message; None at the end."""
        while True:
            if len(self._buffer) >= 4:
                (size,) = struct.unpack_from(">I", self._buffer)
                if len(self._buffer) >= 4 + size:
                    frame, self._buffer = self._buffer[4 : 4 + size], self._buffer[4 + size :]
                    return self._decoder.decode(frame)
            if not select.select([self.read_fd], [], [], SECONDS)[0]:
                raise AssertionError("nothing was said in time")
            data = os.read(self.read_fd, 1 << 16)
            if not data:
                return None
            self._buffer += data

    def hear_first(self, count: int) -> bytes:
        data = b""
        while len(data) < count:
            more = os.read(self.read_fd, count - len(data))
            if not more:
                break
            data += more
        return data

    def close(self) -> None:
        for fd in {self.read_fd, self.write_fd} - {-1}:
            os.close(fd)
        self.read_fd = self.write_fd = -1


@contextlib.contextmanager
def far_server(play: Callable[[Far], None], *, welcome: Welcome | None = None) -> Iterator[tuple[int, int]]:
    """Have a server that a test plays, after the usual beginning; returns the descriptors for a client."""
    from pyxen.backends.remote.messages import FromClient

    to_server, from_client = os.pipe()
    to_client, from_server = os.pipe()
    far = Far(to_server, from_server, FromClient)

    def run() -> None:
        try:
            if welcome is not None:
                far.write(GREETING)
                assert isinstance(far.hear(), Hello)
                far.say(welcome)
            play(far)
        finally:
            far.close()

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield to_client, from_client
    finally:
        thread.join(SECONDS)
        assert not thread.is_alive()


def usual_welcome(**changes: Any) -> Welcome:
    features = tuple(feature.value for feature in Feature)
    found = Welcome(PROTOCOL, pyxen.__version__, "xenlight (Xen 4.20)", features, VERBS)
    return msgspec.structs.replace(found, **changes)


@contextlib.contextmanager
def far_client(uri: str = "memory:///", *, policy: Policy = ALL) -> Iterator[Far]:
    """Have a client that a test plays, before its first message."""
    to_server, from_client = os.pipe()
    to_client, from_server = os.pipe()
    server = Server(to_server, from_server, policy=policy)
    thread = threading.Thread(target=server.run, args=[partial(open_backend, uri, 1)])
    thread.start()
    far = Far(to_client, from_client, FromServer)
    try:
        assert far.hear_first(len(GREETING)) == GREETING
        yield far
    finally:
        far.close()
        thread.join(SECONDS)
        assert not thread.is_alive()


def until(what: Callable[[], bool]) -> None:
    """Wait until something is so."""
    end = time.monotonic() + SECONDS
    while not what():
        assert time.monotonic() < end
        time.sleep(0.01)
