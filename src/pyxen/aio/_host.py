"""The hand-written base of `pyxen.aio.Host`: opening, closing, and reading events."""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType
from typing import Any, Self

from pyxen._lifetime import Lifetime
from pyxen.aio._calls import Calls
from pyxen.aio._host_copies import HostCopies
from pyxen.aio.cpupools import Cpupools
from pyxen.aio.domains import Domains
from pyxen.aio.guests import Guests
from pyxen.aio.libvirtverbs import LibvirtVerbs
from pyxen.aio.pcidevices import PciDevices
from pyxen.aio.readers.events import EventReader
from pyxen.aio.usbdevices import UsbDevices
from pyxen.aio.xenstore import Xenstore
from pyxen.backends.base import Backend
from pyxen.events import Event

__all__ = ["HostBase"]


class HostBase(HostCopies):
    """Base of an asyncio host."""

    def __init__(self, backend: Backend, calls: Calls) -> None:
        super().__init__(backend, calls)
        calls.completer = backend.completer
        self._lifetime = Lifetime(backend, calls.settle)
        self.domains = Domains(backend, calls)
        self.guests = Guests(backend, calls)
        self.xenstore = Xenstore(backend, calls)
        self.cpupools = Cpupools(backend, calls)
        self.pci = PciDevices(backend, calls)
        self.usb = UsbDevices(backend, calls)
        self.libvirt = LibvirtVerbs(backend, calls)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    def __del__(self) -> None:
        if hasattr(self, "_lifetime"):
            self._lifetime.abandon(repr(self))

    async def close(self) -> None:
        """Close the host. Running operations are stopped and undone; domains stay. Calling it again does nothing.

        Every later call on the host or on one of its domains raises `HostClosed`.

        Raises:
            RuntimeError: Called in a callback of an operation, or in a function that a clone or a pool calls, on the
                thread for which the closing has to wait. The host stays open: close it on another thread.
        """
        self._lifetime.check_may_close()  # here: the calls close it on another thread
        await self._calls.close(self._lifetime.close)

    def _reader(self, wanted: Callable[[Event], bool], maxlen: int) -> EventReader[Any]:
        return EventReader(self._backend, self._calls, wanted, maxlen, self._handle)

    def _handle(self, record: Any) -> Any:
        """Return the handle of the domain that a record is about."""
        raise NotImplementedError
