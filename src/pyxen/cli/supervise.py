"""The command ``pyxen supervise``."""

from __future__ import annotations

import logging
import signal
from collections.abc import Callable
from types import FrameType
from typing import Annotated, Final

import typer

from pyxen.cli.completion import DEFAULT_URI
from pyxen.cli.files import complain
from pyxen.cli.options import Uri
from pyxen.cli.session import xl_conf_of
from pyxen.connection import connect
from pyxen.errors import Error
from pyxen.supervisor import Brake, Supervisor

__all__ = ["COMMANDS", "supervise"]

_FAILED = 2


def supervise(
    uri: Uri = "",
    min_uptime: Annotated[
        float, typer.Option(metavar="SECONDS", help="A domain that ran for less is restarted later and later.")
    ] = 10.0,
    first_delay: Annotated[
        float, typer.Option(metavar="SECONDS", help="How much later at first; twice that the next time, and so on.")
    ] = 2.0,
    max_delay: Annotated[float, typer.Option(metavar="SECONDS", help="How much later at most.")] = 300.0,
    dump_dir: Annotated[
        str, typer.Option(metavar="FOLDER", help="Where core dumps go, each with the domain's name.")
    ] = "/var/lib/xen/dump",
    *,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Tell what goes wrong only.")] = False,
) -> None:
    """Act when a domain of this host ends, following its on_poweroff, on_reboot, on_crash and on_watchdog.

    One process serves all domains, including those that have already ended. It leaves alone domains that an xl process
    or libvirt watches: create them with xl create -e. Actions are logged to standard error.

    It runs until Ctrl-C or SIGTERM, and first finishes what it has begun; a second signal ends it at once.

    The exit status is 0 after such a signal, and 2 if the host cannot be reached.

    Example: pyxen supervise --dump-dir /srv/dumps
    """
    logging.basicConfig(format="%(asctime)s %(levelname)s %(message)s", level=logging.WARNING)
    logging.getLogger("pyxen.supervisor").setLevel(logging.WARNING if quiet else logging.INFO)
    try:
        brake = Brake(min_uptime=min_uptime, first_delay=first_delay, max_delay=max_delay)
        with connect(uri or DEFAULT_URI, xl_conf=xl_conf_of(uri or DEFAULT_URI)) as host:
            supervisor = Supervisor(host, brake=brake, dump_dir=dump_dir)
            _stop_on_signals(supervisor)
            supervisor.run()
    except Error as error:
        complain(str(error))
        raise typer.Exit(_FAILED) from None


def _stop_on_signals(supervisor: Supervisor) -> None:
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def stop(_number: int, _frame: FrameType | None) -> None:
        supervisor.stop()
        for number, handler in before.items():
            signal.signal(number, handler)

    for number in before:
        signal.signal(number, stop)


COMMANDS: Final[dict[str, Callable[..., None]]] = {"supervise": supervise}
"""The command of this module by name."""
