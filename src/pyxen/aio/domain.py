"""A domain on a host, for asyncio: a handle with xl's verbs, awaited.

Generated from `pyxen.domain` by ``python -m tools.aio_face``: do not edit.
"""

from __future__ import annotations

import os
from collections.abc import Sequence

from pyxen._common.arguments import AnyFile
from pyxen.aio._domain_devices import DomainDevices
from pyxen.aio._domain_resources import DomainResources
from pyxen.config import DomainConfig
from pyxen.records.info import AwaitedStateName, DomainInfo, DomainState, DomainUptime, Trigger, TriggerName
from pyxen.remus import RemusOptions

__all__ = ["Domain"]


class Domain(DomainDevices, DomainResources):
    """A domain on a host, as `Host.create` and `Host.domains` give it: `pyxen.Domain`, awaited.

    A handle is the domain's domid and uuid, so that it never means another domain that got the domid later: methods
    raise `DomainNotFound` once the domain is gone. Attributes are local; only methods talk to the host.
    """

    __slots__ = ()

    async def info(self) -> DomainInfo[Domain]:
        """Return the current state of the domain, as its line in ``xl list``."""
        info = await self._calls.ask(lambda: self._backend.domain_info(self._ref))
        self._name = info.name
        return info.attach(lambda _: self)

    async def uptime(self) -> DomainUptime[Domain]:
        """Return how long the domain has existed, as ``xl uptime``; a restore or a migration makes a new domain.

        Raises:
            UnsupportedFeature: This backend does not know when domains were created.
        """
        uptime = await self._calls.ask(lambda: self._backend.uptime(self._ref))
        return uptime.attach(lambda _: self)

    async def pause(self) -> None:
        """Stop the vCPUs until `unpause`, as ``xl pause``. Xen counts: a domain paused twice must be unpaused twice."""
        await self._calls.finish(self.begin.pause)

    async def unpause(self) -> None:
        """Let the vCPUs run again, as ``xl unpause``. A domain that was paused twice must be unpaused twice.

        Raises:
            InvalidState: The domain is not paused. libvirt takes that for success.
        """
        await self._calls.finish(self.begin.unpause)

    async def shutdown(self, *, wait: bool = True, fallback: bool = False, timeout: float | None = None) -> None:
        """Ask the guest to power off and wait until it has, as ``xl shutdown -w``.

        With ``on_poweroff="destroy"``, the default, the domain is gone afterwards. Otherwise it stays, shut down. A
        guest that is suspended meanwhile, as by a checkpoint, has not ended, and is still waited for. One that ends in
        another way, e.g. crashes, is an error: its domain is destroyed if the setting for that, e.g. ``on_crash``, says
        ``destroy``, and is otherwise left as it is, for a supervisor or for you. Through libvirt, that is seen only if
        its daemon has not removed or restarted the domain yet. Whoever else destroys the domain, or saves or moves it,
        ends the wait, too.

        Args:
            wait: False returns as soon as the guest has acknowledged the request, as ``xl shutdown``.
            fallback: Press the ACPI power button of an HVM guest without a PV driver, as ``xl shutdown -F``.
            timeout: Seconds after which to give up; the guest may still shut down later. None waits forever.

        Raises:
            InvalidState: The guest cannot answer: it is paused, has crashed, or has shut down.
            NoGuestDriver: The guest has no PV driver that could answer; this is the case for many HVM guests.
            OperationTimeout: The guest did not shut down in time.
            OperationFailed: The guest has ended in another way; or its domain could not be destroyed.
        """
        await self._calls.finish(lambda: self.begin.shutdown(wait=wait, fallback=fallback, timeout=timeout))

    async def reboot(self, *, wait: bool = False, fallback: bool = False, timeout: float | None = None) -> None:
        """Ask the guest to reboot, as ``xl reboot``. The domain's supervisor then restarts it, as a new domain.

        Args:
            wait: Wait until the guest has shut down, as ``xl reboot -w``; `info` says how. A suspended guest has not.
                `Vm.wait_start` waits for the new domain.
            fallback: Reset an HVM guest without a PV driver, as ``xl reboot -F``. Xen refuses that on x86.
            timeout: Seconds after which to give up. None waits forever; without `wait` it is libxl's limit, 60 s.

        Raises:
            InvalidState, NoGuestDriver, OperationTimeout: As for `shutdown`.
        """
        await self._calls.finish(lambda: self.begin.reboot(wait=wait, fallback=fallback, timeout=timeout))

    async def destroy(self, *, timeout: float | None = None) -> None:
        """End the domain immediately, as ``xl destroy``: like pulling the plug."""
        await self._calls.finish(lambda: self.begin.destroy(timeout=timeout))

    async def wait(
        self, *states: DomainState | AwaitedStateName, timeout: float | None = None
    ) -> DomainInfo[Domain] | None:
        """Wait until the domain reaches one of these states; by default, until it has shut down or crashed.

        Xen reports at once when a domain shuts down or disappears. It does not report a pause or unpause, so for states
        other than ``shutdown`` and ``crashed`` pyxen polls: after 10 ms at first, and in the end every 200 ms.

        Args:
            states: `DomainState` members, or their names; or ``unpaused``, which is every state in which the domain is
                not paused: an idle guest is ``blocked``, and one that has run may have ended already.
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
            InvalidState: The guest cannot answer: it is paused, has crashed, or has shut down. Or another operation of
                this process suspends it: a suspend, save, migration or replication.
            GuestTimeout: The guest cannot suspend, or refuses to.
        """
        await self._calls.finish(lambda: self.begin.suspend(timeout=timeout))

    async def resume(self) -> None:
        """Continue a suspended guest, as ``xl resume``.

        Raises:
            InvalidState: The domain is not suspended; or an operation of this process saves, moves or replicates it,
                and ends or resumes it itself.
        """
        await self._calls.finish(self.begin.resume)

    async def save(
        self,
        path: AnyFile,
        *,
        config: DomainConfig | None = None,
        checkpoint: bool = False,
        leave_paused: bool = False,
        timeout: float | None = None,
    ) -> None:
        """Save the domain to a file and end it, as ``xl save``; `Host.restore` or ``xl restore`` brings it back.

        The file is in xl's format. It appears complete, in a single step, and replaces an existing file. If the save
        fails, no new file is left behind and the guest continues. If only what follows fails, the destroy of the saved
        domain or its resume, the file is complete, and the error says so.

        Args:
            path: The file, on the host. Only its owner can read it, since a guest's memory holds secrets. Or what is
                already open: a descriptor, or an object with one, such as a file, a pipe or a socket. It is written
                from where it is, and stays open. If the save fails, what was written so far is in it.
            config: Goes into the file in place of the domain's own configuration, as ``xl save web1 FILE web1.cfg``. If
                it has no uuid, it keeps the domain's. What it says of memory and vCPUs must fit the guest. With
                ``domain.config().replace(domid=domain.domid)`` it asks for the same domid, as ``xl save -D``.
            checkpoint: Let the guest continue afterwards, as ``xl save -c``.
            leave_paused: Leave the domain paused afterwards, as ``xl save -p``.
            timeout: Seconds after which to give up. None waits as long as libxl does.

        Raises:
            InvalidState: The guest cannot answer, or another operation of this process suspends it; see `suspend`.
            InvalidArgument: The file cannot be written.
            GuestTimeout: The guest cannot suspend, or refuses to.
            UnsupportedFeature: This backend cannot save with another configuration, or to a descriptor.
            ValidationError: Settings of `config` contradict each other.
            OperationFailed: Anything else, e.g. the disk is full.
        """
        await self._calls.finish(
            lambda: self.begin.save(
                path, config=config, checkpoint=checkpoint, leave_paused=leave_paused, timeout=timeout
            )
        )

    async def migrate(
        self,
        destination: str | Sequence[str],
        *,
        config: DomainConfig | None = None,
        paused: bool = False,
        timeout: float | None = None,
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
            config: Its configuration there, as ``xl migrate -C web1.cfg``; see `save`.
            paused: Leave it paused there, as ``xl migrate -p``. For a host only; give a command its own ``-p``.
            timeout: Seconds after which to give up. None waits as long as the destination and libxl do.

        Raises:
            InvalidState: The guest cannot answer, or another operation of this process suspends it; see `suspend`.
            InvalidArgument: The command cannot be run, or the destination is not valid.
            UnsupportedFeature: The domain is a PV guest, and this Xen was built without shadow paging.
            MigrationFailed: The destination failed, or was lost. The message has the reason, if it gave one.
            MigrationInDoubt: It may or may not run there; it stays suspended here, as ``NAME--migratedaway``.
            GuestTimeout: The guest cannot suspend, or refuses to.
            OperationTimeout: The timeout expired.
            OperationFailed: libxl fails for another reason; its log lines are in the error.
        """
        await self._calls.finish(lambda: self.begin.migrate(destination, config=config, paused=paused, timeout=timeout))

    async def migrate_over(
        self, read_fd: int, write_fd: int, *, config: DomainConfig | None = None, timeout: float | None = None
    ) -> None:
        """Move the domain over two descriptors, with xl or pyxen as the receiver at the other end; see `migrate`.

        The descriptors may be pipes or sockets; one socket may serve as both. They are duplicated: close yours
        afterwards, so that the other end sees the end of the stream. Nothing is encrypted.

        Args:
            read_fd: Descriptor from which the receiver's answers are read.
            write_fd: Descriptor to which the domain is written.
            config: Its configuration there, as for `migrate`.
            timeout: Seconds after which to give up. None waits as long as the destination and libxl do.

        Raises:
            InvalidArgument: A descriptor is not valid. Other errors are those of `migrate`.
        """
        await self._calls.finish(lambda: self.begin.migrate_over(read_fd, write_fd, config=config, timeout=timeout))

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
        called off and removed; if the backup does not confirm that, `BackupLost` is raised. COLO (``-c``, a proof
        of concept of xl) is not supported. Neither is ``-u``, since libxl does not compress.

        Args:
            destination: A host for ssh, e.g. ``"root@host2"``, on which ``xl migrate-receive -r`` is run; or a command,
                as for `migrate`: ``["ssh", "host2", "pyxen", "migrate-receive", "--remus"]``.
                None discards the copy, as ``-b``, to measure the cost; that is unsafe.
            options: How to replicate; the default is ``RemusOptions()``.
            timeout: Seconds after which to end the replication.

        Raises:
            InvalidArgument: The command cannot be run; or the destination is invalid, or None without `allow_unsafe`.
            InvalidState: The guest cannot answer, or another operation of this process suspends it; see `suspend`.
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

    async def update_config(self, config: DomainConfig | None) -> None:
        """Set the configuration from which the domain is started again when it reboots, as ``xl config-update``.

        The running domain does not change: `Host.apply` changes it, and with ``persistent=True`` does this, too. xl,
        and `pyxen.Supervisor`, use it for the next restart, once.

        Args:
            config: The configuration; None forgets one that was set.

        Raises:
            LossyConversion: It has settings that xl's format cannot say, in which it is kept.
            ValidationError: Settings contradict each other.
            UnsupportedFeature: This backend stores configurations itself: use `Host.define`.
        """
        await self._calls.finish(lambda: self.begin.update_config(config))

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

        Raises:
            InvalidState: The domain is dom0.
        """
        await self._calls.finish(lambda: self.begin.send_trigger(trigger, vcpu=vcpu))

    async def send_sysrq(self, key: str) -> None:
        """Send a Linux magic SysRq key, as ``xl sysrq``: ``"s"`` syncs the disks, ``"c"`` crashes.

        Raises:
            InvalidArgument: The key is not a single letter.
            InvalidState: The domain is dom0, which would obey too: write to its ``/proc/sysrq-trigger`` instead.
        """
        await self._calls.finish(lambda: self.begin.send_sysrq(key))

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
