"""Hosts and domains for asyncio: the names of `pyxen`, awaited.

The loop is never blocked: what only looks runs on a thread, what takes time is an operation of the backend, and both
are awaited. Cancelling a task, or `asyncio.timeout`, cancels its operation, waits until what that had begun is undone,
and then raises `asyncio.CancelledError`; a second cancel does not wait, and the rest is undone all the same. A domain
whose `Host.create` or `Host.restore` was cancelled too late to stop it is destroyed, since nobody has its handle.
"""

from __future__ import annotations

from pyxen.aio.connection import connect
from pyxen.aio.domain import Domain
from pyxen.aio.domains import Domains
from pyxen.aio.eventreader import EventReader
from pyxen.aio.host import Host

__all__ = ["Domain", "Domains", "EventReader", "Host", "connect"]
