"""A domain on a host: a handle with xl's verbs."""

from __future__ import annotations

import os
from uuid import UUID

from pyxen.backends.base import Backend, DomainRef
from pyxen.config import DomainConfig
from pyxen.info import ENDS, DomainInfo, DomainState, Trigger

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
        self._backend.shutdown(self._ref, wait=wait, fallback=fallback, timeout=timeout).wait()

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

    def wait(self, *states: DomainState | str, timeout: float | None = None) -> DomainInfo | None:
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
        wanted = frozenset(map(DomainState, states)) or ENDS
        return self._backend.wait(self._ref, wanted, timeout=timeout).wait()

    def suspend(self, *, timeout: float | None = None) -> None:
        """Let the guest suspend itself and stay in memory, as ``xl suspend``; `resume` lets it go on.

        Args:
            timeout: Seconds after which to give up; the guest goes on then. None waits for libxl's own minute.

        Raises:
            InvalidState: The guest cannot answer: it is paused, has crashed, or has shut down.
            GuestTimeout: The guest does not know how to suspend, or does not want to.
        """
        self._backend.suspend(self._ref, timeout=timeout).wait()

    def resume(self) -> None:
        """Let a suspended guest go on, as ``xl resume``.

        Raises:
            InvalidState: It is not suspended.
        """
        self._backend.resume(self._ref).wait()

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
        self._backend.save(
            self._ref, os.fspath(path), checkpoint=checkpoint, leave_paused=leave_paused, timeout=timeout
        ).wait()

    def core_dump(self, path: str | os.PathLike[str], *, timeout: float | None = None) -> None:
        """Write the domain's memory to a file, as ``xl dump-core``: an ELF core that ``crash`` reads.

        The file appears at once and whole, as with `save`. libxl does all of it in one call, which nothing can stop,
        and in which the other operations on this host wait.

        Args:
            path: The file, on the host. Only its owner can read it.
            timeout: Seconds after which not to begin any more.

        Raises:
            InvalidArgument: The file cannot be written.
            OperationFailed: libxl cannot dump it, e.g. a PV guest that has not told Xen where its memory is.
        """
        self._backend.core_dump(self._ref, os.fspath(path), timeout=timeout).wait()

    def config(self) -> DomainConfig:
        """Return the configuration of the domain as it is now, devices attached since it began included.

        As ``xl list -l``: what libxl keeps of it, for domains made by pyxen, xl or libvirt.

        Raises:
            NotFound: libxl keeps none of it: another toolstack made it.
        """
        return self._backend.config(self._ref).wait()

    def rename(self, name: str) -> None:
        """Give the domain another name, as ``xl rename``.

        Raises:
            DomainExists: Another domain has that name.
            ValidationError: No domain can have that name.
        """
        self._backend.rename(self._ref, name).wait()

    def preserve(self, suffix: str) -> Domain:
        """Set aside a domain that has ended, for inspection, so that another can be created in its place.

        It keeps its domid, its memory and its devices, and gets another name and a new uuid; another domain can then
        have the old ones. This is how ``on_crash="restart_rename"`` keeps a domain. This handle is of no use after it.

        Args:
            suffix: What comes after its name; xl's are like ``-20250131T0730Z``.

        Returns:
            The domain under its new uuid.

        Raises:
            InvalidState: It has not shut down or crashed.
            DomainExists: Another domain has the name that it would get.
            ValidationError: No domain can have that name.
        """
        return Domain(self._backend, self._backend.preserve(self._ref, suffix).wait())

    def send_trigger(self, trigger: Trigger | str, *, vcpu: int = 0) -> None:
        """Press a button, or interrupt a vCPU, as ``xl trigger``; for HVM guests, the NMI for PVH and PV ones too.

        Args:
            trigger: `Trigger`, or its name: ``power``, ``sleep``, ``nmi``, ``init``, ``reset``, ``s3resume``.
            vcpu: The vCPU that ``nmi`` and ``init`` are for.
        """
        self._backend.send_trigger(self._ref, Trigger(trigger), vcpu=vcpu).wait()

    def send_sysrq(self, key: str) -> None:
        """Press a key of Linux's magic SysRq, as ``xl sysrq``: ``"s"`` writes all to disk, ``"c"`` crashes.

        Raises:
            InvalidArgument: It is not one letter.
        """
        self._backend.send_sysrq(self._ref, key).wait()
