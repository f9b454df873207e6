"""Virtual buttons, interrupts and SysRq keys of a simulated guest."""

from __future__ import annotations

from typing import Any, Final

from pyxen._common.preconditions import check_sysrq_key
from pyxen._common.scripts import at_once
from pyxen.backends.memory.engine import describe
from pyxen.backends.memory.guests import Guest, is_hvm
from pyxen.errors import OperationFailed
from pyxen.info import ShutdownReason, Trigger
from pyxen.operation import Operation

__all__ = ["send_sysrq", "send_trigger"]

_KEYS: Final = {"b": ShutdownReason.REBOOT, "o": ShutdownReason.POWEROFF, "c": ShutdownReason.CRASH}
"""The SysRq keys that end a guest."""


@at_once
def send_trigger(operation: Operation[Any], guest: Guest, trigger: Trigger, vcpu: int) -> None:
    """Press a button or interrupt a vCPU."""
    if trigger is not Trigger.NMI and not is_hvm(guest):
        raise describe(OperationFailed, f"a {guest.config.type.upper()} guest has no {trigger} trigger", operation)
    if not 0 <= vcpu < guest.config.effective_maxvcpus:
        raise describe(OperationFailed, f"the domain has no vCPU {vcpu}", operation)
    if trigger is Trigger.POWER:
        guest.press(ShutdownReason.POWEROFF)
    elif trigger is Trigger.RESET:
        guest.end(ShutdownReason.REBOOT)


@at_once
def send_sysrq(guest: Guest, key: str) -> None:
    """Press Alt+SysRq with a key."""
    check_sysrq_key(guest.domid, key)
    if key in _KEYS:
        guest.soon(lambda: guest.end(_KEYS[key]))
