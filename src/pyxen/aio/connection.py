"""`connect`: from a URI to a host for asyncio."""

from __future__ import annotations

from collections.abc import Awaitable, Coroutine, Generator
from contextlib import AbstractAsyncContextManager
from types import TracebackType
from typing import Any

from pyxen import connection
from pyxen.aio._calls import Calls
from pyxen.aio.host import Host

__all__ = ["Connecting", "connect"]


class Connecting(Awaitable[Host], AbstractAsyncContextManager[Host]):
    """What `connect` returns: ``host = await connect()``, or ``async with connect() as host``, which closes it too."""

    def __init__(self, opening: Coroutine[Any, Any, Host]) -> None:
        self._opening = opening
        self._host: Host | None = None

    def __await__(self) -> Generator[Any, Any, Host]:
        return self._opening.__await__()

    async def __aenter__(self) -> Host:
        self._host = await self
        return self._host

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._host is not None:
            await self._host.close()


def connect(uri: str = "xenlight:///", *, workers: int = 1) -> Connecting:
    return Connecting(_open(uri, workers))


connect.__doc__ = connection.connect.__doc__


async def _open(uri: str, workers: int) -> Host:
    calls = Calls()
    try:
        backend = await calls.acquire(
            lambda: connection.open_backend(uri, workers), give_back=lambda backend: backend.close()
        )
    except BaseException:
        calls.release()
        raise
    return Host(backend, calls)
