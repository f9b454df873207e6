"""Effects of libxl's functions that nothing but xenstore shows.

Some of these functions do not look whether xenstored has taken what they write, and succeed all the same.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pyxen._printable import quoted
from pyxen.backends.xenlight.libxl.context import Context
from pyxen.backends.xenlight.libxl.error_map import describe
from pyxen.errors import DomainNotFound, XenstoreError
from pyxen.operation import Operation
from pyxen.records.info import DomainInfo

__all__ = ["availability", "check_written", "not_written", "present"]


def check_written(context: Context, operation: Operation[Any], nodes: Mapping[str, str | None], fate: str = "") -> None:
    """Check that nodes have the values that libxl has just written; None: that they are gone. One round trip.

    Args:
        context: The context.
        operation: The operation.
        nodes: The values, by path.
        fate: What has become of the operation otherwise, for the message.

    Raises:
        XenstoreError: A node has another value.
    """
    found = context.hypervisor.read_all([*nodes])
    for (path, wanted), has in zip(nodes.items(), found, strict=True):
        if has != wanted:
            raise not_written(operation, path, wanted, has, fate)


def not_written(
    operation: Operation[Any], path: str, wanted: object | None, has: object | None, fate: str = ""
) -> XenstoreError:
    """Return the exception for a node that has another value than libxl has written."""
    should = "be gone" if wanted is None else f"be {wanted}"
    shown = "is not there" if has is None else f"is {quoted(str(has))}"
    message = (
        f"xenstored did not take what libxl wrote: {path} should {should}, and {shown}; it may have no room, or "
        f"another program wrote there at the same time: try again{fate}"
    )
    error = describe(XenstoreError, message, operation)
    error.path = path
    return error


def availability(domid: int, vcpus: int, online: int) -> dict[str, str]:
    """Return the nodes that tell a guest which of its vCPUs to use, with their values when it uses so many."""
    return {
        f"/local/domain/{domid}/cpu/{number}/availability": "online" if number < online else "offline"
        for number in range(vcpus)
    }


def present(context: Context, operation: Operation[Any], domid: int) -> DomainInfo:
    """Return a domain's info.

    Raises:
        DomainNotFound: It is gone.
    """
    info = context.hypervisor.domain(domid)
    if info is None:
        raise describe(DomainNotFound, "the domain is gone", operation)
    return info
