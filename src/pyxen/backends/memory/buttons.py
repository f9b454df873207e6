"""Virtual buttons, interrupts and SysRq keys of a simulated guest."""

from __future__ import annotations

from typing import Any, Final

from pyxen._common.preconditions import check_sysrq_key, check_vcpu
from pyxen._common.scripts import at_once
from pyxen.backends.memory.engine import failed, refused
from pyxen.backends.memory.guests import Guest, is_hvm
from pyxen.backends.memory.machine import Machine
from pyxen.config import DomainType
from pyxen.operation import Operation
from pyxen.records.info import ShutdownReason, Trigger

__all__ = ["send_sysrq", "send_trigger"]

_ACPI: Final = frozenset({Trigger.POWER, Trigger.SLEEP})
"""Buttons that are announced by an ACPI event."""

_UNKNOWN_TO_XEN: Final = frozenset({Trigger.INIT, Trigger.RESET})
"""Triggers that ``xl trigger`` has, and Xen does not carry out."""

_KEYS: Final = {"b": ShutdownReason.REBOOT, "o": ShutdownReason.POWEROFF, "c": ShutdownReason.CRASH}
"""The SysRq keys that end a guest."""


@at_once
def send_trigger(operation: Operation[Any], guest: Guest, trigger: Trigger, vcpu: int) -> None:
    """Press a button or interrupt a vCPU."""
    check_vcpu(guest.domid, vcpu, guest.config.effective_maxvcpus, operation.verb)
    if trigger is Trigger.S3RESUME and not is_hvm(guest):
        raise refused(operation, f"Domain {guest.domid}:Send trigger 's3resume' failed, rc=-6")
    if trigger in _UNKNOWN_TO_XEN:
        raise failed(operation, f"Domain {guest.domid}:Send trigger '{trigger}' failed: Function not implemented")
    if trigger in _ACPI and guest.config.type is DomainType.PV:
        raise failed(operation, f"Domain {guest.domid}:Send trigger '{trigger}' failed: Invalid argument")
    if trigger is Trigger.POWER:
        guest.press(ShutdownReason.POWEROFF)


@at_once
def send_sysrq(machine: Machine, guest: Guest, key: str) -> None:
    """Press Alt+SysRq with a key, which stands in xenstore until the guest has taken it."""
    check_sysrq_key(guest.domid, key)
    machine.store_nodes.press(guest, key)

    def take() -> None:
        machine.store_nodes.press(guest, "")
        if key in _KEYS:
            guest.end(_KEYS[key])

    guest.soon(take)
