"""The command ``pyxen exporter``."""

from __future__ import annotations

import contextlib
import logging
import signal
import threading
from collections.abc import Callable
from types import FrameType
from typing import Annotated, Final

import typer

from pyxen._common.shield import logger
from pyxen._common.shown_uri import shown
from pyxen.cli.files import complain
from pyxen.cli.options import Uri
from pyxen.connection import connect
from pyxen.errors import ConnectFailed, Error

__all__ = ["COMMANDS", "exporter"]

_LOG = logger(__name__)
_FAILED = 2


def exporter(
    *,
    uri: Uri = "",
    listen: Annotated[str, typer.Option(metavar="ADDRESS:PORT", help="Where to listen.")] = "127.0.0.1:9813",
    timeout: Annotated[
        float, typer.Option(metavar="SECONDS", help="How long a scrape waits for the host; xen_up is 0 then.")
    ] = 8.0,
) -> None:
    """Serve the metrics of a host and its domains to Prometheus, at /metrics.

    It needs the extra ``metrics`` of the package. It has neither TLS nor a password, and listens on this machine only,
    unless told otherwise.

    It runs until Ctrl-C or SIGTERM. A host that does not answer has xen_up 0, and is tried again at each scrape.

    The exit status is 0 after such a signal, and 2 if the host cannot be used, or the address is taken.

    Example: pyxen exporter --listen 127.0.0.1:9813
    """
    logging.basicConfig(format="%(asctime)s %(levelname)s %(message)s", level=logging.WARNING)
    try:
        from pyxen.metrics.collector import HostCollector
        from pyxen.metrics.exporter import Exporter, address_of

        address, port = address_of(listen)
        _check(uri)
        with HostCollector(uri, timeout=timeout) as collector, Exporter(collector, address, port) as serving:
            with contextlib.suppress(OSError, ValueError):  # it serves, though nobody may hear of it
                typer.echo(f"serving {shown(uri)} at {serving.url}", err=True)
            _wait_for_signal()
    except ModuleNotFoundError as error:
        if error.name != "prometheus_client":
            raise
        complain(str(error))
        raise typer.Exit(_FAILED) from None
    except OSError as error:
        complain(f"{listen}: {error.strerror or error}" if not isinstance(error, Error) else str(error))
        raise typer.Exit(_FAILED) from None
    except Error as error:
        complain(str(error))
        raise typer.Exit(_FAILED) from None


def _check(uri: str) -> None:
    """See that the host can be used at all. One that only does not answer now may do so later."""
    try:
        connect(uri).close()
    except ConnectFailed as error:
        if type(error) is not ConnectFailed:  # it has no Xen, no right, or no library: that does not pass
            raise
        _LOG.warning("%s", error)


def _wait_for_signal() -> None:
    ended = threading.Event()

    def end(_number: int, _frame: FrameType | None) -> None:
        ended.set()

    before = {number: signal.signal(number, end) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        ended.wait()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


COMMANDS: Final[dict[str, Callable[..., None]]] = {"exporter": exporter}
"""The command of this module by name."""
