"""The map from libxl's error codes to pyxen's exceptions."""

from __future__ import annotations

import re
from typing import Any, Final

from pyxen._common.stopped import what_stays
from pyxen.backends.xenlight.libxl.binding import ffi, lib, release
from pyxen.errors import (
    DeviceExists,
    DomainNotFound,
    Error,
    GuestTimeout,
    InvalidArgument,
    LockFailed,
    NoGuestDriver,
    NotEnoughMemory,
    NotFound,
    NotReady,
    OperationCancelled,
    OperationFailed,
    OperationTimeout,
    QmpError,
    UnsupportedFeature,
)
from pyxen.operation import Operation, describe

__all__ = ["BACKEND", "code_name", "describe", "failure", "raise_failure", "stopped"]

BACKEND: Final = f"xenlight (Xen {release})"
"""The name of this backend in errors."""

_CODES: dict[int, str] = ffi.typeof("libxl_error").elements

_CLASSES: dict[str, tuple[type[OperationFailed], str]] = {
    "ERROR_NOMEM": (NotEnoughMemory, "not enough memory: free some on the host, or ask for less"),
    "ERROR_INVAL": (InvalidArgument, "libxl refuses a value"),
    "ERROR_GUEST_TIMEDOUT": (GuestTimeout, "the guest did not answer in time"),
    "ERROR_TIMEDOUT": (OperationTimeout, "something that libxl waited for did not happen in time"),
    "ERROR_NOPARAVIRT": (NoGuestDriver, "the guest has no PV driver that could answer"),
    "ERROR_NOT_READY": (NotReady, "not ready yet: try again"),
    "ERROR_LOCK_FAIL": (LockFailed, "libxl could not lock its notes on this domain: has it gone meanwhile?"),
    "ERROR_DEVICE_EXISTS": (DeviceExists, "the domain has such a device already"),
    "ERROR_DOMAIN_NOTFOUND": (DomainNotFound, "there is no such domain"),
    "ERROR_DOMAIN_DESTROYED": (DomainNotFound, "the domain was destroyed meanwhile"),
    "ERROR_ABORTED": (OperationCancelled, "aborted"),
    "ERROR_NOTFOUND": (NotFound, "not found"),
    "ERROR_PROTOCOL_ERROR_QMP": (QmpError, "the device model's answer makes no sense"),
    "ERROR_UNKNOWN_QMP_ERROR": (QmpError, "the device model reports an unknown error"),
    "ERROR_QMP_GENERIC_ERROR": (QmpError, "the device model refuses"),
    "ERROR_QMP_COMMAND_NOT_FOUND": (QmpError, "the device model does not know the command"),
    "ERROR_QMP_DEVICE_NOT_ACTIVE": (QmpError, "the device is not active in the device model"),
    "ERROR_QMP_DEVICE_NOT_FOUND": (QmpError, "the device model has no such device"),
    "ERROR_QEMU_API": (QmpError, "this device model is too old or too new for libxl"),
}

_QEMU_GONE: Final = re.compile("QMP socket|device model did not start")
"""What libxl logs where QEMU has ended, or does not begin."""
_CODES_WITHOUT_QEMU: Final = {"ERROR_FAIL", "ERROR_GUEST_TIMEDOUT", "ERROR_PROTOCOL_ERROR_QMP"}
"""What libxl returns then, by the verb and the moment."""

_UNSUPPORTED = {"ERROR_NI", "ERROR_FEATURE_REMOVED", "ERROR_VERSION"}


def code_name(code: int) -> str:
    """Return libxl's name for a code, e.g. ``ERROR_NOMEM``."""
    return _CODES.get(code, f"code {code}")


def failure(operation: Operation[Any], code: int) -> Error:
    """Return the exception for a code that an operation ended with."""
    if operation.stopped is not None:
        return stopped(operation, code)
    name = code_name(code)
    if name in _UNSUPPORTED:
        message = f"{operation.verb}: libxl of Xen {release} does not support this ({name})"
        return UnsupportedFeature(message, feature=operation.verb, backend=BACKEND)
    if name in _CODES_WITHOUT_QEMU and any(map(_QEMU_GONE.search, operation.log)):
        message = "QEMU has ended, or did not start: its log on the host, /var/log/xen/qemu-dm-NAME.log, may say why"
        return describe(QmpError, message, operation, code)
    cls, message = _CLASSES.get(name, (OperationFailed, "failed"))
    return describe(cls, f"{message} ({name})", operation, code)


def raise_failure(operation: Operation[Any], code: int) -> None:
    """Raise the exception for a code, unless it is 0."""
    if code != 0:
        raise failure(operation, code)


def stopped(operation: Operation[Any], code: int = lib.ERROR_ABORTED, now: str | None = None) -> OperationFailed:
    """Return the exception for an operation that was stopped. `now` tells what stays."""
    now = now or what_stays(operation)
    if operation.stopped == "timeout":
        return describe(OperationTimeout, f"the deadline passed; {now}", operation, code)
    reason = "the host was closed" if operation.stopped == "closed" else "cancelled"
    return describe(OperationCancelled, f"{reason}; {now}", operation, code)
