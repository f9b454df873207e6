"""A domain on a host, for asyncio: a handle with xl's verbs, awaited.

Generated from `pyxen.domain` by ``python -m tools.aio_face``: do not edit.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from io import FileIO
from typing import Literal, TypeVar
from uuid import UUID

from pyxen.aio._calls import Calls
from pyxen.backends.base import Backend, DomainRef
from pyxen.begin import AnyCpus, DomainOperations
from pyxen.config import DomainConfig, Part, Scheduler
from pyxen.info import DomainInfo, DomainState, DomainStateName, DomainStats, Trigger, TriggerName
from pyxen.remus import RemusOptions

__all__ = ["Domain"]

D = TypeVar("D", bound=Part)


class Domain:
    """A domain on a host, as `Host.create` and `Host.domains` give it: `pyxen.Domain`, awaited.

    A handle is the domain's domid and uuid, so that it never means another domain that got the domid later: methods
    raise `DomainNotFound` once the domain is gone. Attributes are local; only methods talk to the host.
    """

    __slots__ = ("_backend", "_calls", "_name", "_ref")

    def __init__(self, backend: Backend, calls: Calls, ref: DomainRef, name: str | None = None) -> None:
        self._backend = backend
        self._calls = calls
        self._ref = ref
        self._name = name

    @property
    def domid(self) -> int:
        """The domain's number while it runs."""
        return self._ref.domid

    @property
    def uuid(self) -> UUID:
        """The domain's uuid."""
        return self._ref.uuid

    @property
    def name(self) -> str | None:
        """The name last seen by this handle; `info` asks for the current one.

        It is the name under which the domain was found or created. `info` and `rename` on this handle update it.
        None if no name has been seen.
        """
        return self._name

    @property
    def begin(self) -> DomainOperations[Domain]:
        """The same verbs without waiting: ``web.begin.save(path)`` returns an `Operation` at once."""
        return DomainOperations(self._backend, self._ref, self, self._other)

    def _other(self, ref: DomainRef, name: str | None) -> Domain:
        return Domain(self._backend, self._calls, ref, name)

    def __repr__(self) -> str:
        name = "" if self.name is None else f" {self.name!r}"
        return f"<Domain {self.domid}{name} {self.uuid}>"

    def __rich_repr__(self) -> Iterator[tuple[str, object]]:
        yield from (("domid", self.domid), ("name", self.name), ("uuid", self.uuid))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Domain):
            return NotImplemented
        return self._ref == other._ref and self._backend is other._backend

    def __hash__(self) -> int:
        return hash(self._ref)

    async def info(self) -> DomainInfo:
        """Return the current state of the domain, as its line in ``xl list``."""
        info = await self._calls.ask(lambda: self._backend.domain_info(self._ref))
        self._name = info.name
        return info.attach(lambda _: self)

    async def pause(self) -> None:
        """Stop the vCPUs until `unpause`, as ``xl pause``. Xen counts: a domain paused twice must be unpaused twice."""
        await self._calls.finish(self.begin.pause)

    async def unpause(self) -> None:
        """Let the vCPUs run again, as ``xl unpause``."""
        await self._calls.finish(self.begin.unpause)

    async def shutdown(self, *, wait: bool = True, fallback: bool = False, timeout: float | None = None) -> None:
        """Ask the guest to power off and wait until it has, as ``xl shutdown -w``.

        With ``on_poweroff="destroy"``, the default, the domain is gone afterwards. Otherwise it stays, shut down.

        Args:
            wait: False returns as soon as the guest has acknowledged the request, as ``xl shutdown``.
            fallback: Press the ACPI power button of an HVM guest without a PV driver, as ``xl shutdown -F``.
            timeout: Seconds after which to give up; the guest may still shut down later. None waits forever.

        Raises:
            InvalidState: The guest cannot answer: it is paused, has crashed, or has shut down.
            NoGuestDriver: The guest has no PV driver that could answer; this is the case for many HVM guests.
            OperationTimeout: The guest did not shut down in time.
        """
        await self._calls.finish(lambda: self.begin.shutdown(wait=wait, fallback=fallback, timeout=timeout))

    async def reboot(self, *, timeout: float | None = None) -> None:
        """Ask the guest to reboot, as ``xl reboot``. The domain's supervisor then restarts it.

        Args:
            timeout: Seconds after which to give up if the guest does not acknowledge. None uses libxl's limit, 60 s.

        Raises:
            InvalidState, NoGuestDriver, OperationTimeout: As for `shutdown`.
        """
        await self._calls.finish(lambda: self.begin.reboot(timeout=timeout))

    async def destroy(self, *, timeout: float | None = None) -> None:
        """End the domain immediately, as ``xl destroy``: like pulling the plug."""
        await self._calls.finish(lambda: self.begin.destroy(timeout=timeout))

    async def wait(self, *states: DomainState | DomainStateName, timeout: float | None = None) -> DomainInfo | None:
        """Wait until the domain reaches one of these states; by default, until it has shut down or crashed.

        Xen reports at once when a domain shuts down or disappears. It does not report a pause or unpause, so for states
        other than ``shutdown`` and ``crashed`` pyxen polls: after 10 ms at first, and in the end every 200 ms.

        Args:
            states: `DomainState` members, or their names.
            timeout: Seconds after which to give up. None waits forever.

        Returns:
            The domain's state at that moment; None if the domain is gone instead.

        Raises:
            OperationTimeout: The domain did not reach such a state in time.
        """
        info = await self._calls.finish(lambda: self.begin.wait(*states, timeout=timeout))
        return None if info is None else info.attach(lambda _: self)

    async def suspend(self, *, timeout: float | None = None) -> None:
        """Suspend the guest in memory, as ``xl suspend``. `resume` continues it.

        Args:
            timeout: Seconds after which to give up; the guest then continues. None uses libxl's limit of 60 seconds.

        Raises:
            InvalidState: The guest cannot answer: it is paused, has crashed, or has shut down.
            GuestTimeout: The guest cannot suspend, or refuses to.
        """
        await self._calls.finish(lambda: self.begin.suspend(timeout=timeout))

    async def resume(self) -> None:
        """Continue a suspended guest, as ``xl resume``.

        Raises:
            InvalidState: The domain is not suspended.
        """
        await self._calls.finish(self.begin.resume)

    async def save(
        self,
        path: str | os.PathLike[str],
        *,
        checkpoint: bool = False,
        leave_paused: bool = False,
        timeout: float | None = None,
    ) -> None:
        """Save the domain to a file and end it, as ``xl save``; `Host.restore` or ``xl restore`` brings it back.

        The file is in xl's format. It appears complete, in a single step, and replaces an existing file. If the save
        fails, no new file is left behind and the guest continues.

        Args:
            path: The file, on the host. Only its owner can read it, since a guest's memory holds secrets.
            checkpoint: Let the guest continue afterwards, as ``xl save -c``.
            leave_paused: Leave the domain paused afterwards, as ``xl save -p``.
            timeout: Seconds after which to give up. None waits as long as libxl does.

        Raises:
            InvalidState: The guest cannot answer: it is paused, has crashed, or has shut down.
            InvalidArgument: The file cannot be written.
            GuestTimeout: The guest cannot suspend, or refuses to.
            OperationFailed: Anything else, e.g. the disk is full.
        """
        await self._calls.finish(
            lambda: self.begin.save(path, checkpoint=checkpoint, leave_paused=leave_paused, timeout=timeout)
        )

    async def migrate(
        self, destination: str | Sequence[str], *, paused: bool = False, timeout: float | None = None
    ) -> None:
        """Move the running domain to another host, as ``xl migrate``. The receiver there is xl or pyxen.

        The memory is sent while the domain runs. The domain is then suspended briefly, and what changed meanwhile is
        sent. Both hosts need its disks and bridges under the same names. If the migration fails or is stopped, the
        domain continues here under its own name, and nothing is left at the destination.

        The one exception is a destination that is lost after it was allowed to start the domain: `MigrationInDoubt`.
        From that moment on, Ctrl-C, a cancel or the timeout still allow 10 seconds for its answer.

        Args:
            destination: A host for ssh, e.g. ``"root@host2"``, on which ``xl migrate-receive`` is run; or a command
                (program and arguments) connected to a receiver by its standard input and output, e.g. ``["ssh", "-p",
                "2222", "root@host2", "pyxen", "migrate-receive"]``. It cannot ask for a password.
            paused: Leave it paused there, as ``xl migrate -p``. For a host only; give a command its own ``-p``.
            timeout: Seconds after which to give up. None waits as long as the destination and libxl do.

        Raises:
            InvalidState: The guest cannot answer: it is paused, has crashed, or has shut down.
            InvalidArgument: The command cannot be run, or the destination is not valid.
            UnsupportedFeature: The domain is a PV guest, and this Xen was built without shadow paging.
            MigrationFailed: The destination failed, or was lost. The message has the reason, if it gave one.
            MigrationInDoubt: It may or may not run there; it stays suspended here, as ``NAME--migratedaway``.
            GuestTimeout: The guest cannot suspend, or refuses to.
            OperationTimeout: The timeout expired.
            OperationFailed: libxl fails for another reason; its log lines are in the error.
        """
        await self._calls.finish(lambda: self.begin.migrate(destination, paused=paused, timeout=timeout))

    async def migrate_over(self, read_fd: int, write_fd: int, *, timeout: float | None = None) -> None:
        """Move the domain over two descriptors, with xl or pyxen as the receiver at the other end; see `migrate`.

        The descriptors may be pipes or sockets; one socket may serve as both. They are duplicated: close yours
        afterwards, so that the other end sees the end of the stream. Nothing is encrypted.

        Args:
            read_fd: Descriptor from which the receiver's answers are read.
            write_fd: Descriptor to which the domain is written.
            timeout: Seconds after which to give up. None waits as long as the destination and libxl do.

        Raises:
            InvalidArgument: A descriptor is not valid. Other errors are those of `migrate`.
        """
        await self._calls.finish(lambda: self.begin.migrate_over(read_fd, write_fd, timeout=timeout))

    async def remus(
        self,
        destination: str | Sequence[str] | None,
        options: RemusOptions | None = None,
        *,
        timeout: float | None = None,
    ) -> None:
        """Keep a copy of the domain on another host, which takes over if this one is lost; as ``xl remus``.

        At each checkpoint the domain stops briefly and its changes are sent. The copy stays paused, as
        ``NAME--incoming``, and starts when its host no longer hears from this one. This call returns only when the
        domain is destroyed here. If it fails, is cancelled or times out, the domain continues here and the backup is
        called off and removed; if the backup does not confirm that, `BackupLost` is raised. COLO (``-c``) is not
        supported. Neither is ``-u``, since libxl does not compress.

        Args:
            destination: A host for ssh, e.g. ``"root@host2"``, on which ``xl migrate-receive -r`` is run; or a command,
                as for `migrate`: ``["ssh", "host2", "pyxen", "migrate-receive", "--remus"]``.
                None discards the copy, as ``-b``, to measure the cost; that is unsafe.
            options: How to replicate; the default is ``RemusOptions()``.
            timeout: Seconds after which to end the replication.

        Raises:
            InvalidArgument: The command cannot be run; or the destination is invalid, or None without `allow_unsafe`.
            UnsupportedFeature: A PV guest on a Xen without shadow paging; or a libxl without network buffering.
            MigrationFailed: The destination failed, or was lost, before the first checkpoint arrived.
            BackupLost: The backup was lost later, or could not be called off: the domain may run there too.
            DomainNotFound: The domain was destroyed before the first checkpoint arrived.
            OperationFailed: libxl fails for another reason, e.g. a disk that is not a DRBD device.
        """
        await self._calls.finish(lambda: self.begin.remus(destination, options, timeout=timeout))

    async def remus_over(
        self, read_fd: int, write_fd: int, options: RemusOptions | None = None, *, timeout: float | None = None
    ) -> None:
        """Keep a copy of the domain at the other end of two descriptors; see `remus` and `migrate_over`.

        Raises:
            InvalidArgument: A descriptor is not valid. Other errors are those of `remus`.
        """
        await self._calls.finish(lambda: self.begin.remus_over(read_fd, write_fd, options, timeout=timeout))

    async def core_dump(self, path: str | os.PathLike[str], *, timeout: float | None = None) -> None:
        """Write the domain's memory to a file, as ``xl dump-core``: an ELF core that ``crash`` reads.

        The file appears complete, in a single step, as with `save`. libxl writes it in one call that cannot be stopped
        and that occupies one worker: with a single worker, creates and destroys wait for it.

        Args:
            path: The file, on the host. Only its owner can read it.
            timeout: Give up if it has not started within this many seconds.

        Raises:
            InvalidArgument: The file cannot be written.
            OperationFailed: libxl cannot dump it, e.g. because a PV guest has not told Xen where its memory is.
        """
        await self._calls.finish(lambda: self.begin.core_dump(path, timeout=timeout))

    async def soft_reset(self, *, timeout: float | None = None) -> None:
        """Restart a guest that has shut down, in its existing memory and with new devices.

        A crashing Linux requests this, with `ShutdownReason.SOFT_RESET`, to inspect its own memory. It is the action
        behind ``on_soft_reset="soft_reset"``. Once started it is not stopped, since libxl would destroy the domain. A
        disk for which the guest had no PV driver takes libxl ten seconds.

        Args:
            timeout: Give up if it has not started within this many seconds.

        Raises:
            InvalidState: The domain has not shut down.
            UnsupportedFeature: The domain is not an HVM guest; or there is no worker process, see `pyxen.connect`.
            OperationFailed: libxl fails and destroys the domain; its log lines are in the error.
        """
        await self._calls.finish(lambda: self.begin.soft_reset(timeout=timeout))

    async def config(self, *, defaults: bool = False) -> DomainConfig:
        """Return the domain's current configuration, including devices attached since it was created.

        This is what libxl stores, as ``xl list -l``, for domains made by pyxen, xl or libvirt. It contains everything
        but the domid, so another domain can be created from it.

        Args:
            defaults: Include settings that only repeat libxl's own choice. By default they are left out, so that the
                configuration is what was asked for.

        Raises:
            NotFound: libxl has no configuration for it, because another toolstack created it.
        """
        return await self._calls.finish(lambda: self.begin.config(defaults=defaults))

    async def rename(self, name: str) -> None:
        """Give the domain another name, as ``xl rename``.

        Raises:
            DomainExists: Another domain has that name.
            ValidationError: The name is not valid.
        """
        await self._calls.finish(lambda: self.begin.rename(name))
        self._name = name

    async def preserve(self, suffix: str) -> Domain:
        """Set aside a domain that has ended, for inspection, so that a new one can take its place.

        The domain keeps its domid, memory and devices. It gets another name and a new uuid, which frees the old ones.
        ``on_crash="restart_rename"`` keeps a domain this way. This handle is no longer valid afterwards.

        Args:
            suffix: Text appended to its name; xl uses e.g. ``-20250131T0730Z``.

        Returns:
            The domain under its new uuid.

        Raises:
            InvalidState: The domain has not shut down or crashed.
            DomainExists: Another domain already has the new name.
            ValidationError: The name is not valid.
        """
        return await self._calls.finish(lambda: self.begin.preserve(suffix))

    async def send_trigger(self, trigger: Trigger | TriggerName, *, vcpu: int = 0) -> None:
        """Press a button or interrupt a vCPU, as ``xl trigger``. For HVM guests; PVH and PV guests take the NMI only.

        Args:
            trigger: `Trigger`, or its name: ``power``, ``sleep``, ``nmi``, ``init``, ``reset``, ``s3resume``.
            vcpu: The vCPU to interrupt with ``nmi`` or ``init``.
        """
        await self._calls.finish(lambda: self.begin.send_trigger(trigger, vcpu=vcpu))

    async def send_sysrq(self, key: str) -> None:
        """Send a Linux magic SysRq key, as ``xl sysrq``: ``"s"`` syncs the disks, ``"c"`` crashes.

        Raises:
            InvalidArgument: The key is not a single letter.
        """
        await self._calls.finish(lambda: self.begin.send_sysrq(key))

    async def attach(self, device: D, *, timeout: float | None = None) -> D:
        """Attach a device to the running domain, as ``xl block-attach``, ``network-attach``, ``pci-attach`` and so on.

        libxl creates the device and does not wait for the guest to use it. An HVM guest needs PV drivers to see it:
        emulated devices exist only if the domain was created with them.

        Args:
            device: A `Disk`, `Vif`, `Pci`, `UsbCtrl`, `UsbDev`, `Vtpm`, `Vkb`, `Vdispl`, `Vsnd`, `Vfb`, or from Xen
                4.20 on a `P9`.
            timeout: Seconds after which to give up and undo the attach. None waits as long as libxl does.

        Returns:
            The device as libxl created it, e.g. with the MAC address that it chose. Pass it to `detach`.

        Raises:
            DeviceExists: The domain already has a device with that vdev, MAC, address or devid.
            FileMissing: The file of a disk is not on the host.
            NotFound: The bridge of a vif, or a USB device, is not on the host; or a PCI device is not assignable.
            UnsupportedFeature: Such a device can only be created and removed with its domain.
            ValidationError: Its settings contradict each other.
            OperationTimeout: The timeout expired.
            OperationFailed: libxl fails for another reason; its log lines are in the error.
        """
        return await self._calls.finish(
            lambda: self.begin.attach(device, timeout=timeout),
            undo=lambda made: self.begin.detach(made, force=True).wait(),
        )

    async def detach(self, device: Part | str, *, force: bool = False, timeout: float | None = None) -> None:
        """Detach a device from the running domain, as ``xl block-detach``, ``network-detach`` and so on.

        The guest is asked to release the device, and has ten seconds to do so. After that a disk stays and an error is
        raised; libxl removes other devices all the same.

        Args:
            device: The vdev of a disk, the MAC address of a vif, or the address of a PCI device; or a device, compared
                by its identifying fields only: ``Vif(devid=0)``, ``Vtpm(uuid=...)``, or what `attach` returned.
            force: Remove it immediately, as ``xl block-detach --force``: like pulling the cable. Data that the guest
                has not written is lost.
            timeout: Seconds after which to give up; the guest may still release it later.

        Raises:
            NotFound: The domain has no such device; the message lists those it has.
            InvalidArgument: The argument does not identify a device.
            GuestTimeout: The guest did not release it: it has no driver, or uses the device. It may do so later.
            UnsupportedFeature: Such a device can only be created and removed with its domain.
            OperationTimeout: The guest did not release it in time.
        """
        await self._calls.finish(lambda: self.begin.detach(device, force=force, timeout=timeout))

    async def insert_cdrom(self, vdev: str, target: str | os.PathLike[str], *, timeout: float | None = None) -> None:
        """Insert a disc into a CD-ROM drive, replacing the current one, as ``xl cd-insert``; HVM guests.

        Args:
            vdev: The drive, e.g. ``hdc``. The domain must have been created with it.
            target: An ISO image or a block device on the host.
            timeout: Seconds after which to give up; the drive may be left empty. None waits for libxl's own limits.

        Raises:
            NotFound: The domain has no such drive; the message lists those it has.
            FileMissing: The image is not on the host.
            UnsupportedFeature: The domain is not an HVM guest.
            OperationTimeout: The timeout expired.
        """
        await self._calls.finish(lambda: self.begin.insert_cdrom(vdev, target, timeout=timeout))

    async def eject_cdrom(self, vdev: str, *, timeout: float | None = None) -> None:
        """Remove the disc from a CD-ROM drive, as ``xl cd-eject``; HVM guests. An empty drive stays empty.

        Args:
            vdev: The drive, e.g. ``hdc``.
            timeout: Seconds after which to give up. None waits for libxl's own limits.

        Raises:
            OperationFailed: As for `insert_cdrom`.
        """
        await self._calls.finish(lambda: self.begin.eject_cdrom(vdev, timeout=timeout))

    async def set_memory(self, memory: float) -> None:
        """Set how much memory the guest should use, and limit it to that, as ``xl mem-set``.

        It returns once the guest has been asked. Whether and how fast the guest follows is up to its balloon driver;
        `info` shows how much memory it has.

        Args:
            memory: In MiB, as `DomainConfig.memory`; at most ``maxmem``.

        Raises:
            InvalidArgument: It is zero, or more than ``maxmem``.
            NotEnoughMemory: The host has not enough free memory.
            ValidationError: It is not a valid amount of memory.
        """
        await self._calls.finish(lambda: self.begin.set_memory(memory))

    async def set_maxmem(self, maxmem: float) -> None:
        """Set the most memory that `set_memory` can give the domain, as ``xl mem-max``.

        Args:
            maxmem: In MiB, as `DomainConfig.maxmem`. A guest may not be able to use more than it started with.

        Raises:
            InvalidArgument: It is less than the guest's current memory target.
            ValidationError: It is not a valid amount of memory.
        """
        await self._calls.finish(lambda: self.begin.set_maxmem(maxmem))

    async def set_vcpus(self, vcpus: int) -> None:
        """Set how many vCPUs the guest should use, as ``xl vcpu-set``.

        It returns once the guest has been asked; `info` shows how many it uses. Unlike xl, pyxen allows more vCPUs than
        the host has CPUs; libvirt does not.

        Args:
            vcpus: 1 to ``maxvcpus``. Through libvirt, at most as many as the host has CPUs.

        Raises:
            InvalidArgument: It is out of range.
        """
        await self._calls.finish(lambda: self.begin.set_vcpus(vcpus))

    async def pin_vcpu(
        self, vcpu: int | Literal["all"], cpus: AnyCpus | None = None, *, cpus_soft: AnyCpus | None = None
    ) -> None:
        """Set the CPUs on which a vCPU may run, and those that it prefers, as ``xl vcpu-pin``.

        Args:
            vcpu: Its number, or ``"all"``.
            cpus: The CPUs on which it may run: a `CpuSet`, or what `CpuSet` accepts: ``"0-3,^1"``, ``"nodes:0"``,
                ``"all"``, ``[2, 3]``. None leaves them unchanged.
            cpus_soft: The CPUs that it prefers. None leaves them unchanged.

        Raises:
            InvalidArgument: There is no such vCPU or CPU, or neither `cpus` nor `cpus_soft` is given.
            ValueError: It is not a set of CPUs.
        """
        await self._calls.finish(lambda: self.begin.pin_vcpu(vcpu, cpus, cpus_soft=cpus_soft))

    async def set_scheduler(self, scheduler: Scheduler) -> None:
        """Set the domain's share of the CPUs, as ``xl sched-credit2 -w`` and so on; `config` includes it.

        Args:
            scheduler: E.g. ``Scheduler(weight=512, cap=50)``; parameters not given stay unchanged.

        Raises:
            InvalidArgument: A value is out of range.
            UnsupportedFeature: The scheduler of the domain's CPU pool has no such parameter.
        """
        await self._calls.finish(lambda: self.begin.set_scheduler(scheduler))

    async def monitor_command(self, command: str, *, timeout: float | None = None) -> str:
        """Run a command in QEMU's human monitor and return the answer, as ``xl qemu-monitor-command``.

        Args:
            command: E.g. ``info block``. libxl does not learn of changes made this way.
            timeout: Seconds after which to give up.

        Raises:
            UnsupportedFeature: The domain has no QEMU.
            InvalidArgument: The command is empty.
            QmpError: QEMU refused the command.
            OperationTimeout: The timeout expired.
        """
        return await self._calls.finish(lambda: self.begin.monitor_command(command, timeout=timeout))

    async def userdata(self, key: str) -> bytes | None:
        """Return data stored with the domain under a key, see `set_userdata`; None if the key does not exist.

        The keys of libxl (``libxl-json``) and xl (``xl``) can be read too.

        Raises:
            InvalidArgument: The key is not valid.
        """
        return await self._calls.finish(lambda: self.begin.userdata(key))

    async def set_userdata(self, key: str, data: bytes | None) -> None:
        """Store data with the domain under a key, replacing what is there. It is deleted with the domain.

        libxl keeps it on the host's disk, where all programs can read it. It is neither migrated nor saved.

        Args:
            key: Letters, digits, dots, dashes and underscores. Start it with the name of your program.
            data: The data; None removes it.

        Raises:
            InvalidArgument: The key is not valid, or belongs to libxl or xl.
        """
        await self._calls.finish(lambda: self.begin.set_userdata(key, data))

    async def stats(self) -> DomainStats:
        """Return what the domain has used so far: CPU time, and disk and network traffic, as ``xl top``.

        Disk and vif counters come from dom0's kernel: devices served by QEMU or by another domain have no counters.
        """
        return await self._calls.ask(lambda: self._backend.stats(self._ref))

    async def console(self) -> FileIO:
        """Open the guest's console, as ``xl console``, as a raw unbuffered file for reading and writing; close it.

        If two readers read at once, each gets part of the output. A read returns what has arrived, at least one byte.
        In `pyxen.aio`, no call of the file blocks: a read returns None if nothing has arrived, and a write returns how
        much of the data it took, or None. ``loop.add_reader(console, ...)`` calls back when there is output.

        Raises:
            NotFound: The domain does not have a console, or not yet.
        """
        return await self._calls.acquire(
            lambda: self._calls.file(self._backend.console(self._ref)), give_back=FileIO.close
        )

    async def add_console(self, *, port: int | None = None, gfn: int | None = None, backend_domid: int = 0) -> None:
        """Announce the guest's console to xenconsoled, so that `console` and ``xl console`` can open it.

        This is for a domain that Xen itself created when the host booted (dom0less), once init-dom0less has introduced
        it to xenstore. Domains created by libxl have a console already. xenconsoled publishes the terminal shortly
        afterwards.

        Args:
            port: The guest's end of the event channel. Default: the one that Xen keeps; for PV guests it keeps no port.
            gfn: Frame number of the page with the console's ring. Default: the one that Xen keeps.
            backend_domid: The domain in which xenconsoled serves the console.

        Raises:
            DeviceExists: The domain already has a console.
            DomainNotFound: The domain `backend_domid` does not exist.
            InvalidArgument: Xen keeps no `port` or `gfn` for this guest, or those given are not valid.
            UnsupportedFeature: libxl of Xen 4.17 cannot do this.
        """
        await self._calls.finish(lambda: self.begin.add_console(port=port, gfn=gfn, backend_domid=backend_domid))
