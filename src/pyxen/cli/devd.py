"""The command ``pyxen devd``."""

from __future__ import annotations

import contextlib
import logging
import signal
from collections.abc import Callable, Iterator
from functools import partial
from types import FrameType
from typing import Annotated, Final

import typer

from pyxen.cli.background import in_background
from pyxen.cli.files import complain
from pyxen.connection import connect
from pyxen.errors import Error, OperationCancelled
from pyxen.operation import Operation

__all__ = ["COMMANDS", "devd"]

_FAILED = 2


def devd(
    *,
    foreground: Annotated[
        bool, typer.Option("--foreground", "-F", help="Stay in the foreground, as a service manager wants it.")
    ] = False,
    pidfile: Annotated[
        str | None,
        typer.Option("--pidfile", "-p", metavar="FILE", help="File for the number of the process in the background."),
    ] = None,
    log: Annotated[
        str, typer.Option(metavar="FILE", help="Where messages go from the background.")
    ] = "/var/log/xen/pyxen-devd.log",
    verbose: Annotated[
        bool, typer.Option("--verbose", "-v", help="Tell which scripts are run, and all of libxl.")
    ] = False,
) -> None:
    """Run the hotplug scripts of the devices that this driver domain serves, instead of xl devd.

    This is for a guest that serves disks or vifs to other guests. It goes on in the background once it serves, unless
    --foreground is given: then errors and the output of the scripts go to standard error.

    It runs until SIGTERM or Ctrl-C. Scripts that are running at that time have five seconds to finish.

    The exit status is 0 if it serves or, in the foreground, after such a signal, and 2 if the domain cannot serve
    devices.

    Example: pyxen devd --foreground
    """
    if foreground and pidfile is not None:
        raise typer.BadParameter("a process in the foreground needs no file for its number")
    status = _serve(verbose) if foreground else in_background(partial(_serve, verbose), log=log, pidfile=pidfile)
    if status:
        raise typer.Exit(status)


def _serve(verbose: bool, ready: Callable[[], None] | None = None) -> int:
    """Serve until a signal, and return the exit status."""
    logging.basicConfig(format="%(asctime)s %(levelname)s %(message)s", level=logging.WARNING)
    logging.getLogger("pyxen.libxl").setLevel(logging.DEBUG if verbose else logging.WARNING)
    try:
        with connect("xenlight:///driver") as host, _stopped_by_signals(serving := host.begin.devd()):
            if ready is not None and not (serving.done() and serving.exception() is not None):
                ready()
            serving.result()
    except OperationCancelled:
        pass
    except Error as error:
        complain(str(error))
        return _FAILED
    return 0


@contextlib.contextmanager
def _stopped_by_signals(operation: Operation[None]) -> Iterator[None]:
    def stop(_number: int, _frame: FrameType | None) -> None:
        operation.cancel()

    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


COMMANDS: Final[dict[str, Callable[..., None]]] = {"devd": devd}
"""The command of this module by name."""
