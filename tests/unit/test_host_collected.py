"""A host that nobody closed, and that is collected in the middle of something."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from pyxen.host import Host


class Backend:
    """What a host needs to be made and let go of."""

    uri = "fake:///"

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.closed = threading.Event()

    def close(self) -> None:
        with self.lock:
            self.closed.set()


def test_who_collects_it_waits_for_nothing() -> None:
    backend: Any = Backend()
    host = Host(backend)
    with backend.lock, pytest.warns(ResourceWarning, match="<Host fake:///> was never closed"):  # under its own lock
        del host
    assert backend.closed.wait(10)
