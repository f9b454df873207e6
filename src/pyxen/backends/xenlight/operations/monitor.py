"""Monitor commands for a domain's device model, QEMU."""

from __future__ import annotations

from pyxen._common.qmp import check_monitor_command, no_qemu
from pyxen.backends.xenlight.hypervisor import Hypervisor
from pyxen.backends.xenlight.libxl.binding import ffi, lib
from pyxen.backends.xenlight.libxl.context import Context
from pyxen.backends.xenlight.libxl.error_map import BACKEND, raise_failure
from pyxen.backends.xenlight.libxl.event_loop import Script
from pyxen.operation import Operation

__all__ = ["has_qemu", "monitor_command"]


def has_qemu(hypervisor: Hypervisor, domid: int) -> bool:
    """Tell whether dom0 runs a device model for a domain."""
    return hypervisor.read(f"/local/domain/0/device-model/{domid}/state") is not None


def monitor_command(context: Context, operation: Operation[str], domid: int, command: str) -> Script[str]:
    """Run a human monitor command in a domain's QEMU, and return its output."""
    check_monitor_command(operation, command)
    if not has_qemu(context.hypervisor, domid):
        raise no_qemu(operation.verb, domid, BACKEND)
    output = ffi.new("char **")
    text = ffi.new("char[]", command.encode())
    code = yield from context.complete(
        lambda how: lib.libxl_qemu_monitor_command(context.pointer, domid, text, output, how)
    )
    raise_failure(operation, code)
    answer = ffi.gc(output[0], lib.free)
    return "" if answer == ffi.NULL else ffi.string(answer).decode(errors="replace").replace("\r\n", "\n")
