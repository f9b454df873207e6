"""The domains other than dom0 that serve devices; toolstacks do not report which of them is missing."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Final

from pyxen._common.device_kinds import name_of
from pyxen._printable import quoted
from pyxen.config import DomainConfig, Part
from pyxen.config.device_table import KINDS, SERVED
from pyxen.errors import NotFound
from pyxen.operation import Operation, describe

__all__ = ["is_served_by_dom0", "no_backend_of", "served_devices"]

_DOM0: Final = (None, "", "0", "Domain-0")
"""How a device names the domain that serves it, if that is dom0."""

_NOUNS: Final[dict[type[Part], str]] = {kind.part: kind.noun for kind in KINDS}
_HOT: Final[set[type[Part]]] = {kind.part for kind in KINDS if kind.hot}


def is_served_by_dom0(device: Part) -> bool:
    """Tell whether dom0 serves a device. What it names is another domain's otherwise, such as files and bridges."""
    return getattr(device, "backend", None) in _DOM0 and not getattr(device, "backend_domid", None)


def served_devices(config: DomainConfig) -> list[Part]:
    """Return the devices of a configuration that another domain can serve."""
    return [device for field in SERVED for device in getattr(config, field)]


def no_backend_of(
    operation: Operation[Any], devices: Iterable[Part], exists: Callable[[str | int], bool]
) -> NotFound | None:
    """Return the exception for the first device whose backend domain does not exist; None if all exist.

    Args:
        operation: The operation that needs it.
        devices: The devices.
        exists: Tells whether there is a domain with a name or a domid. A name can also be a number in text.
    """
    for device in devices:
        backend: str | int = getattr(device, "backend", None) or getattr(device, "backend_domid", None) or 0
        if not backend or exists(backend):
            continue
        shown = quoted(backend) if isinstance(backend, str) else str(backend)
        name = name_of(device) if type(device) in _HOT else ""
        what = f"{_NOUNS[type(device)]} {name}".rstrip()
        message = f"there is no domain {shown} to serve the {what}: create it first, or leave the backend out"
        return describe(NotFound, message, operation)
    return None
