"""The backend for a driver domain, which serves devices of other domains and controls no domain.

Importing this module loads the compiled binding, so `pyxen.connect` imports it only for a URI that needs it.
"""

# ruff: noqa: ARG002 (everything that controls domains is refused, whatever the arguments)

from __future__ import annotations

from collections.abc import Collection
from typing import NoReturn
from uuid import UUID

from pyxen.backends.base import Backend, DomainRef
from pyxen.backends.store import Store
from pyxen.backends.xenlight.hypervisor import Hypervisor
from pyxen.backends.xenlight.libxl.context import Context
from pyxen.backends.xenlight.libxl.error_map import BACKEND
from pyxen.backends.xenlight.libxl.lock import LIBXL
from pyxen.backends.xenlight.operations.devd import devd
from pyxen.backends.xenlight.xenstore.client import StoreClient
from pyxen.config import DomainConfig
from pyxen.errors import UnsupportedFeature
from pyxen.features import Feature
from pyxen.operation import Operation
from pyxen.records.info import DomainInfo, DomainState, HostInfo

__all__ = ["DriverBackend"]


class DriverBackend(Backend):
    """The domain that this process runs in, as a driver domain.

    Raises:
        NotPrivileged: This user may not talk to xenstore.
        ConnectFailed: libxl or xenstore do not open.
    """

    uri = "xenlight:///driver"
    name = f"{BACKEND}, driver domain"
    features = frozenset({Feature.DEVD, Feature.XENSTORE})

    def __init__(self) -> None:
        self._hypervisor = Hypervisor()
        try:
            self._context = Context(self._hypervisor, 0)
        except BaseException:
            self._hypervisor.close()
            raise
        self.completer = self._context.completer
        self._store = StoreClient(releasing=LIBXL.released)

    def close(self) -> None:
        """Stop running operations and release the host. Calling it again does nothing."""
        self._store.close()
        self._context.close()
        self._hypervisor.close()

    def devd(self, *, timeout: float | None) -> Operation[None]:
        """Serve the devices of this domain."""
        operation: Operation[None] = Operation("devd", timeout=timeout)
        return self._context.run(operation, devd(self._context, operation))

    def xenstore(self) -> Store:
        """Return the client of xenstore, with the rights of this domain."""
        return self._store

    def info(self) -> HostInfo:
        """Refuse."""
        self._refuse("info")

    def list(self) -> list[DomainInfo]:
        """Refuse."""
        self._refuse("list")

    def domain_info(self, domain: DomainRef) -> DomainInfo:
        """Refuse."""
        self._refuse("info")

    def create(
        self, config: DomainConfig, *, paused: bool, autoballoon: bool | None = None, timeout: float | None
    ) -> Operation[DomainRef]:
        """Refuse."""
        self._refuse("create")

    def destroy(self, domain: DomainRef, *, timeout: float | None) -> Operation[None]:
        """Refuse."""
        self._refuse("destroy")

    def shutdown(self, domain: DomainRef, *, wait: bool, fallback: bool, timeout: float | None) -> Operation[None]:
        """Refuse."""
        self._refuse("shutdown")

    def config(self, domain: DomainRef) -> Operation[DomainConfig]:
        """Refuse."""
        self._refuse("config")

    def wait(
        self, domain: DomainRef, states: Collection[DomainState], *, timeout: float | None
    ) -> Operation[DomainInfo | None]:
        """Refuse."""
        self._refuse("wait")

    def wait_start(self, uuid: UUID, after: DomainRef | None, *, timeout: float | None) -> Operation[DomainInfo]:
        """Refuse."""
        self._refuse("wait_start")

    def _refuse(self, verb: str) -> NoReturn:
        message = f"{verb}: this host was opened as a driver domain, which controls nothing: use xenlight:/// in dom0"
        raise UnsupportedFeature(message, feature=verb, backend=self.name)
