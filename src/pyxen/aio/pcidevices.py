"""The PCI devices of a host as a collection, for asyncio.

Generated from `pyxen.pcidevices` by ``python -m tools.aio_face``: do not edit.
"""

from __future__ import annotations

from collections.abc import Sequence

from pyxen._common.arguments import check_bools
from pyxen._common.pci_preconditions import check_key, check_name, find_pci, find_pci_or_none
from pyxen.aio._hostdevices import PciDevicesBase
from pyxen.config import PciAddress
from pyxen.records.host_devices import PciDevice

__all__ = ["PciDevices", "PciKey"]

PciKey = PciAddress | str
"""An address such as ``0000:03:00.0`` or ``03:00.0``; or a name given with `PciDevices.assignable_add`."""


class PciDevices(PciDevicesBase):
    """The current PCI devices of a host: `pyxen.PciDevices`, awaited. Each lookup asks the host; nothing is cached.

    ``await host.pci["03:00.0"]`` looks one up, and ``async for device in host.pci`` yields all.
    """

    def __repr__(self) -> str:
        return f"<PciDevices of {self._backend.uri}>"

    async def __getitem__(self, key: PciKey) -> PciDevice:
        """Return a device by address, or by the name given to it.

        Raises:
            NotFound: There is no such device.
            InvalidArgument: It is neither an address nor a name.
        """
        check_key(key, "pci")
        return await self._calls.ask(lambda: find_pci(self._backend.pci_devices(), key, "pci"))

    async def get(self, key: PciKey) -> PciDevice | None:
        """Return a device by address, or by the name given to it; None if there is no such device."""
        check_key(key, "pci")
        return await self._calls.ask(lambda: find_pci_or_none(self._backend.pci_devices(), key))

    async def list(self) -> Sequence[PciDevice]:
        """Return all PCI devices, ordered by address.

        Each says which domain has it, and where in that domain it is, as ``xl pci-list``.

        Raises:
            UnsupportedFeature: This backend does not know them.
        """
        return await self._calls.ask(self._backend.pci_devices)

    async def assignable_list(self) -> Sequence[PciDevice]:
        """Return the devices that can be given to a guest, as ``xl pci-assignable-list -n``, ordered by address.

        Raises:
            UnsupportedFeature: This backend does not know them.
        """
        return [device for device in await self._calls.ask(self._backend.pci_devices) if device.assignable]

    async def assignable_add(self, address: PciAddress | str, *, name: str | None = None, rebind: bool = True) -> None:
        """Take a device from its driver in dom0 and make it assignable, as ``xl pci-assignable-add``.

        Whatever uses the device in dom0 loses it, so do not take the controller of dom0's own disk. For a device that
        is assignable already, this only sets its name.

        Args:
            address: Its address.
            name: A name for it, as ``xl pci-assignable-add -n``, with which `Pci` and this collection find it: 1 to 64
                visible ASCII characters. Default: no name, and the device loses an earlier one.
            rebind: Record its driver, so that `assignable_remove` can give it back.

        Raises:
            NotFound: The host has no such device.
            InvalidState: A domain has the device.
            InvalidArgument: The address or the name is not valid, or another device has that name.
            UnsupportedFeature: The host has no IOMMU, or dom0's kernel has not loaded ``xen-pciback``; or this backend
                cannot name devices, or cannot make them assignable.
            OperationFailed: libxl fails; its log lines are in the error. The device is back with its driver.
        """
        check_key(address, "assignable_add")
        check_bools("assignable_add", rebind=rebind)
        if name is not None:
            check_name(name, "assignable_add")
        await self._calls.finish(lambda: self._backend.pci_assignable_add(address, name=name, rebind=rebind))

    async def assignable_remove(self, key: PciKey, *, rebind: bool = True) -> None:
        """Make a device not assignable any more, as ``xl pci-assignable-remove``. It loses its name.

        Args:
            key: Its address or its name.
            rebind: Give it back to the driver that it had, as ``xl pci-assignable-remove -r``.

        Raises:
            NotFound: The host has no such device.
            InvalidState: The device is not assignable, or a domain has it.
            InvalidArgument: It is neither an address nor a name.
            UnsupportedFeature: This backend cannot do it.
            OperationFailed: libxl fails; its log lines are in the error.
        """
        check_key(key, "assignable_remove")
        check_bools("assignable_remove", rebind=rebind)
        await self._calls.finish(lambda: self._backend.pci_assignable_remove(key, rebind=rebind))
