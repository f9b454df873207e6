"""The collection of a host's PCI devices, with lookup by address or name."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence

from pyxen._common.arguments import check_bools
from pyxen._common.pci_preconditions import check_key, check_name, find_pci, find_pci_or_none
from pyxen.backends.base import Backend
from pyxen.config import PciAddress
from pyxen.operation import Calls
from pyxen.records.base import html_table
from pyxen.records.host_devices import PciDevice

__all__ = ["PciDevices", "PciKey"]

PciKey = PciAddress | str
"""An address such as ``0000:03:00.0`` or ``03:00.0``; or a name given with `PciDevices.assignable_add`."""


class PciDevices(Collection[PciDevice]):
    """The current PCI devices of a host. Each lookup asks the host; nothing is cached.

    A guest can get a device that is assignable: one that dom0's driver has released to Xen's ``pciback``::

        host.pci.assignable_add("03:00.0")
        host.domains["web1"].attach(Pci("03:00.0"))
        host.pci["03:00.0"].domid
    """

    def __init__(self, backend: Backend, calls: Calls) -> None:
        self._backend = backend
        self._calls = calls

    def __repr__(self) -> str:
        return f"<PciDevices of {self._backend.uri}>"

    def _repr_html_(self) -> str:
        shown = ["address", "driver", "assignable", "name", "domid"]
        rows = [tuple(getattr(device, name) for name in shown) for device in self._backend.pci_devices()]
        return html_table(shown, rows)

    def _ipython_key_completions_(self) -> list[str]:
        return [str(device.address) for device in self._backend.pci_devices()]

    def __getitem__(self, key: PciKey) -> PciDevice:
        """Return a device by address, or by the name given to it.

        Raises:
            NotFound: There is no such device.
            InvalidArgument: It is neither an address nor a name.
        """
        check_key(key, "pci")
        return self._calls.ask(lambda: find_pci(self._backend.pci_devices(), key, "pci"))

    def get(self, key: PciKey) -> PciDevice | None:
        """Return a device by address, or by the name given to it; None if there is no such device."""
        check_key(key, "pci")
        return self._calls.ask(lambda: find_pci_or_none(self._backend.pci_devices(), key))

    def __contains__(self, key: object) -> bool:
        if isinstance(key, PciDevice):
            return any(device == key for device in self)
        return isinstance(key, PciAddress | str) and find_pci_or_none(self._backend.pci_devices(), key) is not None

    def __iter__(self) -> Iterator[PciDevice]:
        return iter(self._backend.pci_devices())

    def __len__(self) -> int:
        return len(self._backend.pci_devices())

    def list(self) -> Sequence[PciDevice]:
        """Return all PCI devices, ordered by address.

        Each says which domain has it, and where in that domain it is, as ``xl pci-list``.

        Raises:
            UnsupportedFeature: This backend does not know them.
        """
        return self._calls.ask(self._backend.pci_devices)

    def assignable_list(self) -> Sequence[PciDevice]:
        """Return the devices that can be given to a guest, as ``xl pci-assignable-list -n``, ordered by address.

        Raises:
            UnsupportedFeature: This backend does not know them.
        """
        return [device for device in self._calls.ask(self._backend.pci_devices) if device.assignable]

    def assignable_add(self, address: PciAddress | str, *, name: str | None = None, rebind: bool = True) -> None:
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
        self._calls.finish(lambda: self._backend.pci_assignable_add(address, name=name, rebind=rebind))

    def assignable_remove(self, key: PciKey, *, rebind: bool = True) -> None:
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
        self._calls.finish(lambda: self._backend.pci_assignable_remove(key, rebind=rebind))
