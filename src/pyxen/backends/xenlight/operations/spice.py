"""The SPICE server of a domain, which only its QEMU knows: libxl writes nothing of it to xenstore."""

from __future__ import annotations

import select
import socket
import time
from typing import Any, Final

from pyxen._common.qmp import request
from pyxen.backends.xenlight.operations.qmp import ONLY_LOOK, Broken, HungUp, Monitor, Refused, Unreachable
from pyxen.config import DomainType
from pyxen.errors import OperationTimeout, QmpError
from pyxen.records.endpoints import SpiceEndpoint
from pyxen.records.info import DomainInfo

__all__ = ["spice"]

PATIENCE: Final = 3.0
"""Seconds that QEMU has to answer. It serves other clients first."""

_RETRY: Final = 0.02
_MOST_PORT: Final = 65535
_LONGEST_ADDRESS: Final = 255


def spice(info: DomainInfo) -> SpiceEndpoint | None:
    """Return the SPICE server of a domain; None if there is none, or no QEMU, or one that ends or knows no SPICE.

    Raises:
        OperationTimeout: QEMU does not answer in time.
        QmpError: Its answer is not valid.
    """
    if info.type is not DomainType.HVM:
        return None
    end = time.monotonic() + PATIENCE

    def wait(channel: socket.socket | None, event: int) -> None:
        left = end - time.monotonic()
        if left <= 0:
            message = f"QEMU has not said within {PATIENCE:g} s whether it has a SPICE server: does it hang?"
            raise OperationTimeout(message, operation="endpoints", domain=info.domid, domid=info.domid)
        if channel is not None and event == ONLY_LOOK:
            return
        poller = select.poll()
        if channel is not None:
            poller.register(channel, event)
        poller.poll((left if channel is not None else min(left, _RETRY)) * 1000)

    try:
        monitor = Monitor(info.domid, wait)
    except Unreachable:
        return None
    try:
        monitor.greet()
        return _endpoint(monitor.execute(request("query-spice", {})))
    except (Refused, HungUp):  # it has just ended
        return None
    except Broken as broken:
        message = f"QEMU's answer about its SPICE server makes no sense: {broken}"
        raise QmpError(message, operation="endpoints", domain=info.domid, domid=info.domid) from None
    finally:
        monitor.close()


def _endpoint(answer: Any) -> SpiceEndpoint | None:
    """Return what QEMU's answer says."""
    if not isinstance(answer, dict) or not isinstance(answer.get("enabled"), bool):
        raise Broken("it does not say whether there is one")
    if not answer["enabled"]:
        return None
    port, tls_port, address = _port(answer, "port"), _port(answer, "tls-port"), answer.get("host")
    if port is None and tls_port is None:
        return None
    if not isinstance(address, str) or len(address) > _LONGEST_ADDRESS or not address.isprintable():
        raise Broken("the address is not valid")
    everywhere = address in {"", "*"}
    return SpiceEndpoint(None if everywhere else address, port, tls_port, needs_password=answer.get("auth") != "none")


def _port(answer: dict[str, Any], name: str) -> int | None:
    port = answer.get(name)
    if port is None:
        return None
    if type(port) is not int or not 0 <= port <= _MOST_PORT:
        raise Broken(f"the {name} is not valid")
    return port or None
