"""What ``pyxen serve`` does until a signal, or the end of its client, ends it."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from typing import Final

from pyxen._common.shield import logger
from pyxen.backends.base import Backend
from pyxen.serve.listener import Listener
from pyxen.serve.policy import ALL, AS_ROOT, READ_ONLY
from pyxen.serve.server import Server
from pyxen.serve.settings import Settings, load_settings
from pyxen.serve.sockets import listening_socket

__all__ = ["serve_many", "serve_one"]

_LOG: Final = logger("pyxen.serve")
_SIGNALS: Final = (signal.SIGTERM, signal.SIGHUP, signal.SIGINT)


def serve_one(read_fd: int, write_fd: int, open_backend: Callable[[], Backend], *, read_only: bool) -> None:
    """Serve the client at the other end of two descriptors, until it goes, or a signal says so."""
    server = Server(read_fd, write_fd, policy=READ_ONLY if read_only else ALL)
    for number in _SIGNALS:
        signal.signal(number, lambda *_: server.end("the server was told to end"))
    server.run(open_backend)


def serve_many(path: str, config: str | None, open_backend: Callable[[], Backend], *, read_only: bool) -> None:
    """Serve those that connect to a socket, until a signal says so; a second one ends this process at once.

    Args:
        path: The socket; an empty text is the usual place, or where systemd has it.
        config: The file of settings; None is the usual one.
        open_backend: Opens the host, for each client.
        read_only: Allow no more than looking, whatever the settings say.

    Raises:
        Error: The settings are not valid, or it cannot listen.
    """
    settings = load_settings(config)
    if read_only:
        settings = settings.only_looking()
    _warn_of_roots(settings)
    with listening_socket(path, settings, os.environ) as listening:
        listener = Listener(listening, settings, open_backend)

        def end(*_: object) -> None:
            listener.end()
            for number in _SIGNALS:
                signal.signal(number, signal.SIG_DFL)

        for number in _SIGNALS:
            signal.signal(number, end)
        listener.run()
    listener.wind_up()


def _warn_of_roots(settings: Settings) -> None:
    """Say who is as good as root, and by which verbs: a list of verbs does not show that."""
    given = sorted(settings.policy.verbs & AS_ROOT)
    if settings.group is not None and given:
        verbs = "all verbs" if settings.policy.all else ", ".join(given)
        _LOG.warning("%s: members of %s are as good as root by %s", settings.source, settings.group, verbs)
