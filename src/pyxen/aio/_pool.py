"""The hand-written base of `pyxen.aio.Pool`: opening and closing."""

from __future__ import annotations

import contextlib
import sys
import warnings
from types import TracebackType
from typing import Any, Self

from pyxen._copies.pool_keeper import Keeper
from pyxen._copies.pool_operation import PoolOperations
from pyxen._local import Local
from pyxen.aio._calls import Calls
from pyxen.errors import HostClosed

__all__ = ["PoolBase"]


class PoolBase(Local):
    """Base of an asyncio pool."""

    _keeper: Keeper
    _calls: Calls

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

    @property
    def begin(self) -> PoolOperations[Any]:
        """The same verbs without waiting."""
        raise NotImplementedError

    async def close(self) -> None:
        """Destroy the guests that were not taken, with the files made for them, and wait until they are gone.

        Guests that were taken run on. A `take` that is not finished is cancelled. Calling it again does nothing.
        """
        if not self._keeper.ended:
            with contextlib.suppress(HostClosed):  # the host is being closed, which closes this, too
                await self._calls.finish(self.begin.close)
        await self._calls.closed()
