"""PCI devices on their way to a domain and back: what libxl does not check, or waits for in its only thread.

libxl keeps the domid of the domain that has a device in xenstore. It removes this record whenever an attach fails, also
that of another domain; and it removes it when a guest does not release a device, though the guest still has it.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator, Sequence
from typing import Any, Final

from pyxen._common.pci_preconditions import (
    check_distinct,
    check_one_function,
    held,
    is_symbolic,
    meant_by,
    one_function,
)
from pyxen.backends.xenlight.libxl.context import Context
from pyxen.backends.xenlight.libxl.event_loop import Script, Wait
from pyxen.backends.xenlight.operations.pci import devices, forget_dead_holders, holders
from pyxen.config import DomainConfig, DomainType, Pci, PciAddress
from pyxen.operation import Operation

__all__ = ["by_address", "check_free", "has_answered", "reserved_pcis"]

_GIVEN: Final[set[PciAddress]] = set()
"""The devices that this process gives to a domain now. What one host gives, another must not give, either."""

os.register_at_fork(after_in_child=_GIVEN.clear)  # what the parent gives, the child does not

_CONNECTED: Final = "4"
"""The state of a backend, XenbusStateConnected."""

_PATIENCE: Final = 10.0  # seconds for a guest to answer its backend, as libxl gives it
_LOOK_AGAIN: Final = 0.05  # seconds between looks at a backend


@contextlib.contextmanager
def reserved_pcis(context: Context, operation: Operation[Any], pcis: Sequence[Pci]) -> Iterator[None]:
    """Refuse PCI devices that a domain gets now. In the block, this process gives them to no other one.

    Raises:
        NotFound: This process gives one to a domain.
        InvalidArgument: One stands for several functions.
    """
    addresses = _addresses(context, operation, pcis)
    for address in addresses:
        if address in _GIVEN:
            raise held(operation, address, None)
    forget_dead_holders(context.hypervisor, addresses)
    _GIVEN.update(addresses)
    try:
        yield
    finally:
        _GIVEN.difference_update(addresses)


def check_free(context: Context, operation: Operation[Any], pcis: Sequence[Pci]) -> None:
    """Refuse PCI devices that a domain has.

    Raises:
        NotFound: A domain has one.
        InvalidArgument: One stands for several functions.
    """
    addresses = _addresses(context, operation, pcis)
    for address, domid in holders(context.hypervisor, addresses).items():
        raise held(operation, address, domid)


def by_address(context: Context, operation: Operation[Any], config: DomainConfig) -> DomainConfig:
    """Return a configuration whose PCI devices have addresses: libxl's JSON loses one that has only a name.

    Raises:
        NotFound: The host has no device with such a name.
        InvalidArgument: One stands for several functions, or two for the same one.
    """
    if not any(map(is_symbolic, config.pcis)):
        return config
    present = devices(context.hypervisor)
    pcis = [one_function(operation, present, pci) for pci in config.pcis]
    check_distinct(operation, [pci.address for pci in pcis if pci.address is not None])
    return config.replace(pcis=pcis)


def _addresses(context: Context, operation: Operation[Any], pcis: Sequence[Pci]) -> list[PciAddress]:
    """Return the addresses of devices, without those that the host does not have."""
    if any(map(is_symbolic, pcis)):
        present = devices(context.hypervisor)
        check_one_function(operation, present, pcis)
        addresses = [device.address for pci in pcis for device in meant_by(present, pci)]
    else:
        addresses = [pci.address for pci in pcis if pci.address is not None]
    check_distinct(operation, addresses)
    return addresses


def has_answered(context: Context, domid: int, *, abortable: bool = True) -> Script[bool]:
    """Wait until a PV guest has answered its PCI backend; False if it does not, in time. This is a part of a script.

    libxl would wait for that in a loop, which holds up all operations of the process.
    """
    info = context.hypervisor.glance_at(domid)
    if info is None or info.type is not DomainType.PV:  # the devices of other guests are QEMU's
        return True
    state = f"/local/domain/0/backend/pci/{domid}/0/state"
    late = time.monotonic() + _PATIENCE
    while context.hypervisor.read(state) not in {None, _CONNECTED}:  # None: it has no device yet
        if time.monotonic() > late:
            return False
        yield Wait(context.token(), None if abortable else (lambda: 0), until=time.monotonic() + _LOOK_AGAIN)
    return True
