"""The USB devices of a host as a collection, for asyncio.

Generated from `pyxen.usbdevices` by ``python -m tools.aio_face``: do not edit.
"""

from __future__ import annotations

from collections.abc import Sequence

from pyxen._common.usb_lookup import check_usb_key, find_usb, find_usb_or_none
from pyxen.aio._hostdevices import UsbDevicesBase
from pyxen.records.host_devices import UsbDevice

__all__ = ["UsbDevices", "UsbKey"]

UsbKey = str | tuple[int, int]
"""A port such as ``1-2.3``; or bus and address, as ``lsusb`` prints them."""


class UsbDevices(UsbDevicesBase):
    """The current USB devices of a host: `pyxen.UsbDevices`, awaited. Each lookup asks the host; nothing is cached.

    ``await host.usb["1-2"]`` looks one up, and ``async for device in host.usb`` yields all.
    """

    def __repr__(self) -> str:
        return f"<UsbDevices of {self._backend.uri}>"

    async def __getitem__(self, key: UsbKey) -> UsbDevice:
        """Return a device by its port, e.g. ``host.usb["1-2"]``, or by bus and address: ``host.usb[1, 3]``.

        Raises:
            NotFound: There is no such device.
            InvalidArgument: It is neither a port nor bus and address.
        """
        check_usb_key(key, "usb")
        return await self._calls.ask(lambda: find_usb(self._backend.usb_devices(), key, "usb"))

    async def get(self, key: UsbKey) -> UsbDevice | None:
        """Return a device by its port, or by bus and address; None if there is no such device."""
        check_usb_key(key, "usb")
        return await self._calls.ask(lambda: find_usb_or_none(self._backend.usb_devices(), key))

    async def list(self) -> Sequence[UsbDevice]:
        """Return all USB devices, ordered by bus and address.

        Each says which domain has it, and in which port of which controller of that domain it is, as ``xl usb-list``.

        Raises:
            UnsupportedFeature: This backend does not know them.
        """
        return await self._calls.ask(self._backend.usb_devices)
