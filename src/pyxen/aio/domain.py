"""A domain on a host, for asyncio: a handle with xl's verbs, awaited."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Literal, TypeVar
from uuid import UUID

from pyxen import domain as blocking
from pyxen.aio.calls import Calls
from pyxen.aio.docstrings import documented_as
from pyxen.backends.base import Backend, DomainRef
from pyxen.config import DomainConfig, Part, Scheduler
from pyxen.domain import AnyCpus, as_cpus, migration_command
from pyxen.info import ENDS, DomainInfo, DomainState, Trigger
from pyxen.operation import Operation

__all__ = ["Domain"]

T = TypeVar("T")
D = TypeVar("D", bound=Part)


@documented_as(blocking.Domain)
class Domain:
    """A domain on a host, as `Host.create` and `Host.domains` give it: `pyxen.Domain`, awaited; users do not make one.

    A handle is the domain's domid and uuid, so that it never means another domain that got the domid later: every
    method raises `DomainNotFound` once the domain is gone. Attributes are local; only methods talk to the host.
    """

    __slots__ = ("_backend", "_blocking", "_calls", "_ref")

    def __init__(self, backend: Backend, calls: Calls, ref: DomainRef) -> None:
        self._backend = backend
        self._calls = calls
        self._ref = ref
        self._blocking = blocking.Domain(backend, ref)

    @property
    def domid(self) -> int:
        return self._ref.domid

    @property
    def uuid(self) -> UUID:
        return self._ref.uuid

    def __repr__(self) -> str:
        return repr(self._blocking)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Domain):
            return NotImplemented
        return self._blocking == other._blocking

    def __hash__(self) -> int:
        return hash(self._blocking)

    async def info(self) -> DomainInfo:
        return await self._calls.ask(self._blocking.info)

    async def pause(self) -> None:
        await self._finish(lambda: self._backend.pause(self._ref))

    async def unpause(self) -> None:
        await self._finish(lambda: self._backend.unpause(self._ref))

    async def shutdown(self, *, wait: bool = True, fallback: bool = False, timeout: float | None = None) -> None:
        await self._finish(lambda: self._backend.shutdown(self._ref, wait=wait, fallback=fallback, timeout=timeout))

    async def reboot(self, *, timeout: float | None = None) -> None:
        await self._finish(lambda: self._backend.reboot(self._ref, timeout=timeout))

    async def destroy(self, *, timeout: float | None = None) -> None:
        await self._finish(lambda: self._backend.destroy(self._ref, timeout=timeout))

    async def wait(self, *states: DomainState | str, timeout: float | None = None) -> DomainInfo | None:
        wanted = frozenset(map(DomainState, states)) or ENDS
        return await self._finish(lambda: self._backend.wait(self._ref, wanted, timeout=timeout))

    async def suspend(self, *, timeout: float | None = None) -> None:
        await self._finish(lambda: self._backend.suspend(self._ref, timeout=timeout))

    async def resume(self) -> None:
        await self._finish(lambda: self._backend.resume(self._ref))

    async def save(
        self,
        path: str | os.PathLike[str],
        *,
        checkpoint: bool = False,
        leave_paused: bool = False,
        timeout: float | None = None,
    ) -> None:
        def begin() -> Operation[None]:
            return self._backend.save(
                self._ref, os.fspath(path), checkpoint=checkpoint, leave_paused=leave_paused, timeout=timeout
            )

        await self._finish(begin)

    async def migrate(
        self, destination: str | Sequence[str], *, paused: bool = False, timeout: float | None = None
    ) -> None:
        command = migration_command(destination, paused=paused)
        await self._finish(lambda: self._backend.migrate(self._ref, command, timeout=timeout))

    async def migrate_over(self, read_fd: int, write_fd: int, *, timeout: float | None = None) -> None:
        await self._finish(lambda: self._backend.migrate_over(self._ref, read_fd, write_fd, timeout=timeout))

    async def core_dump(self, path: str | os.PathLike[str], *, timeout: float | None = None) -> None:
        await self._finish(lambda: self._backend.core_dump(self._ref, os.fspath(path), timeout=timeout))

    async def config(self) -> DomainConfig:
        return await self._finish(lambda: self._backend.config(self._ref))

    async def rename(self, name: str) -> None:
        await self._finish(lambda: self._backend.rename(self._ref, name))

    async def preserve(self, suffix: str) -> Domain:
        ref = await self._finish(lambda: self._backend.preserve(self._ref, suffix))
        return Domain(self._backend, self._calls, ref)

    async def send_trigger(self, trigger: Trigger | str, *, vcpu: int = 0) -> None:
        await self._finish(lambda: self._backend.send_trigger(self._ref, Trigger(trigger), vcpu=vcpu))

    async def send_sysrq(self, key: str) -> None:
        await self._finish(lambda: self._backend.send_sysrq(self._ref, key))

    async def attach(self, device: D, *, timeout: float | None = None) -> D:
        def begin() -> Operation[D]:
            return self._backend.attach(self._ref, device, timeout=timeout)

        return await self._calls.finish(begin, undo=lambda attached: self._blocking.detach(attached, force=True))

    async def detach(self, device: Part | str, *, force: bool = False, timeout: float | None = None) -> None:
        await self._finish(lambda: self._backend.detach(self._ref, device, force=force, timeout=timeout))

    async def insert_cdrom(self, vdev: str, target: str | os.PathLike[str], *, timeout: float | None = None) -> None:
        await self._finish(lambda: self._backend.insert_cdrom(self._ref, vdev, os.fspath(target), timeout=timeout))

    async def eject_cdrom(self, vdev: str, *, timeout: float | None = None) -> None:
        await self._finish(lambda: self._backend.eject_cdrom(self._ref, vdev, timeout=timeout))

    async def set_memory(self, memory: float) -> None:
        await self._finish(lambda: self._backend.set_memory(self._ref, memory))

    async def set_maxmem(self, maxmem: float) -> None:
        await self._finish(lambda: self._backend.set_maxmem(self._ref, maxmem))

    async def set_vcpus(self, vcpus: int) -> None:
        await self._finish(lambda: self._backend.set_vcpus(self._ref, vcpus))

    async def pin_vcpu(
        self, vcpu: int | Literal["all"], cpus: AnyCpus | None = None, *, cpus_soft: AnyCpus | None = None
    ) -> None:
        number, hard, soft = None if vcpu == "all" else vcpu, as_cpus(cpus), as_cpus(cpus_soft)
        await self._finish(lambda: self._backend.pin_vcpu(self._ref, number, hard, soft))

    async def set_scheduler(self, scheduler: Scheduler) -> None:
        await self._finish(lambda: self._backend.set_scheduler(self._ref, scheduler))

    async def _finish(self, begin: Callable[[], Operation[T]]) -> T:
        return await self._calls.finish(begin)
