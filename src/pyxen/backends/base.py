"""What the face needs of a backend: model objects in, model objects out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol
from uuid import UUID

from pyxen.config import DomainConfig
from pyxen.events import Event
from pyxen.info import DomainInfo, HostInfo
from pyxen.operation import Operation

__all__ = ["Backend", "DomainRef"]


@dataclass(frozen=True, slots=True)
class DomainRef:
    """A domain, by both its numbers: domids are reused, so the uuid tells whether it is still the same one."""

    domid: int
    uuid: UUID

    def __str__(self) -> str:
        return str(self.domid)


class Backend(Protocol):
    """A way to a host. Methods that take a `DomainRef` raise `DomainNotFound` if that domain is gone.

    What takes time returns an `Operation`, begun; what only looks returns at once. All are safe from any thread.
    """

    @property
    def uri(self) -> str:
        """How `pyxen.connect` finds this host."""

    def close(self) -> None:
        """Stop what runs and let go of the host; may be called again."""

    def info(self) -> HostInfo:
        """Return the figures of the host."""

    def list(self) -> list[DomainInfo]:
        """Return all domains, dom0 too, by domid."""

    def subscribe(self, on_event: Callable[[Event], None], on_end: Callable[[], None]) -> Callable[[], None]:
        """Have a function called with each event from now on, and another once when the host is closed.

        Both are called on a thread of the backend's, and what they raise goes to `threading.excepthook`. Returns a
        function that ends it, from any thread, without waiting.
        """

    def domain_info(self, domain: DomainRef) -> DomainInfo:
        """Return one domain."""

    def create(self, config: DomainConfig, *, paused: bool, timeout: float | None) -> Operation[DomainRef]:
        """Create a domain; a create that fails or is stopped leaves nothing."""

    def destroy(self, domain: DomainRef, *, timeout: float | None) -> Operation[None]:
        """End a domain at once."""

    def pause(self, domain: DomainRef) -> Operation[None]:
        """Stop a domain's vCPUs."""

    def unpause(self, domain: DomainRef) -> Operation[None]:
        """Let a domain's vCPUs run."""

    def shutdown(self, domain: DomainRef, *, wait: bool, timeout: float | None) -> Operation[None]:
        """Ask the guest to power off."""

    def reboot(self, domain: DomainRef, *, timeout: float | None) -> Operation[None]:
        """Ask the guest to reboot."""
