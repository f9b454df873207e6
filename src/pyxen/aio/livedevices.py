"""The devices of one kind of a running domain as a collection, for asyncio.

Generated from `pyxen.livedevices` by ``python -m tools.aio_face``: do not edit.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

from pyxen._common.device_keys import DeviceKey, find_device, no_such_device
from pyxen.aio._livedevices import LiveDevicesBase
from pyxen.begin import DeviceOperations
from pyxen.config import Device
from pyxen.records.live_device import LiveDevice

__all__ = ["LiveDevices"]

D = TypeVar("D", bound=Device)


class LiveDevices(LiveDevicesBase[D]):
    """The devices of one kind that a domain has now, e.g. ``domain.disks``: `pyxen.LiveDevices`, awaited.

    Asking takes an ``await``, so what Python itself cannot await has another form here:

    =========================  ============================================
    ``domain.disks["xvda"]``   ``await domain.disks["xvda"]``
    ``"xvda" in disks``        ``await disks.get("xvda") is not None``
    ``for disk in disks``      ``async for disk in disks``
    ``len(disks)``             ``len(await disks.list())``
    =========================  ============================================
    """

    def __repr__(self) -> str:
        return f"<LiveDevices: {self._kind.field} of domain {self._ref.domid}>"

    @property
    def begin(self) -> DeviceOperations[D]:
        """The same verbs without waiting: ``domain.disks.begin.attach(disk)`` returns an `Operation` at once."""
        return DeviceOperations(self._backend, self._ref, self._kind)

    async def __getitem__(self, key: DeviceKey) -> LiveDevice[D]:
        """Return a device.

        Raises:
            NotFound: The domain has no such device; the message lists those it has.
            InvalidArgument: The key does not name a device of this kind.
            DomainNotFound: The domain is gone.
        """
        devices = await self._calls.ask(self._now)
        found = find_device(self._kind, key, devices)
        if found is None:
            raise no_such_device(self._kind, key, devices, self._ref.domid)
        return found

    async def get(self, key: DeviceKey) -> LiveDevice[D] | None:
        """Return a device; None if the domain has no such device.

        Raises:
            InvalidArgument: The key does not name a device of this kind.
        """
        return find_device(self._kind, key, await self._calls.ask(self._now))

    async def list(self) -> Sequence[LiveDevice[D]]:
        """Return all devices of this kind, ordered by number, as ``xl block-list``, ``network-list`` and so on.

        Raises:
            DomainNotFound: The domain is gone.
            UnsupportedFeature: This backend does not know devices of this kind.
        """
        return await self._calls.ask(self._now)

    async def attach(self, device: D, *, timeout: float | None = None) -> D:
        """Attach a device to the running domain; see `Domain.attach`.

        Args:
            device: The device.
            timeout: Seconds after which to give up and undo the attach. None waits as long as libxl does.

        Returns:
            The device as it was created, e.g. with the MAC address that libxl chose.

        Raises:
            InvalidArgument: It is a device of another kind. Other errors are those of `Domain.attach`.
        """
        return await self._calls.finish(
            lambda: self.begin.attach(device, timeout=timeout),
            undo=lambda made: self.begin.detach(made, force=True).wait(),
        )

    async def detach(self, key: DeviceKey, *, force: bool = False, timeout: float | None = None) -> None:
        """Detach a device from the running domain; see `Domain.detach`.

        Args:
            key: The device: what `__getitem__` takes, or an entry of this collection.
            force: Remove it immediately: like pulling the cable.
            timeout: Seconds after which to give up; the guest may still release it later.

        Raises:
            InvalidArgument: The key does not name a device of this kind. Other errors are those of `Domain.detach`.
        """
        await self._calls.finish(lambda: self.begin.detach(key, force=force, timeout=timeout))

    def _now(self) -> Sequence[LiveDevice[D]]:
        return self._backend.live_devices(self._ref, self._kind)
