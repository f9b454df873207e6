"""The hand-written bases of the collections of a host's devices, with replacements for what Python cannot await."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import NoReturn

from pyxen.aio._calls import Calls
from pyxen.backends.base import Backend
from pyxen.records.host_devices import PciDevice, UsbDevice

__all__ = ["PciDevicesBase", "UsbDevicesBase"]


class _Devices:
    """Base of the devices of an asyncio host."""

    def __init__(self, backend: Backend, calls: Calls) -> None:
        self._backend = backend
        self._calls = calls

    # Without these two, Python would fall back on __getitem__ and treat the coroutine as true.

    def __contains__(self, key: object) -> NoReturn:
        raise TypeError("'in' cannot await: use `await devices.get(key) is not None`")

    def __iter__(self) -> NoReturn:
        raise TypeError("'for' cannot await: use `async for device in devices`")


class PciDevicesBase(_Devices):
    """Base of the PCI devices of an asyncio host."""

    async def __aiter__(self) -> AsyncIterator[PciDevice]:
        for device in await self._calls.ask(self._backend.pci_devices):
            yield device


class UsbDevicesBase(_Devices):
    """Base of the USB devices of an asyncio host."""

    async def __aiter__(self) -> AsyncIterator[UsbDevice]:
        for device in await self._calls.ask(self._backend.usb_devices):
            yield device
