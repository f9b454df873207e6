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
    """Open a host.

    Args:
        uri: ``xenlight:///``, the default, is the machine that this runs on, through libxl. ``memory:///`` is a host in
            this process, for tests. ``xenlight:///driver`` is a driver domain, from inside: it need not be a control
            domain, and all it can do is `Host.devd`. What libvirt connects to is a host through libvirt:
            ``xen:///system``, ``xen+ssh://root@host/system``, ``test:///default``. Other packages may add schemes of
            theirs, at the entry points ``pyxen.backends``: functions that take the URI and return a
            `pyxen.backends.base.Backend`.
        workers: For ``xenlight:///``: processes beside this one that create and destroy domains, begun when there is
            first something to do for them. libxl forks for that, which is slow in a large process. With several,
            creates overlap as far as the machine has CPUs. With 0 all is done in this process.

    Raises:
        InvalidArgument: There cannot be as many workers.
        NotOnXen: This machine is not a control domain of Xen.
        NotPrivileged: This user may not control it.
        BindingNotBuilt: pyxen was built without the extension for the running Xen.
        LibraryMissing: The extension is there, but Xen's libraries are not; or libvirt's are not.
        ConnectFailed: The host does not answer.
        UnsupportedFeature: The URI is of a kind that pyxen does not know.
    """
    return Connecting(_open(uri, workers))


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
