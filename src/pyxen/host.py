"""A host: the door to its domains."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Any, Self, TypeVar, overload
from uuid import UUID

from pyxen._lifetime import Lifetime
from pyxen.backends.base import Backend, DomainRef
from pyxen.begin import HostOperations, uuid_of_defined
from pyxen.config import DomainConfig
from pyxen.domain import Domain
from pyxen.domains import DomainKey, Domains
from pyxen.eventreader import EventReader, event_filter
from pyxen.events import Event, EventsLost
from pyxen.features import Feature, FeatureName
from pyxen.info import DefinedDomain, DomainInfo, HostInfo
from pyxen.operation import Calls

__all__ = ["Host"]

E1 = TypeVar("E1", bound=Event)
E2 = TypeVar("E2", bound=Event)


class Host:
    """A host that runs domains, as `pyxen.connect` gives it. Safe to use from any thread.

    Use it as a context manager, or `close` it: a host that is not closed keeps connections open.

    Attributes:
        domains: The domains by name, domid or uuid: ``host.domains["web1"]``.
    """

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self._lifetime = Lifetime(backend)
        self._calls = Calls()
        self.domains = Domains(backend, self._calls)

    def __repr__(self) -> str:
        return f"<Host {self._backend.uri}{'' if self._lifetime.open else ' (closed)'}>"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def __del__(self) -> None:
        if hasattr(self, "_lifetime"):
            self._lifetime.abandon(repr(self))

    @property
    def uri(self) -> str:
        """How `pyxen.connect` finds this host."""
        return self._backend.uri

    @property
    def begin(self) -> HostOperations[Domain]:
        """The verbs that take time, begun instead of waited for: ``host.begin.create(config)`` returns an `Operation`.

        Any number may run at once.
        """
        return HostOperations(self._backend, self._domain)

    def _domain(self, ref: DomainRef, name: str | None = None) -> Domain:
        return Domain(self._backend, self._calls, ref, name)

    def _handle(self, record: DomainInfo | Event) -> Domain | None:
        """Return the handle of the domain that a record is about."""
        if record.domid is None or record.uuid is None:
            return None
        return Domain(self._backend, self._calls, DomainRef(record.domid, record.uuid), record.name)

    def _destroy(self, made: DomainRef | Domain) -> None:
        """Destroy a domain whose handle nobody got, since the call that made it was interrupted."""
        self._backend.destroy(DomainRef(made.domid, made.uuid), timeout=None).wait()

    def supports(self, feature: Feature | FeatureName) -> bool:
        """Tell whether this way to the host can do something that not every one can.

        Args:
            feature: A `Feature`, or its name: most are named as the method, ``"core_dump"``.

        Raises:
            ValueError: There is no such feature.
        """
        return Feature(feature) in self._backend.features

    def close(self) -> None:
        """Let go of the host: what runs is stopped and undone, domains stay. Calling it again does nothing.

        Every later call on the host or a domain of it raises `HostClosed`.
        """
        self._lifetime.close()

    def info(self) -> HostInfo:
        """Return the figures of the host, as ``xl info``: CPUs, memory, Xen's version."""
        return self._calls.ask(self._backend.info)

    def list(self) -> list[DomainInfo]:
        """Return all domains as they are now, dom0 too, by domid, as ``xl list``."""
        infos = self._calls.ask(self._backend.list)
        return [info.attach(self._handle) for info in infos]

    @overload
    def events(self, *, domain: Domain | DomainKey | None = None, maxlen: int = 10_000) -> EventReader[Event]: ...
    @overload
    def events(
        self, kind: type[E1], /, *, domain: Domain | DomainKey | None = None, maxlen: int = 10_000
    ) -> EventReader[E1 | EventsLost]: ...
    @overload
    def events(
        self,
        kind: type[E1],
        other: type[E2],
        /,
        *,
        domain: Domain | DomainKey | None = None,
        maxlen: int = 10_000,
    ) -> EventReader[E1 | E2 | EventsLost]: ...
    @overload
    def events(
        self, *kinds: type[E1], domain: Domain | DomainKey | None = None, maxlen: int = 10_000
    ) -> EventReader[E1 | EventsLost]: ...
    def events(
        self, *kinds: type[Event], domain: Domain | DomainKey | None = None, maxlen: int = 10_000
    ) -> EventReader[Any]:
        """Return what happens on the host from now on, for every domain, whoever made it.

        All that happens after this returns is read, in the order in which it happened to a domain, until the reader or
        the host is closed::

            with host.events(DomainShutdown, DomainDestroyed) as events:
                for event in events:
                    ...

        Xen tells nobody when a domain is paused or unpaused: there are no events for it.

        Args:
            kinds: What to read, e.g. ``DomainCreated``, or ``DeviceEvent`` for all of that kind; all events if none is
                given. `EventsLost` is always read.
            domain: Read events of this domain only: of a handle's own domain; or of whichever domain has that domid,
                uuid or name when it happens.
            maxlen: How many events may wait to be read. Of those that find no room, an `EventsLost` tells, in their
                place.

        Raises:
            ConnectFailed: xenstore cannot be reached.
            InvalidArgument: `maxlen` is below 1, or a kind is none.
        """
        return self._reader(event_filter(kinds, domain), maxlen)

    def _reader(self, wanted: Callable[[Event], bool], maxlen: int) -> EventReader[Any]:
        return EventReader(self._backend, wanted, maxlen, self._handle)

    def orphans(self) -> tuple[Domain, ...]:
        """Return what processes using pyxen were making when they were killed: destroy it, or look at it.

        A process that is killed alone leaves nothing, since its worker undoes what it had begun. One that is killed
        with its workers, as by systemd or when the machine is out of memory, or that has none, may leave a domain that
        is half-made and nobody's. Domains that were made to the end, and those that xl was making, are not among them.

        What is being made is noted in ``/run/pyxen``.
        """
        refs = self._calls.ask(self._backend.orphans)
        return tuple(self._domain(ref) for ref in refs)

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
        return self._calls.finish(lambda: self.begin.create(config, paused=paused, timeout=timeout), undo=self._destroy)

    def restore(
        self,
        path: str | os.PathLike[str],
        config: DomainConfig | None = None,
        *,
        paused: bool = False,
        timeout: float | None = None,
    ) -> Domain:
        """Create a domain from a file that `Domain.save` or ``xl save`` wrote, as ``xl restore``.

        A restore that fails leaves nothing behind. The file stays; a guest restored twice from one file, with the same
        disks, ruins them.

        Args:
            path: The file, on the host; a pipe is none.
            config: Takes the place of the configuration in the file, e.g. with disks that were moved. Without a uuid in
                it the domain gets a new one.
            paused: Leave it paused, as ``xl restore -p``.
            timeout: Seconds after which to give up and undo it. None waits as long as libxl does.

        Raises:
            FileMissing: There is no such file.
            InvalidArgument: It is not a regular file.
            ParseError: It is not a saved domain, damaged, or of Xen 4.5 or older.
            DomainExists: A domain has the name or the uuid already.
            NotEnoughMemory: The host has not enough free memory.
            OperationTimeout: It took longer than the timeout.
            OperationFailed: Anything else that libxl says no to; its own lines are in the error.
        """
        return self._calls.finish(
            lambda: self.begin.restore(path, config, paused=paused, timeout=timeout), undo=self._destroy
        )

    def receive_migration(
        self,
        read_fd: int,
        write_fd: int,
        *,
        remus: bool = False,
        paused: bool = False,
        timeout: float | None = None,
    ) -> Domain:
        """Take in a domain that xl or pyxen migrates here, as ``xl migrate-receive``.

        It is created as ``NAME--incoming``, and gets its name and runs when the source has let go of it. Whatever fails
        before, or stops it, nothing of it is left here, and it goes on at the source.

        With `remus` it is the backup of a domain that `Domain.remus` or ``xl remus`` replicates. It stays
        ``NAME--incoming``, paused, until the source says no more: then it has its name, unless another domain has it,
        and runs, as of the last checkpoint. Nobody asks whether the source is really gone. A source that is pyxen's
        calls the backup off when it ends the replication; with xl's, also Ctrl-C makes the backup run.

        The descriptors may be pipes or sockets, also one socket for both. They are duplicated: close yours afterwards.
        Nothing is encrypted, and nobody is asked who sends: that is the business of whoever opened them.

        Args:
            read_fd: Where the domain comes.
            write_fd: Where the answers to the source go.
            remus: It comes again and again, as with ``xl migrate-receive -r``; this must be as at the source.
            paused: Leave it paused, as ``xl migrate-receive -p``.
            timeout: Seconds after which to give up and undo it. None waits as long as the source does.

        Raises:
            InvalidArgument: A descriptor is none, or the source sends no configuration.
            ParseError: What comes is no domain.
            DomainExists: A domain has the name or the uuid already, and is not the source.
            NotEnoughMemory: The host has not enough free memory.
            MigrationFailed: The source failed, or was lost; with `remus`, before the first checkpoint was here, or it
                has called the backup off.
            OperationTimeout: It took longer than the timeout.
            OperationFailed: Anything else that libxl says no to; its own lines are in the error.
        """
        return self._calls.finish(
            lambda: self.begin.receive_migration(read_fd, write_fd, remus=remus, paused=paused, timeout=timeout)
        )

    def define(self, config: DomainConfig, *, autostart: bool | None = None) -> DefinedDomain:
        """Keep a configuration, so that its domain can be started by name; as ``virsh define``.

        libxl keeps none: this needs libvirt, or ``memory:///``. A domain that runs already stays as it is.

        Args:
            config: What to keep, in place of what is kept under its uuid or its name.
            autostart: Whether to start it with its host. None leaves that as it is; at first it is not.

        Raises:
            UnsupportedFeature: This way to the host keeps no configurations.
            DomainExists: Another domain has that name or uuid.
            ValidationError: Settings do not go together.
        """
        return self._calls.ask(lambda: self._backend.define(config, autostart=autostart))

    def defined(self) -> Sequence[DefinedDomain]:
        """Return the configurations that are kept, by name, whether their domains run or not; as ``virsh list --all``.

        Raises:
            UnsupportedFeature: This way to the host keeps no configurations.
        """
        return self._calls.ask(self._backend.defined)

    def undefine(self, key: str | UUID) -> None:
        """Forget a configuration, as ``virsh undefine``. A domain that runs of it goes on.

        Args:
            key: Name or uuid.

        Raises:
            DomainNotFound: None is kept under that name or uuid.
            UnsupportedFeature: This way to the host keeps no configurations.
        """
        self._calls.ask(lambda: self._backend.undefine(uuid_of_defined(self._backend, key)))

    def set_autostart(self, key: str | UUID, autostart: bool) -> None:
        """Say whether a domain is started with its host, as ``virsh autostart``.

        Args:
            key: Name or uuid of one that is kept.
            autostart: Whether it is.

        Raises:
            DomainNotFound: None is kept under that name or uuid.
            UnsupportedFeature: This way to the host keeps no configurations.
        """
        self._calls.ask(lambda: self._backend.set_autostart(uuid_of_defined(self._backend, key), autostart))

    def start(self, key: str | UUID, *, paused: bool = False, timeout: float | None = None) -> Domain:
        """Create the domain of a configuration that is kept, as ``virsh start``.

        Args:
            key: Its name or uuid.
            paused: Leave it paused.
            timeout: Seconds after which to give up and undo it. None waits as long as the host does.

        Raises:
            DomainNotFound: None is kept under that name or uuid.
            UnsupportedFeature: This way to the host keeps no configurations.
            DomainExists: It runs already.
            OperationFailed: As of `create`.
        """
        return self._calls.finish(lambda: self.begin.start(key, paused=paused, timeout=timeout), undo=self._destroy)

    def devd(self, *, timeout: float | None = None) -> None:
        """Run the hotplug scripts of the devices that the own domain serves, until stopped; as ``xl devd``.

        This is for a driver domain, a guest that serves disks or vifs of other guests: libxl in dom0 does not run the
        scripts of those. In a guest, open the host as ``xenlight:///driver``. In dom0 libxl runs the scripts of its own
        devices itself, and this would run them a second time.

        libxl never ends it, so it has a process of its own. It ends by Ctrl-C, by `timeout`, or when what
        ``host.begin.devd()`` returned is cancelled, and with this process, however that ends; scripts that run then
        have five seconds to come to their end. Devices stay as they are.

        Args:
            timeout: Seconds after which to end. None goes on for ever.

        Raises:
            NotFound: xenstore does not say which domain this is.
            UnsupportedFeature: This way to the host has no process in a domain that could serve.
            OperationTimeout: The time is over.
            OperationFailed: libxl cannot; its own lines are in the error.
        """
        self._calls.finish(lambda: self.begin.devd(timeout=timeout))
