"""The collection of a host's USB devices, with lookup by port, or by bus and address."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence

from pyxen._common.usb_lookup import check_usb_key, find_usb, find_usb_or_none
from pyxen.backends.base import Backend
from pyxen.operation import Calls
from pyxen.records.base import html_table
from pyxen.records.host_devices import UsbDevice

__all__ = ["UsbDevices", "UsbKey"]

UsbKey = str | tuple[int, int]
"""A port such as ``1-2.3``; or bus and address, as ``lsusb`` prints them."""


class UsbDevices(Collection[UsbDevice]):
    """The current USB devices of a host, hubs included. Each lookup asks the host; nothing is cached.

    ::

        stick = host.usb["1-2"]
        host.domains["web1"].attach(UsbDev(hostbus=stick.hostbus, hostaddr=stick.hostaddr))
        host.usb["1-2"].domid
    """

    def __init__(self, backend: Backend, calls: Calls) -> None:
        self._backend = backend
        self._calls = calls

    def __repr__(self) -> str:
        return f"<UsbDevices of {self._backend.uri}>"

    def _repr_html_(self) -> str:
        shown = ["hostbus", "hostaddr", "port", "manufacturer", "product", "domid"]
        rows = [tuple(getattr(device, name) for name in shown) for device in self._backend.usb_devices()]
        return html_table(shown, rows)

    def __getitem__(self, key: UsbKey) -> UsbDevice:
        """Return a device by its port, e.g. ``host.usb["1-2"]``, or by bus and address: ``host.usb[1, 3]``.

        Raises:
            NotFound: There is no such device.
            InvalidArgument: It is neither a port nor bus and address.
        """
        check_usb_key(key, "usb")
        return self._calls.ask(lambda: find_usb(self._backend.usb_devices(), key, "usb"))

    def get(self, key: UsbKey) -> UsbDevice | None:
        """Return a device by its port, or by bus and address; None if there is no such device."""
        check_usb_key(key, "usb")
        return self._calls.ask(lambda: find_usb_or_none(self._backend.usb_devices(), key))

    def __contains__(self, key: object) -> bool:
        if isinstance(key, UsbDevice):
            return any(device == key for device in self)
        return isinstance(key, str | tuple) and find_usb_or_none(self._backend.usb_devices(), key) is not None

    def __iter__(self) -> Iterator[UsbDevice]:
        return iter(self._backend.usb_devices())

    def __len__(self) -> int:
        return len(self._backend.usb_devices())

    def list(self) -> Sequence[UsbDevice]:
        """Return all USB devices, ordered by bus and address.

        Each says which domain has it, and in which port of which controller of that domain it is, as ``xl usb-list``.

        Raises:
            UnsupportedFeature: This backend does not know them.
        """
        return self._calls.ask(self._backend.usb_devices)
