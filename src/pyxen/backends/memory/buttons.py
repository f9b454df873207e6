"""Buttons and keys of a guest in memory."""

from __future__ import annotations

from typing import Any, Final

from pyxen.backends.memory.engine import Script, describe
from pyxen.backends.memory.guests import Guest, is_hvm
from pyxen.errors import InvalidArgument, OperationFailed
from pyxen.info import ShutdownReason, Trigger
from pyxen.operation import Operation

__all__ = ["send_sysrq", "send_trigger"]

_KEYS: Final = {"b": ShutdownReason.REBOOT, "o": ShutdownReason.POWEROFF, "c": ShutdownReason.CRASH}
"""What some keys of Linux's magic SysRq do."""


def send_trigger(operation: Operation[Any], guest: Guest, trigger: Trigger, vcpu: int) -> Script[None]:
    """Press a button, or interrupt a vCPU."""
    yield from ()
    if trigger is not Trigger.NMI and not is_hvm(guest):
        raise describe(OperationFailed, f"a {guest.config.type.upper()} guest knows no {trigger}", operation)
    if not 0 <= vcpu < guest.config.effective_maxvcpus:
        raise describe(OperationFailed, f"the domain has no vCPU {vcpu}", operation)
    if trigger is Trigger.POWER:
        guest.press(ShutdownReason.POWEROFF)
    elif trigger is Trigger.RESET:
        guest.end(ShutdownReason.REBOOT)


def send_sysrq(operation: Operation[Any], guest: Guest, key: str) -> Script[None]:
    """Press a key of Linux's magic SysRq."""
    yield from ()
    if len(key) != 1 or not key.isascii() or not key.isprintable():
        raise describe(InvalidArgument, f"{key!r} is no key: it takes one letter, as 's' for sync", operation)
    if key in _KEYS:
        guest.soon(lambda: guest.end(_KEYS[key]))
