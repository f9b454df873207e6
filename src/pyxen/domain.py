"""A domain on a host: a handle with xl's verbs."""

from __future__ import annotations

from uuid import UUID

from pyxen.backends.base import Backend, DomainRef
from pyxen.info import DomainInfo

__all__ = ["Domain"]


class Domain:
    """A domain on a host, as `Host.create` and `Host.domains` give it; users do not make one.

    A handle is the domain's domid and uuid, so that it never means another domain that got the domid later: every
    method raises `DomainNotFound` once the domain is gone. Attributes are local; only methods talk to the host.
    """

    __slots__ = ("_backend", "_ref")

    def __init__(self, backend: Backend, ref: DomainRef) -> None:
        self._backend = backend
        self._ref = ref

    @property
    def domid(self) -> int:
        """Number of the domain, while it runs."""
        return self._ref.domid

    @property
    def uuid(self) -> UUID:
        """The domain's uuid."""
        return self._ref.uuid

    def __repr__(self) -> str:
        return f"<Domain {self.domid} {self.uuid}>"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Domain):
            return NotImplemented
        return self._ref == other._ref and self._backend is other._backend

    def __hash__(self) -> int:
        return hash(self._ref)

    def info(self) -> DomainInfo:
        """Return what the domain looks like now, as its line of ``xl list``."""
        return self._backend.domain_info(self._ref)

    def pause(self) -> None:
        """Stop its vCPUs until `unpause`, as ``xl pause``. Pausing twice needs unpausing once."""
        self._backend.pause(self._ref).wait()

    def unpause(self) -> None:
        """Let its vCPUs run, as ``xl unpause``."""
        self._backend.unpause(self._ref).wait()

    def shutdown(self, *, wait: bool = True, timeout: float | None = None) -> None:
        """Ask the guest to power off and wait until it has, as ``xl shutdown -w``.

        A domain with ``on_poweroff="destroy"``, which is the default, is gone afterwards; another one stays, shut down.

        Args:
            wait: False to return as soon as the guest has taken note of it, as ``xl shutdown``.
            timeout: Seconds after which to give up; the guest may still follow later. None waits for ever.

        Raises:
            InvalidState: The guest cannot answer: it is paused, has crashed, or has shut down.
            NoGuestDriver: The guest has no PV driver that could answer, as many HVM guests.
            OperationTimeout: The guest had not shut down in time.
        """
        self._backend.shutdown(self._ref, wait=wait, timeout=timeout).wait()

    def reboot(self, *, timeout: float | None = None) -> None:
        """Ask the guest to reboot, as ``xl reboot``; whoever supervises the domain then starts it anew.

        Args:
            timeout: Seconds after which to give up if the guest does not take note. None waits for libxl's own minute.

        Raises:
            InvalidState: The guest cannot answer: it is paused, has crashed, or has shut down.
            NoGuestDriver: The guest has no PV driver that could answer.
            OperationTimeout: The guest did not react in time.
        """
        self._backend.reboot(self._ref, timeout=timeout).wait()

    def destroy(self, *, timeout: float | None = None) -> None:
        """End the domain at once, as ``xl destroy``: like pulling the plug."""
        self._backend.destroy(self._ref, timeout=timeout).wait()
