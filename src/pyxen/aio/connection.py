"""`connect`, which opens an asyncio host by its URI."""

from __future__ import annotations

from collections.abc import Awaitable, Coroutine, Generator
from contextlib import AbstractAsyncContextManager
from types import TracebackType
from typing import Any

from pyxen import connection
from pyxen.aio._calls import Calls
from pyxen.aio.host import Host
from pyxen.connection import AnyXlConf

__all__ = ["Connecting", "connect", "open_host"]


class Connecting(Awaitable[Host], AbstractAsyncContextManager[Host]):
    """The result of `connect`: ``host = await connect()``, or ``async with connect() as host``, which closes it."""

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


def connect(uri: str = "xenlight:///", *, workers: int | None = None, xl_conf: AnyXlConf = None) -> Connecting:
    """Open a host.

    Args:
        uri: ``xenlight:///``, the default, is the local machine, through libxl. ``xenlight+ssh://root@host/`` is
            another machine, through ssh and the pyxen there; ``?command=/opt/pyxen/bin/pyxen`` says where that is.
            ``xenlight+unix:///run/pyxen/serve.sock`` is this machine, through ``pyxen serve --socket``, without root.
            ``memory:///`` is a host in this process, for tests. ``xenlight:///driver`` is the driver domain that this
            runs in: it need not be a control domain, and it supports `Host.devd` and `Host.xenstore` only. libvirt's
            URIs open a host through libvirt: ``xen:///system``, ``xen+ssh://root@host/system``, ``test:///default``.
            Other packages may add schemes with the entry point group ``pyxen.backends``: functions that take the URI
            and return a `pyxen.backends.base.Backend`.
        workers: For ``xenlight:///``: the number of worker processes, which create and destroy domains. They are
            started when first needed. libxl forks to do this work, which is slow in a large process. With several
            workers, creates overlap as far as the machine has CPUs. By default there is one, and another is started
            whenever all have work, up to one for each CPU, 8 at most. With 0, this process does the work itself.
        xl_conf: The settings of xl to honour as xl does, as an `XlConf` or the path of a file: `create` and `apply` get
            its defaults for vifs, grant tables, claims and domids, and its CPU masks; `attach` those for vifs;
            `pin_vcpu` the masks; and `create`, `restore` and `receive_migration` autoballoon and the lockfile.
            Default: none of them, so that domains come from their configurations alone, and are the same on each host;
            xl reads ``/etc/xen/xl.conf``.

    Raises:
        InvalidArgument: `workers` is no whole number of 0 to 64, or a part of the URI is not valid.
        ParseError: The file of `xl_conf` is not valid; if it cannot be read, it is an OSError.
        NotOnXen: This machine is not a control domain of Xen.
        NotPrivileged: This user may not control it.
        BindingNotBuilt: pyxen was built without the extension for the running Xen.
        LibraryMissing: The extension is installed, but Xen's libraries are not; or libvirt's or msgspec are missing.
        ConnectFailed: The host does not answer.
        UnsupportedFeature: The URI has a form that pyxen does not know; or this is a subinterpreter, or a free-threaded
            Python without the GIL; or `xl_conf` is for a host whose toolstack is not libxl itself.
    """
    return Connecting(open_host(uri, Calls(), workers, xl_conf))


async def open_host(uri: str, calls: Calls, workers: int | None = None, xl_conf: AnyXlConf = None) -> Host:
    """Open a host that makes its calls through `calls`; see `connect`."""
    try:
        backend = await calls.acquire(
            lambda: connection.with_settings(connection.open_backend(uri, workers), xl_conf),
            give_back=lambda backend: backend.close(),
        )
    except BaseException:
        calls.release()
        raise
    return Host(backend, calls)
