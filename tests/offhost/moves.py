"""Domains that move from a pretended host to itself, with both ends in this process, and what becomes of them."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Iterator, Sequence
from typing import Any

import pyxen
from pyxen import Domain, Host, Operation, RemusOptions
from pyxen.errors import Error, MigrationInDoubt, OperationCancelled

__all__ = ["OPTIONS", "Ends", "Sender", "migrate", "replicate", "replicate_to_nobody"]

Ends = Sequence[socket.socket]
"""A connection's ends, that of the source first. They are made before calls fail, and whoever uses them closes them."""

_AWAY = "--migratedaway"
_BANNER = b"xl migration receiver ready, send binary domain data.\n"
_RECEIVED = b"domain received, ready to unpause\0"
_GO = b"domain is yours, you are cleared to unpause\0"
_ENOUGH = 60.0  # seconds in which each end has ended, on a busy machine
OPTIONS = RemusOptions(interval=0.02, netbuf=False, diskbuf=False, allow_unsafe=True)
"""How a domain is replicated."""
_CHECKPOINTS = 2


class Sender:
    """The source of a migration, on a thread that is there before calls fail; it has nothing of pyxen's.

    Args:
        saved: The file of a saved domain, which is what a source sends.

    Attributes:
        end: The other end of its connection.
    """

    def __init__(self, saved: bytes) -> None:
        self._saved = saved
        self._own, self.end = socket.socketpair()
        self._own.settimeout(_ENOUGH)
        self._thread = threading.Thread(target=self._send, name="sender", daemon=True)
        self._thread.start()

    def _send(self) -> None:
        with self._own, contextlib.suppress(OSError):  # the receiver may hang up at any time
            self._await(_BANNER)
            self._own.sendall(self._saved)
            self._await(_RECEIVED)
            self._own.sendall(_GO)
            while self._own.recv(4096):
                pass

    def _await(self, words: bytes) -> None:
        said = b""
        while said != words:
            data = self._own.recv(len(words) - len(said))
            if not data:
                raise ConnectionResetError
            said += data

    def close(self) -> None:
        """Hang up."""
        self.end.close()
        self._thread.join(_ENOUGH)
        assert not self._thread.is_alive(), "the sender waits for the receiver, which has ended"


@contextlib.contextmanager
def _arriving(host: Host, there: socket.socket, *, remus: bool, timeout: float) -> Iterator[Operation[Domain]]:
    """Begin to receive a domain; in the end, that has ended too."""
    with there:
        operation = host.begin.receive_migration(there.fileno(), there.fileno(), remus=remus, timeout=timeout)
    try:
        yield operation
    finally:
        error = operation.exception(_ENOUGH)
        assert error is None or isinstance(error, Error), error


def migrate(host: Host, domain: Domain, ends: Ends, *, timeout: float) -> None:
    """Migrate a domain, and do what an error says. Afterwards the domain is there once, under its name.

    Raises:
        Error: The domain has not moved, and is where it was.
    """
    here, there = ends
    name = domain.info().name
    failed: Error | None = None
    with here, _arriving(host, there, remus=False, timeout=timeout) as arriving:
        try:
            domain.migrate_over(here.fileno(), here.fileno(), timeout=timeout)
        except Error as error:
            failed = error
        here.close()
    arrived = arriving.exception() is None
    if failed is not None:
        _follow(failed, domain, str(name), arrived=arrived)
        if not arrived:
            raise failed
    assert arrived, f"the source says that the domain runs there, and the destination: {arriving.exception()}"


def _follow(error: Error, domain: Domain, name: str, *, arrived: bool) -> None:
    """Do what an error of the source's says."""
    if arrived:
        assert isinstance(error, MigrationInDoubt) or "destroy it" in str(error), f"the domain runs there, but: {error}"
        domain.destroy(timeout=20)
    elif isinstance(error, MigrationInDoubt):
        domain.rename(name)
        domain.resume()
    found = domain.info().name if not arrived else name
    # A xenstored that was replaced meanwhile knows no names.
    assert found in {name, None} or f"{name}{_AWAY}" in str(error), f"it is named {found}, but: {error}"


def replicate(host: Host, domain: Domain, ends: Ends, *, timeout: float) -> None:
    """Replicate a domain for two checkpoints, then call the backup off. Afterwards the domain is there alone.

    Raises:
        Error: It was not replicated so long.
    """
    here, there = ends
    with here, _arriving(host, there, remus=True, timeout=timeout) as arriving:
        begun: list[Operation[None]] = []
        try:
            begun.append(domain.begin.remus_over(here.fileno(), here.fileno(), OPTIONS, timeout=timeout))
        finally:
            here.close()
        failed = _end_after_checkpoints(begun[0])
    if arriving.exception() is None:
        # It was told that the source may be lost, and runs: one of both has to go, as the error says.
        assert isinstance(failed, pyxen.BackupLost) or "may run there too" in str(failed), failed
        arriving.result().destroy(timeout=20)
    if failed is not None:
        raise failed


def replicate_to_nobody(domain: Domain, *, timeout: float) -> None:
    """Replicate a domain to nowhere for two checkpoints. Errors are those of `replicate`."""
    failed = _end_after_checkpoints(domain.begin.remus(None, OPTIONS, timeout=timeout))
    if failed is not None:
        raise failed


def _end_after_checkpoints(operation: Operation[None]) -> Error | None:
    """Cancel a replication after some checkpoints, and return how it has failed before that."""
    end = time.monotonic() + _ENOUGH
    while not operation.done() and time.monotonic() < end:
        progress: Any = operation.progress
        if progress is not None and int(progress[0].split()[1]) >= _CHECKPOINTS:
            break
        time.sleep(0.001)
    operation.cancel()
    error = operation.exception(_ENOUGH)
    assert error is not None, "it has ended without an error"
    if isinstance(error, OperationCancelled):
        return None
    assert isinstance(error, Error), error
    return error
