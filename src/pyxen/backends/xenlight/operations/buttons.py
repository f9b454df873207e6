"""Buttons and keys of a running domain."""

from __future__ import annotations

from pyxen.backends.xenlight.libxl.binding import lib
from pyxen.backends.xenlight.libxl.context import Context
from pyxen.backends.xenlight.libxl.error_map import describe, raise_failure
from pyxen.backends.xenlight.libxl.event_loop import Script
from pyxen.errors import InvalidArgument
from pyxen.info import Trigger
from pyxen.operation import Operation

__all__ = ["send_sysrq", "send_trigger"]


def send_trigger(context: Context, operation: Operation[None], domid: int, trigger: Trigger, vcpu: int) -> Script[None]:
    """Press a button, or interrupt a vCPU, as ``xl trigger``."""
    number = getattr(lib, f"LIBXL_TRIGGER_{trigger.name}")
    code = yield from context.complete(lambda how: lib.libxl_send_trigger(context.pointer, domid, number, vcpu, how))
    raise_failure(operation, code)


def send_sysrq(context: Context, operation: Operation[None], domid: int, key: str) -> Script[None]:
    """Press a key of Linux's magic SysRq, as ``xl sysrq``."""
    yield from ()
    if len(key) != 1 or not key.isascii() or not key.isprintable():
        raise describe(InvalidArgument, f"{key!r} is no key: it takes one letter, as 's' for sync", operation)
    raise_failure(operation, lib.libxl_send_sysrq(context.pointer, domid, key.encode()))
