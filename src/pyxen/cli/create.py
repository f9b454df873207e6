"""``pyxen create``."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from functools import partial
from typing import Annotated, Final

import typer

from pyxen.cli.files import complain, write
from pyxen.cli.options import AsJson, Timeout, Uri
from pyxen.cli.output import json_text, say
from pyxen.cli.progress import carry_out
from pyxen.cli.session import as_created, config_said, destroyed, host_at, report, stays, told, warn_of_sxp
from pyxen.cli.status import ExitStatus
from pyxen.cli.viewer import OpenAutopass, Vnc, check_screen, needed_viewer, open_viewer
from pyxen.config import DomainConfig
from pyxen.domain import Domain
from pyxen.errors import Error
from pyxen.host import Host
from pyxen.readers.console import ConsoleStream
from pyxen.terminal import attach_terminal

__all__ = ["COMMANDS", "Console", "check_streams"]

_LOOK: Final = 1.0
"""Seconds after which a wait looks for Ctrl-C: Python does not see one that comes just as a wait begins."""

Console = Annotated[
    bool,
    typer.Option(
        "--console", "-c", help="Attach the terminal to its console at once, to the bootloader's first; Ctrl-] leaves."
    ),
]


def create(
    file: Annotated[
        str,
        typer.Argument(
            metavar="FILE", help="A configuration of xl, libvirt or libxl; - is stdin. Settings alone need no file."
        ),
    ],
    settings: Annotated[
        list[str] | None,
        typer.Argument(metavar="KEY=VALUE", help="Settings in xl's language, which replace those of the file."),
    ] = None,
    uri: Uri = "",
    timeout: Timeout = None,
    *,
    paused: Annotated[bool, typer.Option("--paused", "-p", help="Leave it paused.")] = False,
    console: Console = False,
    vnc: Vnc = False,
    autopass: OpenAutopass = False,
    dry_run: Annotated[
        bool, typer.Option("--dryrun", "--dry-run", "-n", help="Create nothing, and print libxl's JSON.")
    ] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Do not print the domid.")] = False,
    as_json: AsJson = False,
) -> None:
    """Create a domain from a configuration, and start it.

    A create that fails or is interrupted leaves nothing behind. No process stays to restart the domain when it ends:
    pyxen supervise does that.

    With --console, the terminal is the guest's until Ctrl-] or the end of the domain, and no domid is printed. The
    domain goes on after Ctrl-].

    Example: pyxen create -c web1.cfg memory=512 'name="web2"'

    JSON: an object with domid, name and uuid. With --dryrun, libxl's JSON of the configuration.
    """
    if console and as_json:
        raise typer.BadParameter("with --console the output is that of the guest: leave out --json")
    if console and "-" in (file, *(settings or ())):
        raise typer.BadParameter("with --console standard input is the guest's keyboard: write the file's name")
    with told():
        config = config_said(file, settings)
        if dry_run:
            from pyxen import conversion

            config = as_created(config, uri)
            config.validate()
            warn_of_sxp(uri)
            text, losses = conversion.write(config, "json")
            for loss in losses:
                complain(f"{file}: {loss}", style="bold yellow", label="lost")
            write(json_text(text))
            return
        if vnc or autopass:
            needed_viewer()
            check_screen(config)
    if console:
        check_streams()
    view = _viewing(uri, vnc or autopass, autopass)
    with host_at(uri) as host:
        if console:
            _create_and_attach(host, config, paused=paused, timeout=timeout, view=view)
            return
        begin = host.begin
        domain = carry_out(
            None, lambda: begin.create(config, paused=paused, timeout=timeout), undo=partial(destroyed, host)
        )
        with stays(domain):
            report(domain, as_json=as_json)
            if not (as_json or quiet):
                say(domain.name, "has domid", domain.domid)
            view(domain)


def _viewing(uri: str, asked: bool, autopass: bool) -> Callable[[Domain], None]:
    """Return what opens the viewer, if it is asked for."""

    def view(domain: Domain) -> None:
        if asked:
            open_viewer(domain, uri, autopass=autopass)

    return view


def check_streams() -> None:
    """See that a console can be attached.

    Raises:
        typer.Exit: Standard input or output is closed. That is said.
    """
    if sys.stdin is None or sys.stdout is None:
        complain("a console needs standard input and standard output, and one of them is closed")
        raise typer.Exit(ExitStatus.USAGE)


def _create_and_attach(
    host: Host, config: DomainConfig, *, paused: bool, timeout: float | None, view: Callable[[Domain], None]
) -> None:
    terminal, begin = _Terminal(), host.begin
    try:
        domain = carry_out(
            None,
            lambda: begin.create(config, paused=paused, on_console=terminal.attach, timeout=timeout),
            undo=partial(destroyed, host),
        )
        with stays(domain):
            view(domain)
            terminal.attach(domain)  # if it has a console that was not announced
            while not terminal.over.wait(_LOOK):
                pass
    finally:
        terminal.leave()
    if terminal.error is not None:
        raise terminal.error


class _Terminal:
    """This process's terminal, attached once to the console of a domain that is being created.

    Attributes:
        over: Set when the user has left, or the console has ended.
        error: Why it could not be attached, or ended before its domain.
    """

    def __init__(self) -> None:
        self.over = threading.Event()
        self.error: Error | None = None
        self._lock = threading.Lock()
        self._taken = False
        self._left = False
        self._stream: ConsoleStream | None = None

    def attach(self, domain: Domain) -> None:
        """Attach it, unless it is or was attached; return when that is over."""
        with self._lock:
            if self._taken:
                return
            self._taken = True
        try:
            with domain.console_stream() as stream:
                with self._lock:
                    self._stream = stream
                    left = self._left
                if not left:
                    attach_terminal(stream)
        except Error as error:
            self.error = error
        finally:
            self.over.set()

    def leave(self) -> None:
        """Detach it, and wait until it is as it was before."""
        with self._lock:
            attached, self._taken, self._left = self._taken, True, True
            if self._stream is not None:
                self._stream.close()
        if attached:
            self.over.wait()


COMMANDS: Final[dict[str, Callable[..., None]]] = {"create": create}
"""The commands of this module by name."""
