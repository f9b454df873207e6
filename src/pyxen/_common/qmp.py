"""Commands of QMP, QEMU's protocol for programs, and what is said when QEMU cannot be given one or refuses it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

from pyxen.errors import InvalidArgument, QmpError, UnsupportedFeature
from pyxen.operation import Operation, describe

__all__ = ["ID", "READ_ALREADY", "check_monitor_command", "command_of", "no_qemu", "no_socket", "refusal", "request"]

ID: Final = "pyxen"
"""What marks the answer to a command of pyxen's."""

READ_ALREADY: Final = "its events are being read already, through this host: close that reader first"
"""Why a second reader of a QEMU's events is refused."""


def request(command: str, arguments: Mapping[str, Any]) -> bytes:
    """Return a command as QEMU reads it.

    Raises:
        InvalidArgument: The arguments cannot be expressed in JSON.
    """
    message = command_of(command, arguments)
    try:
        return json.dumps({**message, "id": ID}, allow_nan=False).encode() + b"\n"
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidArgument(f"the arguments of {command} are not valid JSON: {error}", operation="qmp") from None


def command_of(command: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Return a command as QEMU's protocol has it, without an id."""
    return {"execute": command, **({"arguments": dict(arguments)} if arguments else {})}


def check_monitor_command(operation: Operation[Any], command: str) -> None:
    """Refuse an empty command for the human monitor."""
    if not command.strip():
        raise describe(InvalidArgument, "the command is empty: say one, as 'info block'", operation)


def no_qemu(verb: str, domid: int, backend: str) -> UnsupportedFeature:
    """Return the exception for a domain without a QEMU."""
    message = f"{verb}: domain {domid} has no QEMU: it is no HVM guest, and has no device that needs one"
    return UnsupportedFeature(message, feature=verb, backend=backend)


def no_socket(domid: int, backend: str) -> UnsupportedFeature:
    """Return the exception for a QEMU that no program of dom0 reaches."""
    message = f"qmp: the QEMU of domain {domid} has no socket for QMP: does it run in a stub domain?"
    return UnsupportedFeature(message, feature="qmp", backend=backend)


def refusal(
    operation: Operation[Any], command: str, said: str, error_class: str | None, description: str | None
) -> QmpError:
    """Return the exception for a command that QEMU refuses.

    Args:
        operation: The operation.
        command: The command.
        said: QEMU's reason, for the message.
        error_class: QEMU's class of the error.
        description: QEMU's words.
    """
    error = describe(QmpError, f"QEMU refuses {command}: {said}", operation)
    error.error_class = error_class
    error.description = description
    return error
