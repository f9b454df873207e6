"""Virtual buttons, interrupts and SysRq keys of a running domain."""

from __future__ import annotations

from typing import Final

from pyxen._common.preconditions import check_sysrq_key
from pyxen.backends.base import DomainRef
from pyxen.backends.libvirt.binding import VirDomain, number
from pyxen.errors import InvalidArgument
from pyxen.features import Feature, lacking
from pyxen.records.info import Trigger

__all__ = ["send_sysrq", "send_trigger"]

_POWER_BUTTON: Final = number("VIR_DOMAIN_SHUTDOWN_ACPI_POWER_BTN")
_LINUX_KEYS: Final = number("VIR_KEYCODE_SET_LINUX")

_ALT: Final = 56
_SYSRQ: Final = 99
_ROWS: Final = ((2, "1234567890"), (16, "qwertyuiop"), (30, "asdfghjkl"), (44, "zxcvbnm"))
_KEYS: Final = {key: first + place for first, row in _ROWS for place, key in enumerate(row)}
"""Linux's key codes."""


def send_trigger(domain: VirDomain, trigger: Trigger, vcpu: int, backend: str) -> None:
    """Press a button or interrupt the vCPUs."""
    if vcpu and trigger is Trigger.NMI:
        raise lacking(Feature.TRIGGER, backend, "libvirt sends an NMI to all vCPUs: leave out vcpu")
    if trigger is Trigger.POWER:
        domain.shutdownFlags(_POWER_BUTTON)
    elif trigger is Trigger.NMI:
        domain.injectNMI(0)
    elif trigger is Trigger.RESET:
        domain.reset(0)
    elif trigger is Trigger.S3RESUME:
        domain.pMWakeup(0)
    else:
        raise lacking(Feature.TRIGGER, f"{backend} ({trigger.value})")


def send_sysrq(domain: VirDomain, ref: DomainRef, key: str) -> None:
    """Press Alt+SysRq with a key."""
    check_sysrq_key(ref.domid, key)
    if key.lower() not in _KEYS:
        message = f"{key!r} is not a SysRq key: use one letter or digit, such as 's' for sync"
        raise InvalidArgument(message, operation="send_sysrq", domain=ref.domid, domid=ref.domid)
    keys = [_ALT, _SYSRQ, _KEYS[key.lower()]]
    domain.sendKey(_LINUX_KEYS, 50, keys, len(keys), 0)
