"""The hand-written base of `pyxen.aio.Pool`: opening and closing."""

from __future__ import annotations

import sys
import warnings
from types import TracebackType
from typing import Self

from pyxen._copies.pool_keeper import Keeper

__all__ = ["PoolBase"]


class PoolBase:
    """Base of an asyncio pool."""

    _keeper: Keeper

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    def __del__(self) -> None:
        if hasattr(self, "_keeper") and not self._keeper.closed and not sys.is_finalizing():
            warnings.warn(f"{self!r} was never closed", ResourceWarning, source=self, stacklevel=2)
            self._keeper.abandon()

    async def close(self) -> None:
        """Close the pool."""
        raise NotImplementedError
