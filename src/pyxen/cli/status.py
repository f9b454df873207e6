"""The exit statuses of the command."""

from __future__ import annotations

from enum import IntEnum

from pyxen.errors import (
    ConfigError,
    ConnectFailed,
    DomainNotFound,
    Error,
    FileMissing,
    GuestTimeout,
    NodeNotFound,
    NotFound,
    OperationCancelled,
    OperationTimeout,
    UnsupportedFeature,
)

__all__ = ["ExitStatus", "status_of"]


class ExitStatus(IntEnum):
    """How a command ended."""

    DONE = 0
    """It did what was asked."""
    FAILED = 1
    """Xen, libxl or libvirt refused, or the operation failed."""
    USAGE = 2
    """The command line or a configuration is not valid, or a file or the output cannot be read or written."""
    NOT_FOUND = 3
    """The domain, CPU pool, device, node of xenstore or file on the host does not exist."""
    NO_HOST = 4
    """The host cannot be reached."""
    UNSUPPORTED = 5
    """This way to the host, or its Xen, cannot do it."""
    TIMED_OUT = 6
    """The time was up, or the guest did not answer in time."""
    DECLINED = 7
    """The question whether to go on was not answered with yes, or there is no terminal for it and no ``--yes``."""
    INTERRUPTED = 130
    """Ctrl-C, SIGTERM or SIGHUP; a message says what was undone or stays. What follows something always ends so."""
    NO_READER = 141
    """Nobody reads the output any more, as in ``pyxen list | head -1``."""


def status_of(error: Error) -> ExitStatus:
    """Return the exit status for an error."""
    for kinds, status in _STATUSES:
        if isinstance(error, kinds):
            return status
    return ExitStatus.FAILED


_STATUSES: tuple[tuple[tuple[type[Error], ...], ExitStatus], ...] = (
    ((ConfigError,), ExitStatus.USAGE),
    ((UnsupportedFeature,), ExitStatus.UNSUPPORTED),
    ((ConnectFailed,), ExitStatus.NO_HOST),
    ((DomainNotFound, NotFound, NodeNotFound, FileMissing), ExitStatus.NOT_FOUND),
    ((GuestTimeout, OperationTimeout), ExitStatus.TIMED_OUT),
    ((OperationCancelled,), ExitStatus.INTERRUPTED),
)
