"""The blocking API of a host."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Any, Self, TypeVar, overload
from uuid import UUID

from pyxen._common.arguments import AnyFile, check_bools, check_config, member
from pyxen._host_copies import HostCopies
from pyxen._lifetime import Lifetime
from pyxen.applying import Applied
from pyxen.backends.base import Backend, DomainRef
from pyxen.begin import HostOperations, uuid_of_defined
from pyxen.config import DomainConfig
from pyxen.cpupools import Cpupools
from pyxen.domain import Domain
from pyxen.domains import DomainKey, Domains
from pyxen.events import Event, EventsLost
from pyxen.features import Feature, FeatureName
from pyxen.guests import Guests
from pyxen.libvirtverbs import LibvirtVerbs
from pyxen.operation import Calls
from pyxen.pcidevices import PciDevices
from pyxen.readers.events import EventReader, check_kinds, event_filter
from pyxen.records.base import attach_all
from pyxen.records.info import DefinedDomain, DomainInfo, DomainUptime, HostInfo
from pyxen.records.stats import DomainStats
from pyxen.records.topology import Topology
from pyxen.usbdevices import UsbDevices
from pyxen.vm import Vm, uuid_of_vm
from pyxen.xenstore import Xenstore

__all__ = ["Host"]

E1 = TypeVar("E1", bound=Event)
E2 = TypeVar("E2", bound=Event)


class Host(HostCopies):
    """A host that runs domains, returned by `pyxen.connect`. Safe to use from any thread.

    Use it as a context manager, or `close` it: a host that is not closed keeps connections open.

    Attributes:
        domains: The domains by name, domid or uuid: ``host.domains["web1"]``.
        hypfs: The values in Xen's own file system: ``host.hypfs["/params/loglvl"]``.
        flask: Xen's security module.
        psr: Caches and memory bandwidth: who uses them, and who may.
        device_tree: Overlays of the device tree, on Arm.
        guests: The domains without dom0 and without stub domains, looked up in the same way.
        xenstore: The xenstore: ``host.xenstore.read("/local/domain/0/name")``.
        cpupools: The CPU pools by name or number: ``host.cpupools["Pool-0"]``.
        pci: The host's PCI devices by address or name: ``host.pci["03:00.0"]``.
        usb: The host's USB devices by port, or by bus and address: ``host.usb["1-2"]``.
        libvirt: What only libvirt has, such as managed saves and networks.
    """

    def __init__(self, backend: Backend) -> None:
        super().__init__(backend, Calls(backend.completer))
        self._lifetime = Lifetime(backend)
        self.domains = Domains(backend, self._calls)
        self.guests = Guests(backend, self._calls)
        self.xenstore = Xenstore(backend, self._calls)
        self.cpupools = Cpupools(backend, self._calls)
        self.pci = PciDevices(backend, self._calls)
        self.usb = UsbDevices(backend, self._calls)
        self.libvirt = LibvirtVerbs(backend, self._calls)

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
        """The URI with which `pyxen.connect` opens this host."""
        return self._backend.uri

    @property
    def begin(self) -> HostOperations[Domain]:
        """The same verbs without waiting: ``host.begin.create(config)`` returns an `Operation` at once.

        Any number of operations may run at once.
        """
        return HostOperations(self._backend, self._lifetime.threads, self._domain)

    def _handle(self, record: DomainInfo | DomainUptime | Event) -> Domain | None:
        """Return the handle of the domain that a record is about."""
        if record.domid is None or record.uuid is None:
            return None
        return Domain(self._backend, self._calls, DomainRef(record.domid, record.uuid), record.name)

    def _destroy(self, made: DomainRef | Domain) -> None:
        """Destroy a domain whose handle was never returned, because the call that created it was interrupted."""
        self._backend.destroy(DomainRef(made.domid, made.uuid), timeout=None).wait()

    def vm(self, uuid: UUID | str) -> Vm:
        """Return a handle of a virtual machine that follows it through its restarts. This does no I/O.

        Args:
            uuid: Its uuid, which every domain of it has; also as text. It need not run.

        Raises:
            InvalidArgument: It is not a uuid.
        """
        return Vm(self._backend, self._calls, uuid_of_vm(uuid))

    def supports(self, feature: Feature | FeatureName) -> bool:
        """Tell whether this backend has a feature that not every backend has.

        Args:
            feature: A `Feature`, or its name. Most are named after the method, e.g. ``"core_dump"``.

        Raises:
            InvalidArgument: There is no such feature.
        """
        return member(Feature, feature, "supports") in self._backend.features

    def close(self) -> None:
        """Close the host. Running operations are stopped and undone; domains stay. Calling it again does nothing.

        Every later call on the host or on one of its domains raises `HostClosed`.

        Raises:
            RuntimeError: Called in a callback of an operation, or in a function that a clone or a pool calls, on the
                thread for which the closing has to wait. The host stays open: close it on another thread.
        """
        self._lifetime.close()

    def info(self) -> HostInfo:
        """Return figures about the host, as ``xl info``: CPUs, memory, Xen's version.

        This is cheap enough to be called each second: it takes a few hypercalls, and never waits for a create.
        """
        return self._calls.ask(self._backend.info)

    def topology(self) -> Topology:
        """Return the host's CPUs, NUMA nodes and PCI devices, as ``xl info -n``.

        A configuration whose CPU sets say ``all`` or ``nodes:1`` is resolved with it::

            topology = host.topology()
            config.resolve_cpus([cpu.number for cpu in topology.cpus], topology.node_cpus)

        Raises:
            UnsupportedFeature: This backend does not know them.
        """
        return self._calls.ask(self._backend.topology)

    def idle_times_ns(self) -> dict[int, int]:
        """Return how long each online CPU has been idle since the host's boot, in nanoseconds, by its number.

        Two such readings give the load: the time between them, less the growth of a CPU's idle time.

        Raises:
            UnsupportedFeature: This backend does not know them.
        """
        return self._calls.ask(self._backend.idle_times_ns)

    def uptimes(self) -> list[DomainUptime[Domain]]:
        """Return how long each domain has existed, including dom0, ordered by domid, as ``xl uptime``.

        Raises:
            UnsupportedFeature: This backend does not know when domains were created.
        """
        uptimes = self._calls.ask(self._backend.uptimes)
        attach_all(uptimes, self._handle)
        return uptimes

    def list(self) -> list[DomainInfo[Domain]]:
        """Return the current state of all domains, including dom0, ordered by domid, as ``xl list``."""
        infos = self._calls.ask(self._backend.list)
        attach_all(infos, self._handle)
        return infos

    def stats(self) -> tuple[DomainStats[Domain], ...]:
        """Return what all domains have used so far, including dom0, ordered by domid, as ``xl top``: in one pass.

        The counters of vifs and of ``phy`` disks come from dom0's kernel. Those of ``qdisk`` disks come from QEMU,
        which is asked only if a domain has such disks. If it does not answer within a second, or its answer is not
        valid, they are None. Devices that another domain or another program serves are not listed. Of a ``phy`` disk of
        an HVM guest, only the I/O of the guest's PV driver is counted, as in ``xl top``.

        `Sampler` gives rates.

        Raises:
            UnsupportedFeature: This backend has no statistics.
        """
        stats = self._calls.ask(self._backend.all_stats)
        for each in stats:
            each.info.attach(self._handle)
        return stats

    @overload
    def events(
        self, *, domain: Domain | DomainKey | None = None, maxlen: int = 10_000
    ) -> EventReader[Event[Domain]]: ...
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
        """Return a reader of the host's events from now on, for all domains, including those made by other toolstacks.

        The reader gets all events from the moment this returns until it or the host is closed. The events of one domain
        come in the order in which they happened::

            with host.events(DomainShutdown, DomainDestroyed) as events:
                for event in events:
                    ...

        Xen does not announce that a domain was paused or unpaused; libvirt does.

        Args:
            kinds: Event classes, e.g. ``DomainCreated``, or ``DeviceEvent`` for all classes that derive from it.
                Default: all events. `EventsLost` is always included.
            domain: Read the events of one domain only: the domain of a handle; or any domain that has this domid, uuid
                or name when the event happens.
            maxlen: How many events may wait to be read. When more arrive, an `EventsLost` takes the place of those that
                were dropped.

        Raises:
            ConnectFailed: xenstore cannot be reached.
            InvalidArgument: `maxlen` is below 1, or a kind is not an event class.
            UnsupportedFeature: This backend does not announce a kind that is named.
        """
        wanted = event_filter(kinds, domain)
        check_kinds(self._backend, kinds)
        return self._reader(wanted, maxlen)

    def _reader(self, wanted: Callable[[Event], bool], maxlen: int) -> EventReader[Any]:
        return EventReader(self._backend, wanted, maxlen, self._handle)

    def orphans(self) -> tuple[Domain, ...]:
        """Return the domains left by processes that were killed: half-made ones, and guests of pools and clones.

        If only the process is killed, its worker undoes the create. If the workers are killed too, e.g. by systemd or
        by the kernel when memory runs out, or if there are no workers, a half-made domain may stay: inspect it, or
        destroy it. Domains whose creation was complete, and those that xl was creating, are not listed. Guests of a
        `pool` that were not taken, and clones of a `clone` that was not complete, are listed, too.

        All this is recorded in ``/run/pyxen``.
        """
        refs = self._calls.ask(self._backend.orphans)
        return tuple(self._domain(ref) for ref in refs)

    def create(
        self,
        config: DomainConfig,
        *,
        paused: bool = False,
        on_console: Callable[[Domain], object] | None = None,
        autoballoon: bool | None = None,
        timeout: float | None = None,
    ) -> Domain:
        """Create a domain and start it, as ``xl create``.

        A create that fails, is interrupted by Ctrl-C or times out leaves nothing behind.

        If the host has too little free memory, dom0 can give up some of its own (autoballoon): pyxen lowers its memory
        target, and waits for up to 30 seconds, as xl does. Other operations go on meanwhile, and of several creates
        that wait, the earlier ones are served first. If dom0 cannot give up enough, it gets its target back. Programs
        other than this one may take the memory first; ``DomainConfig(claim_mode=True)`` has Xen reserve it at once.

        Args:
            config: The configuration of the domain.
            paused: Leave it paused, as ``xl create -p``.
            on_console: Called once with the domain, on a thread of its own, when its console can be opened, as for
                ``xl create -c``. With a bootloader such as pygrub that is before the create ends: the bootloader's
                menu waits there, and `Domain.console_stream` goes on with the guest's console after it. It is not
                called if the create fails before that, or if the domain has no console.
            autoballoon: Whether dom0 gives up memory if need be. None: unless ``dom0_mem`` on Xen's command line says
                how much it has, as xl does (``autoballoon="auto"``); through libvirt, as its ``libxl.conf`` says.
            timeout: Seconds after which to give up and undo the create. None waits as long as libxl does.

        Raises:
            ValidationError: Settings contradict each other.
            UnsupportedFeature: The host's Xen does not know a setting.
            DomainExists: A domain already has the name or the uuid.
            FileMissing: The kernel, the ramdisk, a disk, or a firmware, a program or a script that it names is missing.
            NotFound: A bridge, a backend domain, or a PCI or USB device that it names is missing.
            NotEnoughMemory: The host has not enough free memory.
            OperationTimeout: The timeout expired.
            OperationFailed: libxl fails for another reason; its log lines are in the error.
        """
        return self._calls.finish(
            lambda: self.begin.create(
                config, paused=paused, on_console=on_console, autoballoon=autoballoon, timeout=timeout
            ),
            undo=self._destroy,
        )

    def check_create(
        self, config: DomainConfig, *, autoballoon: bool | None = None, timeout: float | None = None
    ) -> DomainConfig:
        """Check whether `create` could create a domain now, without making anything, as ``xl create -n``.

        It checks all that `create` checks before it makes the domain: the settings, name and uuid, the CPU pool, the
        free memory, and whether the kernel, the ramdisk and the disks are there. What only shows when a device is set
        up need not be checked, e.g. whether a bridge exists. xl's own dry run looks at the text only.

        Args:
            config: The configuration of the domain.
            autoballoon: Whether what dom0 could give up counts as free memory, see `create`; it gives up nothing.
            timeout: Seconds after which to give up. None waits as long as libxl does.

        Returns:
            The configuration, with ``all`` and ``nodes:1`` in CPU sets replaced by CPUs of this host.

        Raises:
            UnsupportedFeature: This backend cannot tell. Other errors are those of `create`.
        """
        return self._calls.finish(lambda: self.begin.check_create(config, autoballoon=autoballoon, timeout=timeout))

    def apply(
        self, config: DomainConfig, *, dry_run: bool = False, persistent: bool = False, timeout: float | None = None
    ) -> Applied[Domain]:
        """Create the domain of a configuration; or if it runs, change it with as few steps as can be.

        The domain is found by the configuration's uuid, or if that has none, by its name. What `DomainConfig.diff`
        finds is changed with the verbs of `Domain`: `~Domain.rename`, `~Domain.set_memory`, `~Domain.set_maxmem`,
        `~Domain.set_vcpus`, `~Domain.set_cpupool`, `~Domain.pin_vcpu`, `~Domain.set_scheduler`, `~Domain.detach`,
        `~Domain.attach`, `~Domain.insert_cdrom` and `~Domain.eject_cdrom`. A device with other settings is detached,
        and attached again. The CPU pool and the CPUs of vCPUs are compared with what Xen has now.

        Nothing is locked: if another program changes the domain meanwhile, a step may fail.

        Args:
            config: The configuration.
            dry_run: Change nothing, and return what would be done.
            persistent: Keep the configuration, too, so that the next start of the domain has all of it: as `define` on
                a host that stores configurations, and else as `Domain.update_config`.
            timeout: Seconds after which to give up. The step that runs then is undone; earlier steps stay. None waits
                as long as libxl does.

        Returns:
            What was done, and what only a restart of the domain can bring, with the reasons: the boot order, the drives
            of an HVM guest and the like.

        Raises:
            ApplyFailed: A step failed; it says which steps were done.
            DomainExists: The domain is not there, and another domain has its name. Or with `persistent`, the
                configuration of another domain is kept under its name. Nothing was changed.
            InvalidState: The domain has ended or is suspended, and is still there.
            NotFound: The domain was created by another toolstack, and libxl has no configuration of it.
            UnsupportedFeature: This backend cannot keep configurations, as `persistent` asks.
            ValidationError: Settings contradict each other.
            OperationFailed: The domain is not there, and cannot be created: as for `create`. Or with `persistent`, its
                configuration cannot be kept: then it was destroyed.
        """
        return self._calls.finish(
            lambda: self.begin.apply(config, dry_run=dry_run, persistent=persistent, timeout=timeout),
            undo=self._unmake,
        )

    def _unmake(self, applied: Applied[Domain]) -> None:
        """Destroy a domain that `apply` has created, because the call was interrupted."""
        if applied.created and applied.domain is not None:
            self._destroy(applied.domain)

    def restore(
        self,
        path: AnyFile,
        config: DomainConfig | None = None,
        *,
        paused: bool = False,
        allow: Callable[[DomainConfig], bool | None] | None = None,
        autoballoon: bool | None = None,
        timeout: float | None = None,
    ) -> Domain:
        """Create a domain from a file that `Domain.save` or ``xl save`` wrote, as ``xl restore``.

        A restore that fails leaves nothing behind. The file stays. Do not restore it twice with the same disks: the
        second guest would corrupt them.

        Args:
            path: The file, on the host; it must be a regular file. Or what is already open: a descriptor, or an object
                with one, such as a file opened with ``buffering=0``, a pipe or a socket. It is read from where it is,
                and may be read past the end of the domain; it stays open.
            config: Replaces the configuration in the file, e.g. to use disks that were moved. If it has no uuid, the
                domain gets a new uuid.
            paused: Leave it paused, as ``xl restore -p``.
            allow: A plain function, called with the configuration of the new domain before anything is created. It
                refuses the domain by returning False or raising. An async function is refused with `InvalidArgument`,
                as nothing awaits it. It must not wait for an operation. The configuration names files and
                scripts that root uses: check it if the file is not trusted.
            autoballoon: Whether dom0 gives up memory if need be, see `create`.
            timeout: Seconds after which to give up and undo the create. None waits as long as libxl does.

        Raises:
            FileMissing: The file does not exist.
            InvalidArgument: It is not a regular file, or the descriptor is not valid.
            UnsupportedFeature: A descriptor, and this backend reads files by path only.
            ParseError: It is not a saved domain, is damaged, or was written by Xen 4.5 or older.
            DomainExists: A domain already has the name or the uuid.
            NotEnoughMemory: The host has not enough free memory.
            OperationTimeout: The timeout expired.
            OperationFailed: libxl fails for another reason; its log lines are in the error.
        """
        return self._calls.finish(
            lambda: self.begin.restore(
                path, config, paused=paused, allow=allow, autoballoon=autoballoon, timeout=timeout
            ),
            undo=self._destroy,
        )

    def receive_migration(
        self,
        read_fd: int,
        write_fd: int,
        *,
        remus: bool = False,
        paused: bool = False,
        allow: Callable[[DomainConfig], bool | None] | None = None,
        autoballoon: bool | None = None,
        timeout: float | None = None,
    ) -> Domain:
        """Receive a domain that xl or pyxen migrates to this host, as ``xl migrate-receive``.

        The domain is created as ``NAME--incoming``. It gets its name and starts once the source has released it. If
        the migration fails or is stopped before that, nothing is left here, and the domain continues at the source.

        With `remus` it is the backup of a domain that `Domain.remus` or ``xl remus`` replicates. It stays paused, as
        ``NAME--incoming``, until the source falls silent. It then gets its name, unless another domain has it, and runs
        from the last checkpoint. Nothing checks whether the source is really gone. When pyxen is the source, it calls
        the backup off when it ends the replication. When xl is the source, Ctrl-C there also starts the backup.

        The descriptors may be pipes or sockets; one socket may serve as both. They are duplicated: close yours
        afterwards. The stream is not encrypted, and the sender is not authenticated: that is up to the code that opened
        the descriptors.

        Args:
            read_fd: Descriptor from which the domain is read.
            write_fd: Descriptor to which answers to the source are written.
            remus: Receive a stream of checkpoints, as ``xl migrate-receive -r``. The source must replicate with Remus.
            paused: Leave it paused, as ``xl migrate-receive -p``.
            allow: A plain function, called with the configuration of the new domain before anything is created. It
                refuses the domain by returning False or raising. An async function is refused with `InvalidArgument`,
                as nothing awaits it. It must not wait for an operation. The configuration names files and
                scripts that root uses: check it if the sender is not trusted.
            autoballoon: Whether dom0 gives up memory if need be, see `create`.
            timeout: Seconds after which to give up and undo the migration. None waits as long as the source does.

        Raises:
            InvalidArgument: A descriptor is not valid, or the source sends no configuration.
            ParseError: The stream does not contain a domain.
            DomainExists: A domain other than the source already has the name or the uuid.
            NotEnoughMemory: The host has not enough free memory.
            MigrationFailed: The source failed, or was lost. With `remus`: before the first checkpoint was complete, or
                the source has called the backup off.
            OperationTimeout: The timeout expired.
            OperationFailed: libxl fails for another reason; its log lines are in the error.
        """
        return self._calls.finish(
            lambda: self.begin.receive_migration(
                read_fd, write_fd, remus=remus, paused=paused, allow=allow, autoballoon=autoballoon, timeout=timeout
            )
        )

    def define(self, config: DomainConfig, *, autostart: bool | None = None) -> DefinedDomain:
        """Store a configuration, so that its domain can be started by name, as ``virsh define``.

        libxl does not store configurations, so this needs libvirt or ``memory:///``. A running domain does not change.

        Args:
            config: The configuration. It replaces the one stored under its uuid or name.
            autostart: Whether to start it with its host. None leaves that unchanged; for a new one it is False.

        Raises:
            UnsupportedFeature: This backend does not store configurations.
            DomainExists: Another domain has that name or uuid.
            ValidationError: Settings contradict each other.
        """
        check_config(config, "define")
        if autostart is not None:
            check_bools("define", autostart=autostart)
        return self._calls.change(lambda: self._backend.define(config, autostart=autostart))

    def defined(self) -> Sequence[DefinedDomain]:
        """Return the stored configurations, ordered by name, whether or not they run, as ``virsh list --all``.

        Raises:
            UnsupportedFeature: This backend does not store configurations.
        """
        return self._calls.ask(self._backend.defined)

    def defined_config(self, key: str | UUID) -> DomainConfig:
        """Return a stored configuration, as ``virsh dumpxml --inactive``: that of its next start.

        Args:
            key: Name or uuid.

        Raises:
            DomainNotFound: No configuration is stored under that name or uuid.
            UnsupportedFeature: This backend does not store configurations.
        """
        return self._calls.ask(lambda: self._backend.defined_config(uuid_of_defined(self._backend, key)))

    def undefine(self, key: str | UUID) -> None:
        """Remove a stored configuration, as ``virsh undefine``. If its domain runs, it continues.

        Args:
            key: Name or uuid.

        Raises:
            DomainNotFound: No configuration is stored under that name or uuid.
            InvalidState: libvirt keeps a managed save of the domain: `LibvirtVerbs.remove_managed_save` removes it.
            UnsupportedFeature: This backend does not store configurations.
        """
        self._calls.change(lambda: self._backend.undefine(uuid_of_defined(self._backend, key)))

    def set_autostart(self, key: str | UUID, autostart: bool) -> None:
        """Set whether a domain is started with its host, as ``virsh autostart``.

        Args:
            key: Name or uuid of a stored configuration.
            autostart: Whether to start it.

        Raises:
            DomainNotFound: No configuration is stored under that name or uuid.
            UnsupportedFeature: This backend does not store configurations.
        """
        check_bools("set_autostart", autostart=autostart)
        self._calls.change(lambda: self._backend.set_autostart(uuid_of_defined(self._backend, key), autostart))

    def start(self, key: str | UUID, *, paused: bool = False, timeout: float | None = None) -> Domain:
        """Create the domain of a stored configuration, as ``virsh start``.

        Args:
            key: Its name or uuid.
            paused: Leave it paused.
            timeout: Seconds after which to give up and undo the create. None waits as long as the host does.

        Raises:
            DomainNotFound: No configuration is stored under that name or uuid.
            UnsupportedFeature: This backend does not store configurations.
            DomainExists: The domain already runs.
            OperationFailed: As for `create`.
        """
        return self._calls.finish(lambda: self.begin.start(key, paused=paused, timeout=timeout), undo=self._destroy)

    def devd(self, *, timeout: float | None = None) -> None:
        """Run the hotplug scripts of the devices that this domain serves, until stopped, as ``xl devd``.

        This is for a driver domain: a guest that serves disks or vifs to other guests. libxl in dom0 does not run the
        scripts for those devices. In the guest, open the host as ``xenlight:///driver``. Do not call this in dom0:
        libxl runs the scripts of dom0's devices itself, and this would run them a second time.

        libxl's call never returns, so it runs in a process of its own. It ends on Ctrl-C, after `timeout`, when the
        operation from ``host.begin.devd()`` is cancelled, or when this process ends for any reason. Scripts that are
        running at that time have five seconds to finish. Devices are not changed.

        Args:
            timeout: Seconds after which to end. None runs forever.

        Raises:
            NotFound: xenstore does not say which domain this one is.
            UnsupportedFeature: This backend does not run in a domain that could serve devices.
            OperationTimeout: The timeout expired.
            OperationFailed: libxl fails; its log lines are in the error.
        """
        self._calls.finish(lambda: self.begin.devd(timeout=timeout))
