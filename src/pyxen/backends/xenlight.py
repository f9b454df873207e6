"""The way through libxenlight: this machine is the host, and nothing stands between.

Importing this module loads the compiled binding, so `pyxen.connect` does it only when this way is asked for.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import TypeVar

from pyxen.backends.base import DomainRef
from pyxen.config import DomainConfig
from pyxen.errors import DomainExists, DomainNotFound, InvalidState
from pyxen.events import Event
from pyxen.info import DomainInfo, DomainState, HostInfo
from pyxen.operation import Operation
from pyxen.xenlight import domains, loader, marshal
from pyxen.xenlight.context import Context
from pyxen.xenlight.pump import Script
from pyxen.xenlight.reader import Reader
from pyxen.xenlight.watcher import Watcher

__all__ = ["XenlightBackend"]

T = TypeVar("T")

_CANNOT_ANSWER = {
    DomainState.PAUSED: "is paused and cannot answer: unpause it first",
    DomainState.SHUTDOWN: "has shut down already: destroy it",
    DomainState.CRASHED: "has crashed: destroy it",
}
"""Why a guest in this state does not react to being asked to shut down or to reboot."""


class XenlightBackend:
    """The host that this process runs on, through libxl.

    Raises:
        NotPrivileged: This user may not talk to xenstore.
        ConnectFailed: libxl or xenstore do not open.
    """

    uri = "xenlight:///"

    def __init__(self) -> None:
        self._reader = Reader()
        try:
            self._context = Context(self._reader)
        except BaseException:
            self._reader.close()
            raise
        self._watcher = Watcher(self._reader.glance)

    def close(self) -> None:
        """Stop what runs and let go of the host; may be called again."""
        self._watcher.close()
        self._context.close()
        self._reader.close()

    def info(self) -> HostInfo:
        """Return the figures of the host."""
        return self._reader.host(loader.running_version())

    def list(self) -> list[DomainInfo]:
        """Return all domains, dom0 too, by domid."""
        return self._reader.domains()

    def subscribe(self, on_event: Callable[[Event], None], on_end: Callable[[], None]) -> Callable[[], None]:
        """Have a function called with each event from now on, and another once when the host is closed."""
        return self._watcher.subscribe(on_event, on_end)

    def domain_info(self, domain: DomainRef) -> DomainInfo:
        """Return one domain."""
        return self._info("info", domain)

    def create(self, config: DomainConfig, *, paused: bool, timeout: float | None) -> Operation[DomainRef]:
        """Create a domain; a create that fails or is stopped leaves nothing."""
        prepared = marshal.prepare(config)
        if config.uuid is not None:  # one made up here is nobody's yet
            self._check_uuid(config)
        identity = config.uuid or uuid.uuid4()
        operation: Operation[DomainRef] = Operation("create", config.name, timeout=timeout)
        return self._context.run(operation, self._create(operation, prepared, identity, paused=paused))

    def _create(
        self, operation: Operation[DomainRef], new: marshal.Prepared, identity: uuid.UUID, *, paused: bool
    ) -> Script[DomainRef]:
        domid = yield from domains.create(self._context, operation, new, identity, paused=paused)
        return DomainRef(domid, identity)

    def _check_uuid(self, config: DomainConfig) -> None:
        """Refuse a uuid that is in use, which libxl would not: both domains would share their entries in xenstore."""
        other = next((info for info in self._reader.domains() if info.uuid == config.uuid), None)
        if other is not None and other.state is not DomainState.DYING:
            message = f"domain {other.domid} ({other.name}) has the uuid {config.uuid} already: leave the uuid out"
            raise DomainExists(message, operation="create", domain=config.name, domid=other.domid)

    def destroy(self, domain: DomainRef, *, timeout: float | None) -> Operation[None]:
        """End a domain at once."""
        return self._run("destroy", domain, domains.destroy, timeout)

    def pause(self, domain: DomainRef) -> Operation[None]:
        """Stop a domain's vCPUs."""
        return self._run("pause", domain, domains.pause)

    def unpause(self, domain: DomainRef) -> Operation[None]:
        """Let a domain's vCPUs run."""
        return self._run("unpause", domain, domains.unpause)

    def shutdown(self, domain: DomainRef, *, wait: bool, timeout: float | None) -> Operation[None]:
        """Ask the guest to power off."""
        self._check_answers("shutdown", domain)
        operation: Operation[None] = Operation("shutdown", domain.domid, timeout=timeout)
        script = domains.shutdown(self._context, operation, domain.domid, domain.uuid, wait=wait)
        return self._context.run(operation, script)

    def reboot(self, domain: DomainRef, *, timeout: float | None) -> Operation[None]:
        """Ask the guest to reboot."""
        self._check_answers("reboot", domain)
        return self._run("reboot", domain, domains.reboot, timeout)

    def _run(
        self,
        verb: str,
        domain: DomainRef,
        script: Callable[[Context, Operation[None], int], Script[None]],
        timeout: float | None = None,
    ) -> Operation[None]:
        if not self._reader.alive(domain.domid, domain.uuid):
            raise _gone(verb, domain)
        operation: Operation[None] = Operation(verb, domain.domid, timeout=timeout)
        operation.domid = domain.domid
        return self._context.run(operation, script(self._context, operation, domain.domid))

    def _info(self, verb: str, domain: DomainRef) -> DomainInfo:
        info = self._reader.domain(domain.domid)
        if info is None or info.uuid != domain.uuid or info.state is DomainState.DYING:
            raise _gone(verb, domain)
        return info

    def _check_answers(self, verb: str, domain: DomainRef) -> None:
        """Check that the guest can react to being asked for something."""
        info = self._info(verb, domain)
        if info.state in _CANNOT_ANSWER:
            message = f"{info.name} {_CANNOT_ANSWER[info.state]}"
            raise InvalidState(message, operation=verb, domain=domain.domid, domid=domain.domid)


def _gone(verb: str, domain: DomainRef) -> DomainNotFound:
    message = f"there is no domain {domain.domid} with the uuid {domain.uuid}: it is gone"
    return DomainNotFound(message, operation=verb, domain=domain.domid, domid=domain.domid)
