"""The mapping of libvirt's errors to pyxen's exceptions."""

from __future__ import annotations

import errno
import re
from collections.abc import Collection
from typing import Any, Final

from pyxen._common.shown_uri import redacted
from pyxen._printable import printable
from pyxen.backends.libvirt.binding import number
from pyxen.errors import (
    ConnectFailed,
    DeviceExists,
    DomainExists,
    DomainNotFound,
    Error,
    FileMissing,
    GuestTimeout,
    InvalidArgument,
    InvalidState,
    LockFailed,
    NotEnoughMemory,
    NotFound,
    NotPrivileged,
    OperationCancelled,
    OperationFailed,
    OperationTimeout,
    UnsupportedFeature,
)
from pyxen.operation import Operation

__all__ = [
    "broke_the_link",
    "code_of",
    "failure",
    "is_code",
    "is_errno",
    "is_gone",
    "stopped",
    "unsupported",
    "words_of",
]


def _codes(*names: str) -> frozenset[int]:
    return frozenset(number(f"VIR_ERR_{name}") for name in names) - {-1}


_UNSUPPORTED: Final = _codes("NO_SUPPORT", "CONFIG_UNSUPPORTED", "ARGUMENT_UNSUPPORTED", "OPERATION_UNSUPPORTED")
_DENIED: Final = _codes("AUTH_FAILED", "AUTH_CANCELLED", "AUTH_UNAVAILABLE", "ACCESS_DENIED", "OPERATION_DENIED")
_LINK: Final = _codes("NO_CONNECT", "INVALID_CONN", "RPC", "GNUTLS_ERROR", "SYSTEM_ERROR", "INTERNAL_ERROR")
_ALWAYS_THE_LINK: Final = _codes("NO_CONNECT", "INVALID_CONN")
_FROM_RPC: Final = number("VIR_FROM_RPC")
_SYSTEM_ERROR: Final = number("VIR_ERR_SYSTEM_ERROR")
_GOING: Final = "libxl_domain_info failed"
_LOCK: Final = "state change lock"

_CLASSES: Final[dict[int, type[OperationFailed]]] = {
    code: cls
    for cls, names in (
        (DomainNotFound, ("NO_DOMAIN",)),
        (DomainExists, ("DOM_EXIST",)),
        (InvalidState, ("OPERATION_INVALID", "RESOURCE_BUSY")),
        (OperationTimeout, ("OPERATION_TIMEOUT",)),
        (OperationCancelled, ("OPERATION_ABORTED", "MIGRATE_FINISH_OK")),
        (NotEnoughMemory, ("NO_MEMORY",)),
        (InvalidArgument, ("INVALID_ARG", "XML_ERROR", "XML_DETAIL", "XML_INVALID_SCHEMA", "OVERFLOW")),
        (NotFound, ("DEVICE_MISSING", "NO_NETWORK", "NO_NODE_DEVICE", "NO_SOURCE", "NO_TARGET", "INVALID_INTERFACE")),
        (GuestTimeout, ("AGENT_UNRESPONSIVE", "AGENT_UNSYNCED")),
    )
    for code in _codes(*names)
}

_WORDS: Final[tuple[tuple[str, type[OperationFailed]], ...]] = (
    (_GOING, DomainNotFound),
    (r"\bdomain\b.*\balready exists\b", DomainExists),
    (r"\bdomain\b.*\bis already (active|defined)\b", DomainExists),
    (r"\btarget \S+ already exists\b", DeviceExists),
    (r"\balready (exists|in use by)\b", DeviceExists),
    (r"[Nn]o such file or directory", FileMissing),
    (r"cannot allocate memory|not enough memory|[Ii]nsufficient memory|ENOMEM", NotEnoughMemory),
)
"""Exceptions by the text of libvirt's message, for errors whose code is unspecific."""

_VAGUE: Final = _codes("OPERATION_FAILED", "INTERNAL_ERROR", "OPERATION_INVALID", "SYSTEM_ERROR")


def code_of(error: Exception) -> int:
    """Return libvirt's code of an error; 0 if it has no code."""
    ask = getattr(error, "get_error_code", None)  # only libvirt's exceptions have it
    return int(ask() or 0) if ask is not None else 0


def is_code(error: Exception, *names: str) -> bool:
    """Tell whether an error has one of these codes, named without ``VIR_ERR_``."""
    return code_of(error) in _codes(*names)


def broke_the_link(error: Exception) -> bool:
    """Tell whether an error means that the connection has broken."""
    code = code_of(error)
    if code in _ALWAYS_THE_LINK:
        return True
    return code in _LINK and _domain_of(error) == _FROM_RPC


def is_errno(error: Any, *numbers: int) -> bool:
    """Tell whether an error is an operating system error with one of these errnos."""
    return code_of(error) == _SYSTEM_ERROR and int(error.get_int1() or 0) in numbers


def is_gone(error: Exception) -> bool:
    """Tell whether an error means that a domain is gone or going; libvirt's Xen driver queries Xen even then."""
    return is_code(error, "NO_DOMAIN") or (is_code(error, "INTERNAL_ERROR") and _GOING in str(error))


def _domain_of(error: Any) -> int:
    return int(error.get_error_domain() or 0)


def unsupported(error: Exception) -> bool:
    """Tell whether an error means that the driver does not support the call or its flags."""
    return code_of(error) in _UNSUPPORTED or (
        is_code(error, "INVALID_ARG") and str(error).startswith("unsupported flags")
    )


def words_of(error: Exception) -> str:
    """Return the words of an error for the log: libvirt repeats names and URIs that others chose."""
    return printable(redacted(str(error).strip()))


def failure(
    error: Exception,
    verb: str,
    backend: str,
    *,
    domain: str | int | None = None,
    domid: int | None = None,
    secrets: Collection[str] = (),
) -> Error:
    """Return pyxen's exception for one of libvirt's, with libvirt's message.

    Args:
        error: The exception of libvirt-python.
        verb: The verb that failed.
        backend: The name of the backend.
        domain: The domain that the verb was used on.
        domid: Its domid.
        secrets: Passwords to mask in the message.
    """
    code, words = code_of(error), redacted(str(error).strip(), secrets)
    if unsupported(error):
        return UnsupportedFeature(f"{verb}: {backend} cannot do this: {words}", feature=verb, backend=backend)
    if code in _DENIED:
        return NotPrivileged(f"{verb}: libvirt does not allow this user to do this: {words}")
    if broke_the_link(error):
        return ConnectFailed(f"{verb}: libvirt cannot be reached: {words}")
    cls = _class_of(error, code, words)
    return cls(f"libvirt: {words}", operation=verb, domain=domain, domid=domid, code=code)


def _class_of(error: Any, code: int, words: str) -> type[OperationFailed]:
    if is_errno(error, errno.ENOENT):
        return FileMissing
    if _LOCK in words:
        return LockFailed
    if code in _VAGUE:
        for pattern, cls in _WORDS:
            if re.search(pattern, words):
                return cls
    return _CLASSES.get(code, OperationFailed)


def stopped(operation: Operation[Any], what_now: str) -> OperationFailed:
    """Return the exception for an operation that was stopped, with the state that it leaves behind."""
    cls: type[OperationFailed] = OperationTimeout if operation.stopped == "timeout" else OperationCancelled
    reason = {"timeout": "the deadline passed", "closed": "the host was closed"}.get(
        operation.stopped or "", "cancelled"
    )
    return cls(f"{reason}; {what_now}", operation=operation.verb, domain=operation.subject, domid=operation.domid)
