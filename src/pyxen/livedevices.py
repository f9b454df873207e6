"""The devices of one kind of a running domain as a collection, with lookup by vdev, MAC, address or number."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence, Sized
from typing import Generic, TypeVar

from pyxen._common.device_keys import DeviceKey, find_device, no_such_device
from pyxen.backends.base import Backend, DomainRef
from pyxen.begin import DeviceOperations
from pyxen.config import Device
from pyxen.config.device_table import CONSOLES, KINDS
from pyxen.operation import Calls
from pyxen.records.base import html_table
from pyxen.records.live_device import LiveDevice

__all__ = ["LiveDevices"]

D = TypeVar("D", bound=Device)


class LiveDevices(Iterable[LiveDevice[D]], Sized, Generic[D]):
    """The devices of one kind that a domain has now, e.g. ``domain.disks``. Each lookup asks the host.

    A key is what xl calls the device: the vdev of a disk, the MAC address of a vif, the address of a PCI device, the
    uuid of a vTPM, the name of a channel, bus and address of a USB device (``1:4``, as ``lsusb`` prints them). A number
    is a devid. A device is a key, too, compared by its identifying fields: ``domain.usbdevs[UsbDev(...)]``.

    xenlight reads xenstore in a few round trips, whatever the number of devices, and does not wait for libxl.
    """

    def __init__(self, backend: Backend, calls: Calls, ref: DomainRef, field: str) -> None:
        self._backend = backend
        self._calls = calls
        self._ref = ref
        self._kind = next(kind for kind in (*KINDS, CONSOLES) if kind.field == field)

    def __repr__(self) -> str:
        return f"<LiveDevices: {self._kind.field} of domain {self._ref.domid}>"

    def _repr_html_(self) -> str:
        rows = [(str(each.config), each.devid, each.backend_name, each.frontend_state) for each in self._now()]
        return html_table(["device", "devid", "backend_name", "frontend_state"], rows)

    @property
    def begin(self) -> DeviceOperations[D]:
        """The same verbs without waiting: ``domain.disks.begin.attach(disk)`` returns an `Operation` at once."""
        return DeviceOperations(self._backend, self._ref, self._kind)

    def __getitem__(self, key: DeviceKey) -> LiveDevice[D]:
        """Return a device.

        Raises:
            NotFound: The domain has no such device; the message lists those it has.
            InvalidArgument: The key does not name a device of this kind.
            DomainNotFound: The domain is gone.
        """
        devices = self._calls.ask(self._now)
        found = find_device(self._kind, key, devices)
        if found is None:
            raise no_such_device(self._kind, key, devices, self._ref.domid)
        return found

    def get(self, key: DeviceKey) -> LiveDevice[D] | None:
        """Return a device; None if the domain has no such device.

        Raises:
            InvalidArgument: The key does not name a device of this kind.
        """
        return find_device(self._kind, key, self._calls.ask(self._now))

    def __contains__(self, key: object) -> bool:
        # This makes it a Collection. Type checkers would take only entries for keys if that stood above.
        return find_device(self._kind, key, self._now()) is not None

    def __iter__(self) -> Iterator[LiveDevice[D]]:
        return iter(self._now())

    def __len__(self) -> int:
        return len(self._now())

    def list(self) -> Sequence[LiveDevice[D]]:
        """Return all devices of this kind, ordered by number, as ``xl block-list``, ``network-list`` and so on.

        Raises:
            DomainNotFound: The domain is gone.
            UnsupportedFeature: This backend does not know devices of this kind.
        """
        return self._calls.ask(self._now)

    def attach(self, device: D, *, timeout: float | None = None) -> D:
        """Attach a device to the running domain; see `Domain.attach`.

        Args:
            device: The device.
            timeout: Seconds after which to give up and undo the attach. None waits as long as libxl does.

        Returns:
            The device as it was created, e.g. with the MAC address that libxl chose.

        Raises:
            InvalidArgument: It is a device of another kind. Other errors are those of `Domain.attach`.
        """
        return self._calls.finish(
            lambda: self.begin.attach(device, timeout=timeout),
            undo=lambda made: self.begin.detach(made, force=True).wait(),
        )

    def detach(self, key: DeviceKey, *, force: bool = False, timeout: float | None = None) -> None:
        """Detach a device from the running domain; see `Domain.detach`.

        Args:
            key: The device: what `__getitem__` takes, or an entry of this collection.
            force: Remove it immediately: like pulling the cable.
            timeout: Seconds after which to give up; the guest may still release it later.

        Raises:
            InvalidArgument: The key does not name a device of this kind. Other errors are those of `Domain.detach`.
        """
        self._calls.finish(lambda: self.begin.detach(key, force=force, timeout=timeout))

    def _now(self) -> Sequence[LiveDevice[D]]:
        return self._backend.live_devices(self._ref, self._kind)
