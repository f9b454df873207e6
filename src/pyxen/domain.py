"""A domain on a host: a handle with xl's verbs."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from io import FileIO
from typing import Literal, TypeVar
from uuid import UUID

from pyxen.backends.base import Backend, DomainRef
from pyxen.begin import AnyCpus, DomainOperations
from pyxen.config import DomainConfig, Part, Scheduler
from pyxen.info import DomainInfo, DomainState, DomainStateName, DomainStats, Trigger, TriggerName
from pyxen.operation import Calls
from pyxen.remus import RemusOptions

__all__ = ["Domain"]

D = TypeVar("D", bound=Part)


class Domain:
    """A domain on a host, as `Host.create` and `Host.domains` give it; users do not make one.

    A handle is the domain's domid and uuid, so that it never means another domain that got the domid later: every
    method raises `DomainNotFound` once the domain is gone. Attributes are local; only methods talk to the host.
    """

    __slots__ = ("_backend", "_calls", "_name", "_ref")

    def __init__(self, backend: Backend, calls: Calls, ref: DomainRef, name: str | None = None) -> None:
        self._backend = backend
        self._calls = calls
        self._ref = ref
        self._name = name

    @property
    def domid(self) -> int:
        """Number of the domain, while it runs."""
        return self._ref.domid

    @property
    def uuid(self) -> UUID:
        """The domain's uuid."""
        return self._ref.uuid

    @property
    def name(self) -> str | None:
        """The last name of the domain that this handle has seen; `info` asks for the current one.

        It is the name by which the domain was found or made, until `info` or `rename` of this handle brings another.
        None if no name was seen.
        """
        return self._name

    @property
    def begin(self) -> DomainOperations[Domain]:
        """The verbs that take time, begun instead of waited for: ``web.begin.save(path)`` returns an `Operation`."""
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

    def info(self) -> DomainInfo:
        """Return what the domain looks like now, as its line of ``xl list``."""
        info = self._calls.ask(lambda: self._backend.domain_info(self._ref))
        self._name = info.name
        return info.attach(lambda _: self)

    def pause(self) -> None:
        """Stop its vCPUs until `unpause`, as ``xl pause``. Xen counts: one that was paused twice is unpaused twice."""
        self._calls.finish(self.begin.pause)

    def unpause(self) -> None:
        """Let its vCPUs run, as ``xl unpause``."""
        self._calls.finish(self.begin.unpause)

    def shutdown(self, *, wait: bool = True, fallback: bool = False, timeout: float | None = None) -> None:
        """Ask the guest to power off and wait until it has, as ``xl shutdown -w``.

        A domain with ``on_poweroff="destroy"``, which is the default, is gone afterwards; another one stays, shut down.

        Args:
            wait: False to return as soon as the guest has taken note of it, as ``xl shutdown``.
            fallback: Press the ACPI power button of an HVM guest without a PV driver, as ``xl shutdown -F``.
            timeout: Seconds after which to give up; the guest may still follow later. None waits for ever.

        Raises:
            InvalidState: The guest cannot answer: it is paused, has crashed, or has shut down.
            NoGuestDriver: The guest has no PV driver that could answer, as many HVM guests.
            OperationTimeout: The guest had not shut down in time.
        """
        self._calls.finish(lambda: self.begin.shutdown(wait=wait, fallback=fallback, timeout=timeout))

    def reboot(self, *, timeout: float | None = None) -> None:
        """Ask the guest to reboot, as ``xl reboot``; the supervisor of the domain then restarts it.

        Args:
            timeout: Seconds after which to give up if the guest does not take note. None waits for libxl's own minute.

        Raises:
            InvalidState, NoGuestDriver, OperationTimeout: As of `shutdown`.
        """
        self._calls.finish(lambda: self.begin.reboot(timeout=timeout))

    def destroy(self, *, timeout: float | None = None) -> None:
        """End the domain at once, as ``xl destroy``: like pulling the plug."""
        self._calls.finish(lambda: self.begin.destroy(timeout=timeout))

    def wait(self, *states: DomainState | DomainStateName, timeout: float | None = None) -> DomainInfo | None:
        """Wait until the domain is in one of these states; by default until it has shut down or crashed.

        Xen tells at once when a domain shuts down or goes. It does not tell when one is paused or unpaused: for other
        states than ``shutdown`` and ``crashed`` pyxen looks again, after 10 ms at first and at last every 200 ms.

        Args:
            states: `DomainState`, or their names.
            timeout: Seconds after which to give up. None waits for ever.

        Returns:
            What the domain looks like then; None if it is gone instead.

        Raises:
            OperationTimeout: It did not come to that in time.
        """
        info = self._calls.finish(lambda: self.begin.wait(*states, timeout=timeout))
        return None if info is None else info.attach(lambda _: self)

    def suspend(self, *, timeout: float | None = None) -> None:
        """Let the guest suspend itself and stay in memory, as ``xl suspend``; `resume` lets it go on.

        Args:
            timeout: Seconds after which to give up; the guest goes on then. None waits for libxl's own minute.

        Raises:
            InvalidState: The guest cannot answer: it is paused, has crashed, or has shut down.
            GuestTimeout: The guest does not know how to suspend, or does not want to.
        """
        self._calls.finish(lambda: self.begin.suspend(timeout=timeout))

    def resume(self) -> None:
        """Let a suspended guest go on, as ``xl resume``.

        Raises:
            InvalidState: It is not suspended.
        """
        self._calls.finish(self.begin.resume)

    def save(
        self,
        path: str | os.PathLike[str],
        *,
        checkpoint: bool = False,
        leave_paused: bool = False,
        timeout: float | None = None,
    ) -> None:
        """Save the domain to a file and end it, as ``xl save``; `Host.restore` or ``xl restore`` brings it back.

        The file is of xl's format. It appears at once and whole, in place of one that was there; a save that fails
        leaves none, and the guest goes on.

        Args:
            path: The file, on the host. Only its owner can read it: a guest's memory holds its secrets.
            checkpoint: Let the guest go on afterwards, as ``xl save -c``.
            leave_paused: Leave the domain paused afterwards, as ``xl save -p``.
            timeout: Seconds after which to give up. None waits as long as libxl does.

        Raises:
            InvalidState: The guest cannot answer: it is paused, has crashed, or has shut down.
            InvalidArgument: The file cannot be written.
            GuestTimeout: The guest does not know how to suspend, or does not want to.
            OperationFailed: Anything else, e.g. that the disk is full.
        """
        self._calls.finish(
            lambda: self.begin.save(path, checkpoint=checkpoint, leave_paused=leave_paused, timeout=timeout)
        )

    def migrate(self, destination: str | Sequence[str], *, paused: bool = False, timeout: float | None = None) -> None:
        """Move the domain to another host while it runs, as ``xl migrate``; there, xl or pyxen receives it.

        Its memory is sent while it goes on, and then, suspended for a moment, what it changed meanwhile. Both hosts
        need its disks and bridges under the same names. Whatever fails, or stops it, the domain goes on here under its
        own name, and nothing is left there.

        The one exception is a destination that is lost just when it had leave to start the domain: `MigrationInDoubt`.
        Once leave was given, Ctrl-C, a cancel or the timeout leave it 10 seconds for its answer.

        Args:
            destination: A host for ssh, as ``"root@host2"``, where ``xl migrate-receive`` is run; or a command, program
                and arguments, whose standard input and output lead to a receiver, as ``["ssh", "-p", "2222",
                "root@host2", "pyxen", "migrate-receive"]``. It cannot ask for a password.
            paused: Leave it paused there, as ``xl migrate -p``; for a host. A command says so itself, with ``-p``.
            timeout: Seconds after which to give up. None waits as long as the destination and libxl do.

        Raises:
            InvalidState: The guest cannot answer: it is paused, has crashed, or has shut down.
            InvalidArgument: The command cannot be run, or the destination is not valid.
            UnsupportedFeature: It is a PV guest, and this Xen was built without shadow paging.
            MigrationFailed: The destination failed, or was lost; why, as far as it says, is in the message.
            MigrationInDoubt: Nobody knows whether it runs there; here it stays suspended, as ``NAME--migratedaway``.
            GuestTimeout: The guest does not know how to suspend, or does not want to.
            OperationTimeout: It took longer than the timeout.
            OperationFailed: libxl fails for another reason; its log lines are in the error.
        """
        self._calls.finish(lambda: self.begin.migrate(destination, paused=paused, timeout=timeout))

    def migrate_over(self, read_fd: int, write_fd: int, *, timeout: float | None = None) -> None:
        """Move the domain over two descriptors at whose other end xl or pyxen receives it; see `migrate`.

        The descriptors may be pipes or sockets, also one socket for both. They are duplicated: close yours afterwards,
        so that the other end hears of the end. Nothing is encrypted.

        Args:
            read_fd: Where the receiver's answers come.
            write_fd: Where the domain goes.
            timeout: Seconds after which to give up. None waits as long as the destination and libxl do.

        Raises:
            InvalidArgument: A descriptor is not valid. Other errors are those of `migrate`.
        """
        self._calls.finish(lambda: self.begin.migrate_over(read_fd, write_fd, timeout=timeout))

    def remus(
        self,
        destination: str | Sequence[str] | None,
        options: RemusOptions | None = None,
        *,
        timeout: float | None = None,
    ) -> None:
        """Keep a copy of the domain on another host, which takes over if this one is lost; as ``xl remus``.

        At each checkpoint the domain stops for a moment, and its changes are sent. The copy stays paused, as
        ``NAME--incoming``, and runs when its host no longer hears from this one. This call returns only when the domain
        is destroyed here. If it fails, is cancelled or late, the domain goes on here, and the backup is called off and
        removed; where the backup does not confirm that, `BackupLost` is raised. COLO (``-c``) is not offered, nor is
        ``-u``, since libxl does not compress.

        Args:
            destination: A host for ssh, as ``"root@host2"``, where ``xl migrate-receive -r`` is run; or a command, as
                of `migrate`, that leads to a receiver: ``["ssh", "host2", "pyxen", "migrate-receive", "--remus"]``.
                None discards the copy, as ``-b``, to measure the cost; that is unsafe.
            options: How to do it; default as of `RemusOptions`.
            timeout: Seconds after which to end it.

        Raises:
            InvalidArgument: The command cannot be run; or the destination is not valid, or None without `allow_unsafe`.
            UnsupportedFeature: A PV guest, and a Xen without shadow paging; or a libxl without network buffering.
            MigrationFailed: The destination failed, or was lost, before the first checkpoint was there.
            BackupLost: It was lost later, or could not be called off: the domain may run there too.
            DomainNotFound: The domain was destroyed before the first checkpoint was there.
            OperationFailed: libxl fails for another reason, e.g. a disk that is not a DRBD device.
        """
        self._calls.finish(lambda: self.begin.remus(destination, options, timeout=timeout))

    def remus_over(
        self, read_fd: int, write_fd: int, options: RemusOptions | None = None, *, timeout: float | None = None
    ) -> None:
        """Keep a copy of the domain at the other end of two descriptors, which are as of `migrate_over`; see `remus`.

        Raises:
            InvalidArgument: A descriptor is not valid. Other errors are those of `remus`.
        """
        self._calls.finish(lambda: self.begin.remus_over(read_fd, write_fd, options, timeout=timeout))

    def core_dump(self, path: str | os.PathLike[str], *, timeout: float | None = None) -> None:
        """Write the domain's memory to a file, as ``xl dump-core``: an ELF core that ``crash`` reads.

        The file appears at once and complete, as with `save`. libxl writes it in one call that cannot be stopped, and
        that keeps one worker busy: with a single worker, creates and destroys wait for it.

        Args:
            path: The file, on the host. Only its owner can read it.
            timeout: Give up if it has not started within this many seconds.

        Raises:
            InvalidArgument: The file cannot be written.
            OperationFailed: libxl cannot dump it, e.g. a PV guest that has not told Xen where its memory is.
        """
        self._calls.finish(lambda: self.begin.core_dump(path, timeout=timeout))

    def soft_reset(self, *, timeout: float | None = None) -> None:
        """Start a guest anew, in the memory that it has, after it has shut down: its devices are made anew.

        A Linux that crashes asks for it, by `ShutdownReason.SOFT_RESET`, to look at its own memory. This is what
        ``on_soft_reset="soft_reset"`` stands for. Once begun, nothing stops it: libxl would destroy the domain. A disk
        that the guest had no PV driver for takes libxl ten seconds.

        Args:
            timeout: Give up if it has not started within this many seconds.

        Raises:
            InvalidState: It has not shut down.
            UnsupportedFeature: It is not an HVM guest; or there is no worker process, see `pyxen.connect`.
            OperationFailed: libxl fails, and destroys it; its own lines are in the error.
        """
        self._calls.finish(lambda: self.begin.soft_reset(timeout=timeout))

    def config(self, *, defaults: bool = False) -> DomainConfig:
        """Return the configuration of the domain as it is now, devices attached since it began included.

        As ``xl list -l``: what libxl keeps of it, for domains made by pyxen, xl or libvirt. Another domain can be made
        of it: it has everything but the domid.

        Args:
            defaults: Also return the settings that only say what libxl chooses by itself. By default they are left
                out, so that the configuration is what was asked for.

        Raises:
            NotFound: libxl has no configuration of it: another toolstack made it.
        """
        return self._calls.finish(lambda: self.begin.config(defaults=defaults))

    def rename(self, name: str) -> None:
        """Give the domain another name, as ``xl rename``.

        Raises:
            DomainExists: Another domain has that name.
            ValidationError: No domain can have that name.
        """
        self._calls.finish(lambda: self.begin.rename(name))
        self._name = name

    def preserve(self, suffix: str) -> Domain:
        """Set aside a domain that has ended, for inspection, so that another can be created in its place.

        It keeps its domid, memory and devices, and gets another name and a new uuid, so that another domain can have
        the old ones. ``on_crash="restart_rename"`` keeps a domain this way. This handle is no longer valid afterwards.

        Args:
            suffix: What comes after its name; xl's are like ``-20250131T0730Z``.

        Returns:
            The domain under its new uuid.

        Raises:
            InvalidState: It has not shut down or crashed.
            DomainExists: Another domain has the name that it would get.
            ValidationError: No domain can have that name.
        """
        return self._calls.finish(lambda: self.begin.preserve(suffix))

    def send_trigger(self, trigger: Trigger | TriggerName, *, vcpu: int = 0) -> None:
        """Press a button, or interrupt a vCPU, as ``xl trigger``; for HVM guests, the NMI for PVH and PV ones too.

        Args:
            trigger: `Trigger`, or its name: ``power``, ``sleep``, ``nmi``, ``init``, ``reset``, ``s3resume``.
            vcpu: The vCPU that ``nmi`` and ``init`` are for.
        """
        self._calls.finish(lambda: self.begin.send_trigger(trigger, vcpu=vcpu))

    def send_sysrq(self, key: str) -> None:
        """Press a key of Linux's magic SysRq, as ``xl sysrq``: ``"s"`` writes all to disk, ``"c"`` crashes.

        Raises:
            InvalidArgument: It is not one letter.
        """
        self._calls.finish(lambda: self.begin.send_sysrq(key))

    def attach(self, device: D, *, timeout: float | None = None) -> D:
        """Give the running domain a device, as ``xl block-attach``, ``network-attach``, ``pci-attach`` and their like.

        libxl makes the device and does not wait until the guest uses it. An HVM guest sees it with its PV drivers only:
        emulated devices come with their domain.

        Args:
            device: A `Disk`, `Vif`, `Pci`, `UsbCtrl`, `UsbDev`, `Vtpm`, `Vkb`, `Vdispl`, `Vsnd`, `Vfb`, or from Xen
                4.20 on a `P9`.
            timeout: Seconds after which to give up and undo it. None waits as long as libxl does.

        Returns:
            The device as libxl made it, e.g. with the MAC address that it chose: `detach` takes it.

        Raises:
            DeviceExists: The domain has a device of that vdev, MAC, address or devid.
            FileMissing: The file of a disk is not on the host.
            NotFound: The bridge of a vif, or a USB device, is not on the host; or a PCI device is not assignable.
            UnsupportedFeature: Such a device comes and goes with its domain.
            ValidationError: Its settings do not go together.
            OperationTimeout: It took longer than the timeout.
            OperationFailed: libxl fails for another reason; its log lines are in the error.
        """
        return self._calls.finish(
            lambda: self.begin.attach(device, timeout=timeout),
            undo=lambda made: self.begin.detach(made, force=True).wait(),
        )

    def detach(self, device: Part | str, *, force: bool = False, timeout: float | None = None) -> None:
        """Take a device from the running domain, as ``xl block-detach``, ``network-detach`` and their like.

        The guest is asked to let go of it, and has ten seconds. After that a disk stays, with an error; other devices
        libxl then takes away all the same.

        Args:
            device: The vdev of a disk, the MAC address of a vif, the address of a PCI device; or a device, of which
                only what names it counts: ``Vif(devid=0)``, ``Vtpm(uuid=...)``, or what `attach` returned.
            force: Take it away at once, as ``xl block-detach --force``: like pulling the cable. What the guest has
                not written is lost.
            timeout: Seconds after which to give up; the guest may still let go later.

        Raises:
            NotFound: The domain has no such device; the message says which it has.
            InvalidArgument: That names no device.
            GuestTimeout: The guest did not let go of it: it has no driver, or uses the device. It may do so later.
            UnsupportedFeature: Such a device comes and goes with its domain.
            OperationTimeout: The guest had not let go of it in time.
        """
        self._calls.finish(lambda: self.begin.detach(device, force=force, timeout=timeout))

    def insert_cdrom(self, vdev: str, target: str | os.PathLike[str], *, timeout: float | None = None) -> None:
        """Put a disc into a CD-ROM drive, in place of what is there, as ``xl cd-insert``; HVM guests.

        Args:
            vdev: The drive, e.g. ``hdc``. It came with the domain.
            target: An ISO image, or a block device, on the host.
            timeout: Seconds after which to give up; the drive may be left empty. None waits for libxl's own limits.

        Raises:
            NotFound: The domain has no such drive; the message says which it has.
            FileMissing: The image is not on the host.
            UnsupportedFeature: It is not an HVM guest.
            OperationTimeout: It took longer than the timeout.
        """
        self._calls.finish(lambda: self.begin.insert_cdrom(vdev, target, timeout=timeout))

    def eject_cdrom(self, vdev: str, *, timeout: float | None = None) -> None:
        """Take the disc out of a CD-ROM drive, as ``xl cd-eject``; HVM guests. An empty drive stays empty.

        Args:
            vdev: The drive, e.g. ``hdc``.
            timeout: Seconds after which to give up. None waits for libxl's own limits.

        Raises:
            OperationFailed: As of `insert_cdrom`.
        """
        self._calls.finish(lambda: self.begin.eject_cdrom(vdev, timeout=timeout))

    def set_memory(self, memory: float) -> None:
        """Tell the guest how much memory to have, and let it have no more, as ``xl mem-set``.

        It returns when the guest is told. Whether and how fast the guest follows is up to its balloon driver; `info`
        tells how much memory it has.

        Args:
            memory: MiB, as `DomainConfig.memory`; up to ``maxmem``.

        Raises:
            InvalidArgument: It is more than ``maxmem``, or nothing at all.
            NotEnoughMemory: The host has not enough free memory.
            ValidationError: It is no amount of memory.
        """
        self._calls.finish(lambda: self.begin.set_memory(memory))

    def set_maxmem(self, maxmem: float) -> None:
        """Set how much memory the domain can be given by `set_memory`, as ``xl mem-max``.

        Args:
            maxmem: MiB, as `DomainConfig.maxmem`. A guest may not be able to use more than it began with.

        Raises:
            InvalidArgument: It is less than the guest was told to have.
            ValidationError: It is no amount of memory.
        """
        self._calls.finish(lambda: self.begin.set_maxmem(maxmem))

    def set_vcpus(self, vcpus: int) -> None:
        """Tell the guest how many vCPUs to use, as ``xl vcpu-set``.

        It returns when the guest is told; `info` says how many it uses. Unlike xl, pyxen allows more vCPUs than the
        host has CPUs.

        Args:
            vcpus: 1 to ``maxvcpus``.

        Raises:
            InvalidArgument: It is out of range.
        """
        self._calls.finish(lambda: self.begin.set_vcpus(vcpus))

    def pin_vcpu(
        self, vcpu: int | Literal["all"], cpus: AnyCpus | None = None, *, cpus_soft: AnyCpus | None = None
    ) -> None:
        """Set the CPUs on which a vCPU may run, and those that it prefers, as ``xl vcpu-pin``.

        Args:
            vcpu: Its number, or ``"all"``.
            cpus: Where it may run: a `CpuSet`, or what makes one: ``"0-3,^1"``, ``"nodes:0"``, ``"all"``, ``[2, 3]``.
                None leaves it as it is.
            cpus_soft: The CPUs that it prefers. None leaves them as they are.

        Raises:
            InvalidArgument: There is no such vCPU or CPU, or nothing is said.
            ValueError: It is no set of CPUs.
        """
        self._calls.finish(lambda: self.begin.pin_vcpu(vcpu, cpus, cpus_soft=cpus_soft))

    def set_scheduler(self, scheduler: Scheduler) -> None:
        """Set the domain's share of the CPUs, as ``xl sched-credit2 -w`` and its like; `config` has it afterwards.

        Args:
            scheduler: ``Scheduler(weight=512, cap=50)``; what is not said stays as it is.

        Raises:
            InvalidArgument: A value is out of range.
            UnsupportedFeature: The scheduler of the domain's CPU pool has no such parameter.
        """
        self._calls.finish(lambda: self.begin.set_scheduler(scheduler))

    def monitor_command(self, command: str, *, timeout: float | None = None) -> str:
        """Give the domain's QEMU a command of its human monitor, as ``xl qemu-monitor-command``; return its answer.

        Args:
            command: As ``info block``. What it changes, libxl does not know.
            timeout: Seconds after which to give up.

        Raises:
            UnsupportedFeature: The domain has no QEMU.
            InvalidArgument: The command is empty.
            QmpError: QEMU refuses.
            OperationTimeout: It took longer than the timeout.
        """
        return self._calls.finish(lambda: self.begin.monitor_command(command, timeout=timeout))

    def userdata(self, key: str) -> bytes | None:
        """Return a note that someone keeps with the domain, see `set_userdata`; None if there is none under that key.

        libxl's own, ``libxl-json``, and xl's, ``xl``, can be read too.

        Raises:
            InvalidArgument: No note can have that key.
        """
        return self._calls.finish(lambda: self.begin.userdata(key))

    def set_userdata(self, key: str, data: bytes | None) -> None:
        """Keep a note with the domain, in place of the one under that key; it goes when the domain goes.

        libxl keeps it on the host's disk; all programs can read it by its key. It neither migrates nor is it saved.

        Args:
            key: Letters, digits, dots, dashes and underscores; begin it with the name of your program.
            data: The note; None removes it.

        Raises:
            InvalidArgument: No note can have that key, or it is one of libxl's or xl's own.
        """
        self._calls.finish(lambda: self.begin.set_userdata(key, data))

    def stats(self) -> DomainStats:
        """Return what the domain has used so far: CPU time, and what its disks and vifs carried, as ``xl top``.

        Counters of disks and vifs are the kernel's in dom0: devices that QEMU or another domain serves have none.
        """
        return self._calls.ask(lambda: self._backend.stats(self._ref))

    def console(self) -> FileIO:
        """Open the guest's console, as ``xl console``: a raw file, unbuffered, for reading and writing; close it.

        What two readers read at once, each has a part of. Reading returns what has come, at least a byte; where a loop
        runs, ``loop.add_reader(console, ...)`` tells when there is something.

        Raises:
            NotFound: The domain has no console yet, or none at all.
        """
        return self._calls.acquire(lambda: FileIO(self._backend.console(self._ref), "r+"), give_back=FileIO.close)

    def add_console(self, *, port: int | None = None, gfn: int | None = None, backend_domid: int = 0) -> None:
        """Let xenconsoled know of the guest's console, so that `console` and ``xl console`` open it.

        This is for a domain that Xen itself made when the host started (dom0less), once init-dom0less has made it known
        to xenstore. Domains that libxl makes have a console. Which terminal it is xenconsoled says a moment later.

        Args:
            port: The guest's end of the event channel. By default what Xen keeps for the guest, which for PV guests it
                does not.
            gfn: Frame number of the page with the console's ring. By default what Xen keeps.
            backend_domid: The domain whose xenconsoled serves the console.

        Raises:
            DeviceExists: The domain has a console already.
            DomainNotFound: There is no domain `backend_domid`.
            InvalidArgument: Xen keeps no numbers for this guest, or those given are not valid.
            UnsupportedFeature: libxl of Xen 4.17 cannot do this.
        """
        self._calls.finish(lambda: self.begin.add_console(port=port, gfn=gfn, backend_domid=backend_domid))
