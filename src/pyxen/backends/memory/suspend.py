"""Suspend and resume of simulated guests."""

from __future__ import annotations

from typing import Any

from pyxen._common.scripts import at_once
from pyxen.backends.memory.engine import Script, Stopped, Wait, describe
from pyxen.backends.memory.guests import Guest, lacks_drivers
from pyxen.backends.memory.lifecycle import check_there
from pyxen.backends.memory.machine import Machine
from pyxen.errors import GuestTimeout, OperationFailed
from pyxen.operation import Operation
from pyxen.records.info import ShutdownReason

__all__ = ["go_on", "resume", "suspend"]


def suspend(machine: Machine, operation: Operation[Any], guest: Guest) -> Script[None]:
    """Ask a guest to suspend itself, and wait until it has."""
    if lacks_drivers(guest):
        guest.end(ShutdownReason.SUSPEND)  # libxl does it without the guest
        return
    guest.ask("suspend")
    late = machine.now() + machine.timing.patience
    try:
        yield Wait(until=late, ready=lambda: guest.gone or guest.reason is not None)
    except Stopped:
        guest.withdraw()
        go_on(guest)  # it may have suspended in the meantime
        raise
    check_there(operation, guest)
    if guest.reason not in {None, ShutdownReason.SUSPEND}:
        raise describe(OperationFailed, "the guest ended instead of suspending itself", operation)
    if guest.reason is None:
        guest.withdraw()
        message = "the guest did not suspend itself in time: it may not support that, or ignores the request"
        raise describe(GuestTimeout, message, operation)


def go_on(guest: Guest) -> None:
    """Let a guest go on if it has suspended."""
    if not guest.gone and guest.reason is ShutdownReason.SUSPEND:
        guest.go_on()


@at_once
def resume(guest: Guest) -> None:
    """Resume a suspended guest."""
    guest.go_on()
