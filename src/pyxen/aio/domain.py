"""A domain on a host, for asyncio: a handle with xl's verbs, awaited."""

from __future__ import annotations

import os
from collections.abc import Sequence
from io import FileIO
from typing import Literal, TypeVar
from uuid import UUID

from pyxen import domain as blocking
from pyxen.aio._calls import Calls
from pyxen.aio.docstrings import documented_as
from pyxen.backends.base import Backend, DomainRef
from pyxen.begin import AnyCpus, DomainOperations
from pyxen.config import DomainConfig, Part, Scheduler
from pyxen.info import DomainInfo, DomainState, DomainStats, Trigger
from pyxen.operation import Operation
from pyxen.remus import RemusOptions

__all__ = ["Domain"]

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

    @property
    def begin(self) -> DomainOperations[Domain]:
        return DomainOperations(self._backend, self._ref, lambda ref: Domain(self._backend, self._calls, ref))

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
        await self._calls.finish(self.begin.pause)

    async def unpause(self) -> None:
        await self._calls.finish(self.begin.unpause)

    async def shutdown(self, *, wait: bool = True, fallback: bool = False, timeout: float | None = None) -> None:
        await self._calls.finish(lambda: self.begin.shutdown(wait=wait, fallback=fallback, timeout=timeout))

    async def reboot(self, *, timeout: float | None = None) -> None:
        await self._calls.finish(lambda: self.begin.reboot(timeout=timeout))

    async def destroy(self, *, timeout: float | None = None) -> None:
        await self._calls.finish(lambda: self.begin.destroy(timeout=timeout))

    async def wait(self, *states: DomainState | str, timeout: float | None = None) -> DomainInfo | None:
        return await self._calls.finish(lambda: self.begin.wait(*states, timeout=timeout))

    async def suspend(self, *, timeout: float | None = None) -> None:
        await self._calls.finish(lambda: self.begin.suspend(timeout=timeout))

    async def resume(self) -> None:
        await self._calls.finish(self.begin.resume)

    async def save(
        self,
        path: str | os.PathLike[str],
        *,
        checkpoint: bool = False,
        leave_paused: bool = False,
        timeout: float | None = None,
    ) -> None:
        await self._calls.finish(
            lambda: self.begin.save(path, checkpoint=checkpoint, leave_paused=leave_paused, timeout=timeout)
        )

    async def migrate(
        self, destination: str | Sequence[str], *, paused: bool = False, timeout: float | None = None
    ) -> None:
        await self._calls.finish(lambda: self.begin.migrate(destination, paused=paused, timeout=timeout))

    async def migrate_over(self, read_fd: int, write_fd: int, *, timeout: float | None = None) -> None:
        await self._calls.finish(lambda: self.begin.migrate_over(read_fd, write_fd, timeout=timeout))

    async def remus(
        self,
        destination: str | Sequence[str] | None,
        options: RemusOptions | None = None,
        *,
        timeout: float | None = None,
    ) -> None:
        await self._calls.finish(lambda: self.begin.remus(destination, options, timeout=timeout))

    async def remus_over(
        self, read_fd: int, write_fd: int, options: RemusOptions | None = None, *, timeout: float | None = None
    ) -> None:
        await self._calls.finish(lambda: self.begin.remus_over(read_fd, write_fd, options, timeout=timeout))

    async def core_dump(self, path: str | os.PathLike[str], *, timeout: float | None = None) -> None:
        await self._calls.finish(lambda: self.begin.core_dump(path, timeout=timeout))

    async def soft_reset(self, *, timeout: float | None = None) -> None:
        await self._calls.finish(lambda: self.begin.soft_reset(timeout=timeout))

    async def config(self) -> DomainConfig:
        return await self._calls.finish(self.begin.config)

    async def rename(self, name: str) -> None:
        await self._calls.finish(lambda: self.begin.rename(name))

    async def preserve(self, suffix: str) -> Domain:
        return await self._calls.finish(lambda: self.begin.preserve(suffix))

    async def send_trigger(self, trigger: Trigger | str, *, vcpu: int = 0) -> None:
        await self._calls.finish(lambda: self.begin.send_trigger(trigger, vcpu=vcpu))

    async def send_sysrq(self, key: str) -> None:
        await self._calls.finish(lambda: self.begin.send_sysrq(key))

    async def attach(self, device: D, *, timeout: float | None = None) -> D:
        def begin() -> Operation[D]:
            return self.begin.attach(device, timeout=timeout)

        return await self._calls.finish(begin, undo=lambda attached: self._blocking.detach(attached, force=True))

    async def detach(self, device: Part | str, *, force: bool = False, timeout: float | None = None) -> None:
        await self._calls.finish(lambda: self.begin.detach(device, force=force, timeout=timeout))

    async def insert_cdrom(self, vdev: str, target: str | os.PathLike[str], *, timeout: float | None = None) -> None:
        await self._calls.finish(lambda: self.begin.insert_cdrom(vdev, target, timeout=timeout))

    async def eject_cdrom(self, vdev: str, *, timeout: float | None = None) -> None:
        await self._calls.finish(lambda: self.begin.eject_cdrom(vdev, timeout=timeout))

    async def set_memory(self, memory: float) -> None:
        await self._calls.finish(lambda: self.begin.set_memory(memory))

    async def set_maxmem(self, maxmem: float) -> None:
        await self._calls.finish(lambda: self.begin.set_maxmem(maxmem))

    async def set_vcpus(self, vcpus: int) -> None:
        await self._calls.finish(lambda: self.begin.set_vcpus(vcpus))

    async def pin_vcpu(
        self, vcpu: int | Literal["all"], cpus: AnyCpus | None = None, *, cpus_soft: AnyCpus | None = None
    ) -> None:
        await self._calls.finish(lambda: self.begin.pin_vcpu(vcpu, cpus, cpus_soft=cpus_soft))

    async def set_scheduler(self, scheduler: Scheduler) -> None:
        await self._calls.finish(lambda: self.begin.set_scheduler(scheduler))

    async def monitor_command(self, command: str, *, timeout: float | None = None) -> str:
        return await self._calls.finish(lambda: self.begin.monitor_command(command, timeout=timeout))

    async def userdata(self, key: str) -> bytes | None:
        return await self._calls.finish(lambda: self.begin.userdata(key))

    async def set_userdata(self, key: str, data: bytes | None) -> None:
        await self._calls.finish(lambda: self.begin.set_userdata(key, data))

    async def stats(self) -> DomainStats:
        return await self._calls.ask(self._blocking.stats)

    async def console(self) -> FileIO:
        return await self._calls.acquire(self._blocking.console, give_back=FileIO.close)

    async def add_console(self, *, port: int | None = None, gfn: int | None = None, backend_domid: int = 0) -> None:
        await self._calls.finish(lambda: self.begin.add_console(port=port, gfn=gfn, backend_domid=backend_domid))
