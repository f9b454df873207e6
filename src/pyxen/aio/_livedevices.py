"""The hand-written base of `pyxen.aio.LiveDevices`, with replacements for operators that Python cannot await."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Generic, NoReturn, TypeVar

from pyxen.aio._calls import Calls
from pyxen.backends.base import Backend, DomainRef
from pyxen.config import Device
from pyxen.config.device_table import CONSOLES, KINDS
from pyxen.records.live_device import LiveDevice

__all__ = ["LiveDevicesBase"]

D = TypeVar("D", bound=Device)


class LiveDevicesBase(Generic[D]):
    """Base of the devices of a domain of an asyncio host."""

    def __init__(self, backend: Backend, calls: Calls, ref: DomainRef, field: str) -> None:
        self._backend = backend
        self._calls = calls
        self._ref = ref
        self._kind = next(kind for kind in (*KINDS, CONSOLES) if kind.field == field)

    async def __aiter__(self) -> AsyncIterator[LiveDevice[D]]:
        for device in await self._calls.ask(self._now):
            yield device

    # Without these two, Python would fall back on __getitem__ and treat the coroutine as true.

    def __contains__(self, key: object) -> NoReturn:
        raise TypeError("'in' cannot await: use `await disks.get(key) is not None`")

    def __iter__(self) -> NoReturn:
        raise TypeError("'for' cannot await: use `async for disk in disks`")

    def _now(self) -> Sequence[LiveDevice[D]]:
        raise NotImplementedError
