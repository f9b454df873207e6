"""Flask, Xen's security module. What only reads goes through libxenctrl, what changes something through libxl."""

from __future__ import annotations

import errno
import os
from typing import Final

from pyxen._common.flask_arguments import check_label, check_ssidref, without_flask
from pyxen._common.scripts import at_once
from pyxen.backends.xenlight.hypervisor import Hypervisor
from pyxen.backends.xenlight.libxl.binding import ffi, lib
from pyxen.backends.xenlight.libxl.context import Context
from pyxen.backends.xenlight.libxl.error_map import BACKEND
from pyxen.errors import Error, InvalidArgument, OperationFailed
from pyxen.operation import Operation

__all__ = ["enforcing", "label", "load_policy", "set_enforcing", "ssidref"]

_ROOM: Final = 4096
_WITHOUT: Final = {errno.ENOSYS, errno.EOPNOTSUPP}
_WRONG: Final = {errno.EINVAL, errno.ENOENT, errno.ERANGE}


def enforcing(hypervisor: Hypervisor) -> bool:
    """Tell whether the policy is enforced, as ``xl getenforce``."""
    with hypervisor.handle() as xc:
        mode: int = lib.xc_flask_getenforce(xc)
        if mode < 0:
            raise _failure("enforcing", ffi.errno, "")
    return mode != 0


def label(hypervisor: Hypervisor, number: int) -> str:
    """Return a label in words."""
    check_ssidref(number)
    text = ffi.new("char[]", _ROOM)
    with hypervisor.handle() as xc:
        if lib.xc_flask_sid_to_context(xc, number, text, _ROOM - 1) != 0:  # what is not filled stays 0
            raise _failure("label", ffi.errno, f"there is no label {number}")
    found: str = ffi.string(text).decode(errors="replace")
    return found


def ssidref(hypervisor: Hypervisor, text: str) -> int:
    """Return the number of a label."""
    data = check_label(text)
    number = ffi.new("uint32_t *")
    with hypervisor.handle() as xc:
        if lib.xc_flask_context_to_sid(xc, ffi.new("char[]", data), len(data), number) != 0:
            raise _failure("ssidref", ffi.errno, f"the policy has no label {text}")
    return int(number[0])


@at_once
def set_enforcing(context: Context, operation: Operation[None], mode: bool) -> None:
    """Set whether the policy is enforced, as ``xl setenforce``."""
    if lib.libxl_flask_setenforce(context.pointer, mode) != 0:
        raise _failure(operation.verb, ffi.errno, "Xen does not take this mode")


@at_once
def load_policy(context: Context, operation: Operation[None], policy: bytes) -> None:
    """Replace the policy, as ``xl loadpolicy``."""
    if lib.libxl_flask_loadpolicy(context.pointer, ffi.from_buffer(policy), len(policy)) != 0:
        raise _failure(operation.verb, ffi.errno, "it is not a policy that this Xen can read")


def _failure(verb: str, code: int, wrong: str) -> Error:
    """Return the exception for an errno.

    Args:
        verb: The verb that failed.
        code: The errno.
        wrong: What an argument that Xen refuses is.
    """
    if code in _WITHOUT:
        return without_flask(verb, BACKEND)
    if wrong and code in _WRONG:
        return InvalidArgument(wrong, operation=verb, code=-code)
    if code in {errno.EPERM, errno.EACCES}:
        return OperationFailed("the security policy does not allow it", operation=verb, code=-code)
    return OperationFailed(f"Xen refuses: {os.strerror(code)}", operation=verb, code=-code)
