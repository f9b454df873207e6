"""What holds for all tests that need no Xen."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from pyxen.backends.xenlight.xenstore.connection import Connection
from tests import hypothesis_profile
from tests.unit.peers import End, PeerCommand
from tests.unit.xenstored import Xenstored
from tests.waiting import join

hypothesis_profile.load()


@pytest.fixture(autouse=True)
def no_override(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let connections go to the xenstored that the test names, whatever this machine's environment says."""
    monkeypatch.delenv("XENSTORED_PATH", raising=False)


@pytest.fixture
def talk() -> Iterator[Callable[..., End]]:
    """Return a function that begins a conversation with a peer, which has a thread, and gives the end of ours."""
    ends: list[End] = []
    threads: list[threading.Thread] = []

    def begin(peer: PeerCommand, **options: Any) -> End:
        ours, theirs = socket.socketpair()

        def run() -> None:
            with theirs, contextlib.suppress(ConnectionError):  # we may hang up before it has said all
                peer(theirs)

        threads.append(threading.Thread(target=run))
        threads[-1].start()
        ends.append(End(ours, **options))
        return ends[-1]

    yield begin
    for end in ends:
        end.close()
    for thread in threads:
        join(thread)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Xenstored]:
    """A xenstored in this process."""
    server = Xenstored(tmp_path)
    yield server
    server.close()


@pytest.fixture
def connection(server: Xenstored) -> Iterator[Connection]:
    """A connection to it."""
    connection = Connection(sockets=[server.path], devices=())
    yield connection
    connection.close()
