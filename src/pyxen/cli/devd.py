"""The command ``pyxen devd``."""

from __future__ import annotations

import contextlib
import logging
import signal
from collections.abc import Iterator
from types import FrameType
from typing import Annotated

import typer

from pyxen.cli.files import complain
from pyxen.connection import connect
from pyxen.errors import Error, OperationCancelled
from pyxen.operation import Operation

__all__ = ["devd"]

_FAILED = 2


def devd(
    *,
    verbose: Annotated[
        bool, typer.Option("--verbose", "-v", help="Tell which scripts are run, and all of libxl.")
    ] = False,
) -> None:
    """Run the hotplug scripts of the devices that this driver domain serves, instead of xl devd -F.

    This is for a guest that serves disks or vifs to other guests. Errors and the output of the scripts go to standard
    error.

    It runs until Ctrl-C or SIGTERM. Scripts that are running at that time have five seconds to finish.

    The exit status is 0 after such a signal, and 2 if the domain cannot serve devices.
    """
    logging.basicConfig(format="%(asctime)s %(levelname)s %(message)s", level=logging.WARNING)
    logging.getLogger("pyxen.libxl").setLevel(logging.DEBUG if verbose else logging.WARNING)
    try:
        with connect("xenlight:///driver") as host, _stopped_by_signals(serving := host.begin.devd()):
            serving.result()
    except OperationCancelled:
        pass
    except Error as error:
        complain(str(error))
        raise typer.Exit(_FAILED) from None


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
