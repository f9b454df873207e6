"""A QEMU that answers as a test wants it to."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pyxen import Domain, Host
from tests.offhost.host import OffHost, until
from tests.offhost.internals import find_qemus_in

if TYPE_CHECKING:
    import pytest

__all__ = ["EVENT", "GREETING", "READY", "Qemu", "qemu_of", "returned"]

GREETING = b'{"QMP": {"version": {}, "capabilities": ["oob"]}}\r\n'
EVENT = b'{"timestamp": {"seconds": 1, "microseconds": 2}, "event": "RESUME"}\r\n'
READY = b'{"return": {}, "id": "pyxen"}\r\n'

Behaviour = Callable[[socket.socket], None]


class Qemu:
    """The QEMU of a domain: it serves one client after the other, and each as it is told.

    Attributes:
        domain: The domain.
        heard: The commands that it has read.
    """

    def __init__(self, domain: Domain, path: Path) -> None:
        self.domain = domain
        self.heard: list[dict[str, Any]] = []
        self._behaviour: Behaviour = lambda _: None
        self._server = socket.socket(socket.AF_UNIX)
        self._server.bind(str(path))
        self._server.listen(1)
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def does(self, behaviour: Behaviour) -> None:
        """Treat the next clients this way."""
        self._behaviour = behaviour

    def answers(self, *parts: bytes) -> None:
        """Greet, be ready, and answer the command with these parts."""

        def talk(client: socket.socket) -> None:
            client.sendall(GREETING + EVENT)
            lines = client.makefile("rb")
            self.heard.append(json.loads(lines.readline()))
            client.sendall(EVENT + READY)
            self.heard.append(json.loads(lines.readline()))
            for part in parts:
                client.sendall(part)
            lines.readline()

        self.does(talk)

    def _serve(self) -> None:
        while True:
            try:
                client, _ = self._server.accept()
            except OSError:
                return
            with client, contextlib.suppress(OSError, ValueError):  # the client may hang up at any time
                self._behaviour(client)

    def end(self) -> None:
        """End it as if it were killed: its socket stays in the file system."""
        self._server.shutdown(socket.SHUT_RDWR)
        self._thread.join(10)
        self._server.close()
        assert not self._thread.is_alive()


@contextlib.contextmanager
def qemu_of(host: Host, offhost: OffHost, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Qemu]:
    """Give a new domain a QEMU; it is there as long as it is needed."""
    find_qemus_in(monkeypatch, folder)
    domid = offhost.add("web", kind="pvh")
    offhost.store.write(f"/local/domain/0/device-model/{domid}/state", "running")
    qemu = Qemu(host.domains[domid], folder / f"qmp-libxenstat-{domid}")
    try:
        yield qemu
    finally:
        qemu.end()
    until(lambda: all(thread.name != "pyxen-qmp" for thread in threading.enumerate()), "a thread of QMP goes on")


def returned(value: Any) -> bytes:
    """Return an answer."""
    return json.dumps({"return": value, "id": "pyxen"}).encode() + b"\r\n"
