"""The kernel of domain 0, as far as devices need it: backends that are there as soon as libxl has made their nodes."""

from __future__ import annotations

import os
import re
import select
import threading

from tests.offhost.store import SocketStore, StoreError

__all__ = ["Backends"]

_BACKEND = "/local/domain/0/backend"
_DEVICE = re.compile(rf"{_BACKEND}/(\w+)/(\d+)/(\d+)/(state|online)$")
_OF_OTHERS = ("console",)  # xenconsoled's
_INITIALISING, _WAITING, _CLOSING, _CLOSED = "1", "2", "5", "6"


class Backends:
    """They answer libxl on a thread: a new device is waited for, one that is to go is gone.

    Args:
        socket: xenstored's.
    """

    def __init__(self, socket: str | os.PathLike[str]) -> None:
        self._store = SocketStore(socket)
        self._store.watch(_BACKEND, "backends")
        self._end, self._told = os.pipe()
        self._thread = threading.Thread(target=self._run, name="backends", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """End them."""
        os.close(self._told)
        self._thread.join(10)
        os.close(self._end)
        self._store.close()

    def _run(self) -> None:
        while True:
            ready, _, _ = select.select([self._store.fileno(), self._end], [], [])
            if self._end in ready:
                return
            try:
                while (event := self._store.event(timeout=0)) is not None:
                    self._look(event[0])
            except ConnectionError:
                return  # xenstored is gone, and all devices with it

    def _look(self, path: str) -> None:
        device = _DEVICE.match(path)
        if device is None or device[1] in _OF_OTHERS:
            return
        transaction = self._store.begin()  # libxl may remove the nodes meanwhile, and nothing is to come of it then
        try:
            self._answer(path.rsplit("/", 1)[0], transaction)
        except StoreError:
            self._store.end(transaction, commit=False)
            return
        try:
            self._store.end(transaction)
        except StoreError as error:
            if error.args[0] != "EAGAIN":
                raise
            self._look(path)

    def _answer(self, folder: str, transaction: int) -> None:
        state = self._store.read(f"{folder}/state", transaction)
        online = self._store.read(f"{folder}/online", transaction)
        if state == _INITIALISING and online == "1":
            self._store.write(f"{folder}/hotplug-status", "connected", transaction)
            self._store.write(f"{folder}/state", _WAITING, transaction)
        elif state == _CLOSING or (online == "0" and state not in {_CLOSED, _INITIALISING}):
            self._store.write(f"{folder}/state", _CLOSED, transaction)
