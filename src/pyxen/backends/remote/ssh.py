"""The way to a host over ssh: the system's own, with its configuration, agent and known hosts, and never asking."""

from __future__ import annotations

import re
import shlex
from typing import Final, NamedTuple
from urllib.parse import parse_qs, unquote, urlsplit

from pyxen._common.piped_program import PipedProgram
from pyxen._common.shown_uri import shown
from pyxen.backends.remote.backend import RemoteBackend
from pyxen.backends.remote.client import Client
from pyxen.backends.remote.link import Link
from pyxen.backends.remote.messages import FromServer
from pyxen.errors import ConnectFailed, InvalidArgument, UnsupportedFeature

__all__ = ["Address", "address_of", "open_remote"]

_SCHEME: Final = "xenlight+ssh"
_FORM: Final = "xenlight+ssh://[USER@]HOST[:PORT]/[?command=PROGRAM]"
_HOST: Final = re.compile(r"[A-Za-z0-9_.:%][A-Za-z0-9_.:%-]*")
_USER: Final = re.compile(r"[A-Za-z0-9_.@\\+][A-Za-z0-9_.@\\+-]*\$?")
_NOT_FOUND: Final = 127
_SSH_FAILED: Final = 255

_REMEDIES: Final = (
    (
        "has changed and you have requested strict checking",
        "the key of the host has changed: find out why; if that is right, remove the old one with ssh-keygen -R",
    ),
    ("Host key verification failed", "the host is not known yet: connect once with ssh, and compare its key"),
    ("Permission denied", "no key is accepted there: see that ssh -o BatchMode=yes leads there without a question"),
    ("Could not resolve hostname", "the name of the host is not known"),
    ("Connection refused", "no ssh server listens there"),
    ("timed out", "the host does not answer"),
    ("No route to host", "the host does not answer"),
)
"""What ssh says, and what to do."""


class Address(NamedTuple):
    """Where a host is.

    Attributes:
        host: Its name for ssh.
        user: The user there; None leaves that to ssh.
        port: The port; None leaves that to ssh.
        program: pyxen there.
    """

    host: str
    user: str | None
    port: int | None
    program: str

    @property
    def command(self) -> tuple[str, ...]:
        """The command that leads to a server there."""
        options = ["-T", "-o", "BatchMode=yes", *(["-p", str(self.port)] if self.port is not None else [])]
        target = self.host if self.user is None else f"{self.user}@{self.host}"
        return ("ssh", *options, "--", target, f"{shlex.quote(self.program)} serve --stdio")


def address_of(uri: str) -> Address:
    """Read a URI.

    Raises:
        UnsupportedFeature: It has another form.
        InvalidArgument: A part is not valid.
    """
    seen = shown(uri)
    try:
        parts = urlsplit(uri)
        port = parts.port
        query = parse_qs(parts.query, keep_blank_values=True, strict_parsing=bool(parts.query))
    except ValueError:  # its words have a part of the URI, which may be a part of a password
        raise InvalidArgument(f"{seen}: it is not valid: write it as {_FORM}", operation="connect") from None
    unknown = sorted(query.keys() - {"command"})
    if parts.scheme != _SCHEME or parts.path not in {"", "/"} or parts.fragment or unknown:
        raise UnsupportedFeature(f"{seen}: write it as {_FORM}", feature=seen)
    if parts.password is not None:
        message = f"{_FORM}: a URI has no password: use a key, and ssh-agent if it has a passphrase"
        raise InvalidArgument(message, operation="connect")
    host = unquote(_host_of(parts.netloc))
    user = None if parts.username is None else unquote(parts.username)
    if not _HOST.fullmatch(host) or (user is not None and not _USER.fullmatch(user)):
        raise InvalidArgument(f"{seen}: the host or the user is not valid: write it as {_FORM}", operation="connect")
    if port == 0:
        raise InvalidArgument(f"{seen}: a port is 1 to 65535: write it as {_FORM}", operation="connect")
    if len(query.get("command", ())) > 1:
        raise InvalidArgument(f"{seen}: the command is given twice: write it as {_FORM}", operation="connect")
    (program,) = query.get("command", ["pyxen"])
    if not program or program.startswith("-") or not program.isprintable():
        raise InvalidArgument(f"{seen}: the command is the program pyxen on the host", operation="connect")
    return Address(host, user, port, program)


def _host_of(netloc: str) -> str:
    """Return the host as it was written: ssh's configuration tells capital letters from small ones."""
    place = netloc.rpartition("@")[2]
    return place[1:].partition("]")[0] if place.startswith("[") else place.partition(":")[0]


def open_remote(uri: str) -> RemoteBackend:
    """Open a host over ssh.

    Raises:
        ConnectFailed: ssh, or pyxen there, says why not.
    """
    address = address_of(uri)
    try:
        program = PipedProgram(address.command, no_pipes=ConnectFailed)
    except OSError as error:
        if isinstance(error, ConnectFailed):
            raise
        raise ConnectFailed(f"cannot run ssh: {error.strerror}: install the OpenSSH client") from error
    try:
        link = Link(*program.detach(), FromServer)
    except BaseException:
        program.hang_up()
        raise
    return RemoteBackend(Client(link, _Ssh(program, address), address.host), uri)


class _Ssh:
    """What the running ssh says of its end."""

    def __init__(self, program: PipedProgram, address: Address) -> None:
        self._program, self._address = program, address

    def why(self, reason: str) -> str:
        self._program.hang_up()
        words = self._program.last_words().lstrip("; ")
        status = self._program.status
        if status == _NOT_FOUND or (status == 126 and self._address.program in words):
            remedy = (
                f"{self._address.program} is not installed there, or not found: install it with pip install "
                "'pyxen[cli,remote]', and if it is not in the PATH of ssh, give ?command=/PATH/TO/pyxen"
            )
        elif status == _SSH_FAILED:
            remedy = next((remedy for said, remedy in _REMEDIES if said in words), "ssh has failed")
        else:
            remedy = reason
        return "; ".join(filter(None, (remedy, words)))

    def close(self) -> None:
        self._program.hang_up()
