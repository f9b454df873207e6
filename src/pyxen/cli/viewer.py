"""``pyxen vncviewer``, and the viewer that ``create --vnc`` opens."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import time
from collections.abc import Callable
from typing import Annotated, Final, NoReturn
from urllib.parse import urlsplit

import typer

from pyxen.cli.files import complain
from pyxen.cli.options import AsJson, DomainName, Uri
from pyxen.cli.output import document, say
from pyxen.cli.session import domain_of, host_at, told
from pyxen.config import DomainConfig, DomainType
from pyxen.domain import Domain
from pyxen.errors import ConfigError, Error, FileMissing, NotFound, OperationFailed
from pyxen.records.endpoints import VncEndpoint

__all__ = ["COMMANDS", "OpenAutopass", "Vnc", "check_screen", "needed_viewer", "open_viewer", "server_of"]

PROGRAM: Final = "VNCVIEWER"
"""Environment variable with the name of the viewer."""

_DEFAULT: Final = "vncviewer"
_EVERYWHERE: Final = frozenset({"0.0.0.0", "::", ""})  # noqa: S104 (addresses that are compared, not bound)
_LOOPBACK: Final = frozenset({"127.0.0.1", "::1", "localhost"})

_PATIENCE: Final = 10.0
"""Seconds for a device model that has just started to say where its VNC server is."""

_APART: Final = 'exec 3<&0; "$@" <&3 3<&- &'
"""A line of shell that starts a program in the background, and leaves it this standard input."""

_PAUSE: Final = 0.1
"""Seconds between two looks."""

Autopass = Annotated[
    bool, typer.Option("--vncviewer-autopass", "--autopass", "-A", help="Give the viewer the password, on its input.")
]

OpenAutopass = Annotated[
    bool,
    typer.Option("--vncviewer-autopass", "--autopass", "-A", help="Open a VNC viewer, and give it the password."),
]

Vnc = Annotated[bool, typer.Option("--vncviewer", "--vnc", "-V", help="Open a VNC viewer on its screen.")]


def vncviewer(
    domain: DomainName,
    uri: Uri = "",
    *,
    address: Annotated[
        bool, typer.Option("--address", "-a", help="Only print the address, as the viewer takes it.")
    ] = False,
    autopass: Autopass = False,
    as_json: AsJson = False,
) -> None:
    """Open a VNC viewer on the screen of a domain: the program vncviewer, or the one that $VNCVIEWER names.

    It ends when the viewer does, with the viewer's exit status. The address is ADDRESS::PORT, or the path of a socket.

    Example: pyxen vncviewer --address web1

    JSON: a VncEndpoint, which has the password. No viewer is opened.
    """
    with host_at(uri) as host:
        vnc = server_of(domain_of(host, domain))
        if as_json:
            document(vnc.to_dict())
            return
        if address:
            say(_shown(vnc))
            return
        program, place = needed_viewer(), _place(uri, vnc)
    with told():
        viewer = _start(program, place, vnc.password if autopass else None)
    raise typer.Exit(_status(viewer.wait()))


def server_of(domain: Domain, *, patience: float = 0.0) -> VncEndpoint:
    """Return the VNC server of a domain.

    Args:
        domain: The domain.
        patience: Seconds to wait for it.

    Raises:
        NotFound: It has none.
    """
    end = time.monotonic() + patience
    while (vnc := domain.endpoints().vnc) is None:
        if time.monotonic() >= end:
            raise NotFound(f"{domain} has no VNC server: its configuration needs vnc=1 or a vfb")
        time.sleep(_PAUSE)
    return vnc


def needed_viewer() -> str:
    """Return the path of the viewer.

    Raises:
        FileMissing: It is not installed.
    """
    name = os.environ.get(PROGRAM) or _DEFAULT
    found = shutil.which(name)
    if found is None:
        _missing(name)
    return found


def _missing(name: str) -> NoReturn:
    raise FileMissing(
        f"there is no program {name}: install a VNC viewer (Debian: tigervnc-viewer), name one in ${PROGRAM}, or see "
        "pyxen vncviewer --address"
    )


def check_screen(config: DomainConfig) -> None:
    """See that a domain will have a VNC server, before it is created.

    Raises:
        ConfigError: It will have none.
    """
    servers = [config.vnc] if config.type is DomainType.HVM else [each.vnc for each in config.vfbs]
    if all(server.enable is False for server in servers):  # libxl's default is that there is one
        raise ConfigError(f"{config.name} has no screen for a VNC viewer: its configuration needs vnc=1 or a vfb")


def open_viewer(domain: Domain, uri: str, *, autopass: bool) -> None:
    """Open a viewer on the screen of a domain that has just been created, and do not wait for it.

    The domain is there, so that it is no failure if its screen cannot be seen: that is said as a warning.
    """
    try:
        program, vnc = needed_viewer(), server_of(domain, patience=_PATIENCE)
        _start(program, _place(uri, vnc), vnc.password if autopass else None, apart=True).wait()
    except Error as error:
        complain(f"no viewer was opened: {error}", style="bold yellow", label="warning")


def _start(program: str, place: str, password: str | None, *, apart: bool = False) -> subprocess.Popen[bytes]:
    """Start the viewer.

    Args:
        program: Its path.
        place: The address of the server.
        password: What it reads as the password; None: it asks.
        apart: In a session of its own, without this terminal.

    Raises:
        OperationFailed: It cannot be run.
    """
    command = [program, place, *(["-autopass"] if password is not None else [])]
    if apart:  # as the child of no program: it outlives this one
        command = ["/bin/sh", "-c", _APART, "sh", *command]
    nowhere = subprocess.DEVNULL if apart else None
    stdin = subprocess.PIPE if password is not None else nowhere
    try:
        viewer = subprocess.Popen(command, stdin=stdin, stdout=nowhere, stderr=nowhere, start_new_session=apart)
    except OSError as error:
        message = f"{program} cannot be run: {error.strerror}: name another viewer in ${PROGRAM}"
        raise OperationFailed(message, operation="vncviewer") from None
    if viewer.stdin is not None and password is not None:
        with contextlib.suppress(BrokenPipeError), viewer.stdin as pipe:  # it has ended: its status says why
            pipe.write(f"{password}\n".encode("utf-8", "surrogateescape"))
    return viewer


def _status(code: int) -> int:
    return code if code >= 0 else 128 - code


def _shown(vnc: VncEndpoint) -> str:
    return vnc.address if vnc.port is None else f"{vnc.address}::{vnc.port}"


def _place(uri: str, vnc: VncEndpoint) -> str:
    """Return the address of a VNC server as it is seen from here.

    Raises:
        NotFound: It can be reached on its host only.
    """
    there = urlsplit(uri).hostname if "+" in urlsplit(uri).scheme else None
    if vnc.port is None:
        if there:
            _only_there(there, f"the socket {vnc.address}", f"-L 5900:{vnc.address}", "127.0.0.1::5900")
        return vnc.address
    if there and vnc.address in _LOOPBACK:
        port = vnc.port
        _only_there(there, f"{vnc.address} port {port}", f"-L {port}:127.0.0.1:{port}", f"127.0.0.1::{port}")
    if vnc.address in _EVERYWHERE:
        return f"{there or '127.0.0.1'}::{vnc.port}"
    return f"{vnc.address}::{vnc.port}"


def _only_there(host: str, where: str, tunnel: str, place: str) -> NoReturn:
    raise NotFound(
        f"the VNC server listens on {where} of {host}, which only programs there reach: ssh {tunnel} {host}, and then "
        f"vncviewer {place}"
    )


COMMANDS: Final[dict[str, Callable[..., None]]] = {"vncviewer": vncviewer}
"""The commands of this module by name."""
