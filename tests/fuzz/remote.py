"""The two ends of a link to a remote host, each with a peer that says anything."""

from __future__ import annotations

import os
import threading
from contextlib import suppress
from typing import Any, Final

import msgspec

from pyxen.backends.remote.client import Client
from pyxen.backends.remote.link import Link
from pyxen.backends.remote.messages import GREETING, FromClient, FromServer
from pyxen.backends.remote.values import Malformed
from pyxen.backends.remote.verbs import VERBS, verb_of
from pyxen.connection import open_backend
from pyxen.errors import Error
from pyxen.serve.server import Server

__all__ = ["call", "from_client", "from_server"]

_SECONDS: Final = 20.0
_CLIENT: Final[Any] = msgspec.msgpack.Decoder(FromClient)
_SERVER: Final[Any] = msgspec.msgpack.Decoder(FromServer)


class _Silent:
    def why(self, reason: str) -> str:
        return reason

    def close(self) -> None:
        pass


def call(data: bytes) -> None:
    """Read the arguments of a call, whose verb the first byte chooses, and a message of either end."""
    verb = verb_of(VERBS[(data[0] if data else 0) % len(VERBS)])
    with suppress(Malformed):
        verb.loads(msgspec.Raw(data[1:]))
    for decoder in (_CLIENT, _SERVER):
        with suppress(msgspec.MsgspecError, ValueError, RecursionError):
            decoder.decode(data)


def from_client(data: bytes) -> None:
    """Serve a client that sends these bytes, and then ends."""
    (to_server, from_us), (to_us, from_server) = os.pipe(), os.pipe()
    server = Server(to_server, from_server)
    thread = threading.Thread(target=server.run, args=[lambda: open_backend("memory:///", 1)])
    thread.start()
    with suppress(BrokenPipeError):
        os.write(from_us, data[:60_000])
    os.close(from_us)
    while os.read(to_us, 1 << 16):
        pass
    os.close(to_us)
    thread.join(_SECONDS)
    assert not thread.is_alive(), "the server does not end"


def from_server(data: bytes) -> None:
    """Connect to a server that greets, sends these bytes, and then ends."""
    (to_server, from_us), (to_us, from_server) = os.pipe(), os.pipe()
    os.write(from_server, (GREETING + data)[:60_000])
    os.close(from_server)
    client = None
    try:
        client = Client(Link(to_us, from_us, FromServer), _Silent(), "there")
        client.ask("list")
    except (Error, OSError, ValueError, TypeError):  # a server may say of a call that it failed so
        pass
    finally:
        os.close(to_server)
        if client is not None:
            client.close()
