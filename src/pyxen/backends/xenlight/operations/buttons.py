"""Virtual buttons and SysRq keys of a running domain."""

from __future__ import annotations

from pyxen._common.preconditions import check_sysrq_key, check_vcpu
from pyxen._common.scripts import at_once
from pyxen.backends.xenlight.libxl.binding import lib
from pyxen.backends.xenlight.libxl.context import Context
from pyxen.backends.xenlight.libxl.error_map import raise_failure
from pyxen.backends.xenlight.libxl.event_loop import Script
from pyxen.backends.xenlight.operations.effects import present
from pyxen.operation import Operation
from pyxen.records.info import Trigger

__all__ = ["send_sysrq", "send_trigger"]


def send_trigger(context: Context, operation: Operation[None], domid: int, trigger: Trigger, vcpu: int) -> Script[None]:
    """Press a virtual button, or interrupt a vCPU, as ``xl trigger``."""
    check_vcpu(domid, vcpu, present(context, operation, domid).maxvcpus, operation.verb)
    number = getattr(lib, f"LIBXL_TRIGGER_{trigger.name}")
    code = yield from context.complete(lambda how: lib.libxl_send_trigger(context.pointer, domid, number, vcpu, how))
    raise_failure(operation, code)


@at_once
def send_sysrq(context: Context, operation: Operation[None], domid: int, key: str) -> None:
    """Send a magic SysRq key to a Linux guest, as ``xl sysrq``."""
    check_sysrq_key(domid, key)
    code = lib.libxl_send_sysrq(context.pointer, domid, key.encode())
    if code == 0 and operation.log:  # libxl does not tell whether xenstored took it, but in its log
        code = lib.ERROR_FAIL
    raise_failure(operation, code)
