"""A host: the door to its domains."""

from __future__ import annotations

import warnings
from types import TracebackType
from typing import Self

from pyxen.backends.base import Backend
from pyxen.config import DomainConfig
from pyxen.domain import Domain
from pyxen.domains import Domains
from pyxen.info import DomainInfo, HostInfo

__all__ = ["Host"]


class Host:
    """A host that runs domains, as `pyxen.connect` gives it. Safe to use from any thread.

    Use it as a context manager, or `close` it: a host that is not closed keeps connections open.

    Attributes:
        domains: The domains by name, domid or uuid: ``host.domains["web1"]``.
    """

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self._open = True
        self.domains = Domains(backend)

    def __repr__(self) -> str:
        return f"<Host {self._backend.uri}{'' if self._open else ' (closed)'}>"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def __del__(self) -> None:
        if getattr(self, "_open", False):
            warnings.warn(f"{self!r} was never closed", ResourceWarning, source=self, stacklevel=2)
            self.close()

    @property
    def uri(self) -> str:
        """How `pyxen.connect` finds this host."""
        return self._backend.uri

    def close(self) -> None:
        """Let go of the host: what runs is stopped and undone, domains stay. Calling it again does nothing.

        Every later call on the host or a domain of it raises `HostClosed`.
        """
        self._open = False
        self._backend.close()

    def info(self) -> HostInfo:
        """Return the figures of the host, as ``xl info``: CPUs, memory, Xen's version."""
        return self._backend.info()

    def list(self) -> list[DomainInfo]:
        """Return all domains as they are now, dom0 too, by domid, as ``xl list``."""
        return self._backend.list()

    def create(self, config: DomainConfig, *, paused: bool = False, timeout: float | None = None) -> Domain:
        """Create a domain and start it, as ``xl create``.

        A create that fails, is interrupted by Ctrl-C or runs out of time leaves nothing behind.

        Args:
            config: What to create.
            paused: Leave it paused, as ``xl create -p``.
            timeout: Seconds after which to give up and undo it. None waits as long as libxl does.

        Raises:
            ValidationError: Settings do not go together.
            UnsupportedFeature: The host's Xen does not know a setting.
            DomainExists: A domain has the name or the uuid already.
            FileMissing: The kernel, the ramdisk or a disk is not there.
            NotEnoughMemory: The host has not enough free memory.
            OperationTimeout: It took longer than the timeout.
            OperationFailed: Anything else that libxl says no to; its own lines are in the error.
        """
        return Domain(self._backend, self._backend.create(config, paused=paused, timeout=timeout).wait())
