"""A command that leads to a migration's receiver: ``ssh HOST xl migrate-receive``, or another one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pyxen._common.piped_program import PipedProgram
from pyxen.backends.xenlight.libxl.error_map import describe
from pyxen.errors import InvalidArgument, OperationFailed
from pyxen.operation import Operation

__all__ = ["PeerCommand", "command"]


def command(
    destination: str | Sequence[str], *, verb: str = "migrate", paused: bool = False, remus: bool = False
) -> tuple[str, ...]:
    """Return the command that leads to a receiver; see `Domain.migrate` and `Domain.remus`.

    Raises:
        InvalidArgument: The destination is not valid.
    """
    if not isinstance(destination, str):
        words = _words(destination, verb)
        if not words or paused:
            problem = "a command says -p itself; leave paused out" if words else "the command is empty"
            raise InvalidArgument(problem, operation=verb)
        return words
    # ssh would take "-oProxyCommand=..." for an option; a space suggests a whole command.
    if not destination or destination.startswith("-") or " " in destination:
        message = f"{destination!r} is not a host: give one as for ssh, root@host2, or a command as a list"
        raise InvalidArgument(message, operation=verb)
    return ("ssh", destination, "xl", "migrate-receive", *(["-r"] if remus else []), *(["-p"] if paused else []))


def _words(command: object, verb: str) -> tuple[str, ...]:
    """Return the words of a command that is a list of strings."""
    if isinstance(command, Sequence):
        words = tuple(word for word in command if isinstance(word, str))
        if len(words) == len(command):
            return words
    message = f"{command!r} is no destination: give a host as for ssh, root@host2, or a command as a list of strings"
    raise InvalidArgument(message, operation=verb)


class PeerCommand(PipedProgram):
    """A running command. It is never killed: a receiver must be able to clean up, and ends when its input closes.

    Args:
        operation: The operation that it serves.
        command: The program and its arguments.

    Raises:
        InvalidArgument: The program does not exist or cannot be run.
    """

    def __init__(self, operation: Operation[Any], command: Sequence[str]) -> None:
        try:
            super().__init__(command, no_pipes=OperationFailed)
        except (OSError, ValueError) as error:
            if isinstance(error, OperationFailed):
                raise
            raise describe(InvalidArgument, f"cannot run {command[0]}: {error}", operation) from error
