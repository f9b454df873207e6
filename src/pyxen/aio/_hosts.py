"""The hand-written base of `pyxen.aio.Hosts`: closing at the end of a block."""

from __future__ import annotations

from types import TracebackType
from typing import Self

__all__ = ["HostsBase"]


class HostsBase:
    """Base of many asyncio hosts."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close all hosts."""
        raise NotImplementedError
