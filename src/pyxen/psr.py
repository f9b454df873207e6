"""Caches and memory bandwidth of a host (PSR): how much domains use of them, and how much they may use."""

from __future__ import annotations

from collections.abc import Iterable

from pyxen._common.arguments import check_is, check_number, member
from pyxen.backends.base import Backend, DomainRef
from pyxen.domain import Domain
from pyxen.errors import InvalidArgument
from pyxen.operation import Calls
from pyxen.records.psr import (
    PsrAllocation,
    PsrEvent,
    PsrEventName,
    PsrKind,
    PsrKindName,
    PsrMonitoring,
    PsrSample,
)

__all__ = ["Psr"]


class Psr:
    """Platform shared resources of Intel's CPUs: monitoring (CMT, MBM) and allocation (CAT, CDP, MBA).

    On a host whose CPUs cannot do it, or whose Xen does not run with ``psr=``, `monitoring` and `allocations` say so,
    and every other method raises `UnsupportedFeature`.
    """

    def __init__(self, backend: Backend, calls: Calls) -> None:
        self._backend = backend
        self._calls = calls

    def __repr__(self) -> str:
        return f"<Psr of {self._backend.uri}>"

    def monitoring(self) -> PsrMonitoring:
        """Return what can be measured, as ``xl psr-hwinfo --cmt``."""
        return self._calls.finish(self._backend.psr_monitoring)

    def cache_kib(self, socket: int = 0) -> int:
        """Return the size of a socket's L3 cache, in KiB.

        Raises:
            InvalidArgument: There is no such socket.
            UnsupportedFeature: The host does not measure.
        """
        check_number(socket, "psr_cache_kib")
        return self._calls.finish(lambda: self._backend.psr_cache_kib(socket))

    def attach(self, domain: Domain) -> None:
        """Begin to measure a domain, as ``xl psr-cmt-attach``.

        Raises:
            InvalidState: It is measured already.
            UnsupportedFeature: The host does not measure.
            OperationFailed: The host measures as many domains as it can.
        """
        ref = _ref(domain, "psr_attach")
        self._calls.finish(lambda: self._backend.psr_attach(ref))

    def detach(self, domain: Domain) -> None:
        """Stop measuring a domain, as ``xl psr-cmt-detach``.

        Raises:
            InvalidState: It is not measured.
            UnsupportedFeature: The host does not measure.
        """
        ref = _ref(domain, "psr_detach")
        self._calls.finish(lambda: self._backend.psr_detach(ref))

    def is_attached(self, domain: Domain) -> bool:
        """Tell whether a domain is measured."""
        ref = _ref(domain, "psr_is_attached")
        return self._calls.finish(lambda: self._backend.psr_is_attached(ref))

    def sample(
        self, domain: Domain, event: PsrEvent | PsrEventName = PsrEvent.CACHE_OCCUPANCY, *, socket: int = 0
    ) -> PsrSample:
        """Return what is measured of a domain on a socket, as ``xl psr-cmt-show``.

        Raises:
            InvalidState: It is not measured: `attach` it.
            InvalidArgument: There is no such socket.
            UnsupportedFeature: The host does not measure this.
        """
        ref = _ref(domain, "psr_sample")
        what = member(PsrEvent, event, "psr_sample")
        check_number(socket, "psr_sample")
        return self._calls.finish(lambda: self._backend.psr_sample(ref, what, socket))

    def allocations(self) -> tuple[PsrAllocation, ...]:
        """Return what can be shared out, socket by socket, as ``xl psr-hwinfo --cat --mba``; empty if nothing can."""
        return self._calls.finish(self._backend.psr_allocations)

    def get(self, domain: Domain, kind: PsrKind | PsrKindName, *, socket: int = 0) -> int:
        """Return a setting of a domain on a socket, as ``xl psr-cat-show`` and ``xl psr-mba-show``.

        Returns:
            A mask of the parts of a cache; for ``mba``, the value.

        Raises:
            InvalidArgument: There is no such socket.
            UnsupportedFeature: The host does not share this out.
        """
        ref = _ref(domain, "psr_get")
        what = member(PsrKind, kind, "psr_get")
        check_number(socket, "psr_get")
        return self._calls.finish(lambda: self._backend.psr_get(ref, what, socket))

    def set(
        self, domain: Domain, kind: PsrKind | PsrKindName, value: int, *, sockets: Iterable[int] | None = None
    ) -> None:
        """Change a setting of a domain, as ``xl psr-cat-set`` and ``xl psr-mba-set``.

        Args:
            domain: The domain.
            kind: What is set.
            value: A mask of adjacent parts of a cache; for ``mba``, the value.
            sockets: The sockets. None means all.

        A set on several sockets that fails on one of them leaves the others changed.

        Raises:
            InvalidArgument: There is no such socket, `sockets` names none, or Xen refuses the value.
            UnsupportedFeature: The host does not share this out.
            OperationFailed: The host has no class of service left.
        """
        ref = _ref(domain, "psr_set")
        what = member(PsrKind, kind, "psr_set")
        numbers = None if sockets is None else tuple(sockets)
        for number in (value, *(numbers or ())):
            check_number(number, "psr_set")
        if numbers == ():
            raise InvalidArgument("takes one socket or more; None means all", operation="psr_set")
        self._calls.finish(lambda: self._backend.psr_set(ref, what, value, numbers))


def _ref(domain: Domain, verb: str) -> DomainRef:
    check_is(Domain, domain, verb, ": host.domains finds one")
    return DomainRef(domain.domid, domain.uuid)
