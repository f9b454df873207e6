"""The backend for hosts that another pyxen serves."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING
from uuid import UUID

from pyxen._common.claims import ClaimSet
from pyxen._common.duplicates import duplicated
from pyxen._common.sparing import XENSTORE_DOMID, domid_of
from pyxen.backends.base import Allow, DomainRef
from pyxen.backends.remote.claims import RemoteClaims
from pyxen.backends.remote.client import Client
from pyxen.backends.remote.domain_verbs import RemoteDomains
from pyxen.backends.remote.lost import events_lost, qmp_events_lost
from pyxen.backends.remote.store import RemoteStore
from pyxen.backends.remote.streams import Stream, pair
from pyxen.backends.store import Store
from pyxen.config import DomainConfig
from pyxen.errors import Error, InvalidArgument, NodeNotFound, NotPrivileged
from pyxen.events import Event
from pyxen.features import Feature, lacking
from pyxen.operation import Operation
from pyxen.records.endpoints import ConsoleType
from pyxen.records.qmp_event import QmpEvent
from pyxen.remus import RemusOptions

if TYPE_CHECKING:
    from pyxen.xlconf import XlConf

__all__ = ["RemoteBackend"]


class RemoteBackend(RemoteDomains):
    """A host that another pyxen serves.

    Args:
        client: The way there.
        uri: The URI by which it was opened.
    """

    def __init__(self, client: Client, uri: str) -> None:
        self._client = client
        self.completer = client.completer
        self._uri = uri
        self._xl_conf: XlConf | None = None
        self._xenstore_domid: list[int | None] = []
        """What was found, as the only item."""
        self._store = RemoteStore(client)
        known = {feature.value: feature for feature in Feature}
        self._features = frozenset(known[name] for name in client.welcome.features if name in known)

    @property
    def uri(self) -> str:
        return self._uri

    @property
    def name(self) -> str:
        return self._client.welcome.backend

    @property
    def features(self) -> frozenset[Feature]:
        return self._features

    @property
    def client(self) -> Client:
        """The way there."""
        return self._client

    def close(self) -> None:
        self._client.close()

    def xenstore(self) -> Store:
        if Feature.XENSTORE not in self._features:
            raise lacking(Feature.XENSTORE, self.name)
        return self._store

    def claims(self) -> ClaimSet:
        return RemoteClaims(self._client)

    def xenstore_domid(self) -> int | None:
        if not self._xenstore_domid:  # it stays the same until the host reboots, and this link does not outlast that
            self._xenstore_domid.append(self._ask_xenstore_domid())
        return self._xenstore_domid[0]

    def _ask_xenstore_domid(self) -> int | None:
        if "xenstore_domid" in self._client.verbs:
            found: int | None = self._client.ask("xenstore_domid")
            return found
        with suppress(NodeNotFound, NotPrivileged):  # an older server, perhaps one whose xenstore is not for us
            return domid_of(self._store.read(XENSTORE_DOMID))
        return None

    def remove_orphans(self) -> bool:
        if "remove_orphans" not in self._client.verbs:
            return False
        removed: bool = self._client.ask("remove_orphans")
        return removed

    def absolute(self, path: str) -> str:
        if not os.path.isabs(path):  # the server there has a folder of its own, which this end does not know
            message = f"{path or '.'} is not an absolute path, and the host is elsewhere: give the whole path there"
            raise InvalidArgument(message)
        return os.path.normpath(path)

    def subscribe(self, on_event: Callable[[Event], None], on_end: Callable[[], None]) -> Callable[[], None]:
        return self._client.subscribe("subscribe", Event, on_event, lambda _: on_end(), events_lost)

    def qmp_events(
        self,
        domain: DomainRef,
        put: Callable[[QmpEvent], None],
        end: Callable[[Error | None], None],
        *,
        timeout: float | None,
    ) -> Operation[Operation[None]]:
        running: Operation[None] = Operation("qmp_events", domain.domid)

        def over(error: Error | None) -> None:
            end(error)
            if not running.done():
                running.set_result(None)

        subscription = self._client.subscription(QmpEvent, put, over, qmp_events_lost)
        beginning = self._client.begin("qmp_events", subscription=subscription, domain=domain, timeout=timeout)
        running.carried_by(lambda _: self._client.cancel(beginning), self._client.deliverer, self.completer)
        return beginning.map(lambda _: running)

    def console(self, domain: DomainRef, kind: ConsoleType | None = None, number: int = 0) -> int:
        made: list[int] = []

        def stream(call: int) -> Stream:
            ours, theirs = pair()
            made.append(theirs)
            return self._client.streams.open(call, both=ours, own=True, as_one=True)

        try:
            self._client.open_console(stream, domain=domain, kind=kind, number=number)
        except BaseException:
            for fd in made:
                os.close(fd)
            raise
        [theirs] = made
        return theirs

    def await_console(self, uuid: UUID, creating: Operation[DomainRef]) -> Operation[DomainRef | None]:
        try:
            return self._client.begin("await_console", uuid=uuid, creating=self._client.number_of(creating))
        except InvalidArgument:  # the create was over when the server looked: its result says where the console is
            return super().await_console(uuid, creating)

    def save_over(
        self,
        domain: DomainRef,
        fd: int,
        *,
        config: DomainConfig | None,
        checkpoint: bool,
        leave_paused: bool,
        timeout: float | None,
    ) -> Operation[None]:
        return self._client.begin(
            "save_over",
            stream=self._over("save", sink=fd),
            domain=domain,
            config=config,
            checkpoint=checkpoint,
            leave_paused=leave_paused,
            timeout=timeout,
        )

    def restore(
        self,
        path: str,
        config: DomainConfig | None,
        *,
        paused: bool,
        allow: Allow | None = None,
        autoballoon: bool | None = None,
        timeout: float | None,
    ) -> Operation[DomainRef]:
        return self._client.begin(
            "restore", allow=allow, path=path, config=config, paused=paused, autoballoon=autoballoon, timeout=timeout
        )

    def restore_over(
        self,
        fd: int,
        config: DomainConfig | None,
        *,
        paused: bool,
        allow: Allow | None = None,
        autoballoon: bool | None = None,
        timeout: float | None,
    ) -> Operation[DomainRef]:
        return self._client.begin(
            "restore_over",
            allow=allow,
            stream=self._over("restore", source=fd),
            config=config,
            paused=paused,
            autoballoon=autoballoon,
            timeout=timeout,
        )

    def migrate_over(
        self, domain: DomainRef, read_fd: int, write_fd: int, *, config: DomainConfig | None, timeout: float | None
    ) -> Operation[None]:
        stream = self._over("migrate", source=read_fd, sink=write_fd)
        return self._client.begin("migrate_over", stream=stream, domain=domain, config=config, timeout=timeout)

    def receive_migration(
        self,
        read_fd: int,
        write_fd: int,
        *,
        remus: bool,
        paused: bool,
        allow: Allow | None = None,
        autoballoon: bool | None = None,
        timeout: float | None,
    ) -> Operation[DomainRef]:
        return self._client.begin(
            "receive_migration",
            allow=allow,
            stream=self._over("receive_migration", source=read_fd, sink=write_fd),
            remus=remus,
            paused=paused,
            autoballoon=autoballoon,
            timeout=timeout,
        )

    def remus_over(
        self, domain: DomainRef, read_fd: int, write_fd: int, options: RemusOptions, *, timeout: float | None
    ) -> Operation[None]:
        stream = self._over("remus", source=read_fd, sink=write_fd)
        return self._client.begin("remus_over", stream=stream, domain=domain, options=options, timeout=timeout)

    def _over(self, verb: str, *, source: int | None = None, sink: int | None = None) -> Callable[[int], Stream]:
        """Return what opens the stream of a call over the caller's descriptors, which are duplicated then."""

        def opened(call: int) -> Stream:
            copies = iter(duplicated(verb, *(fd for fd in (source, sink) if fd is not None)))
            ours = None if source is None else next(copies)
            theirs = None if sink is None else next(copies)
            return self._client.streams.open(call, source=ours, sink=theirs)

        return opened
