"""What readers for asyncio have in common: how they end."""

from __future__ import annotations

import _thread
import contextlib
import sys
from collections.abc import AsyncIterator, Callable
from types import TracebackType
from typing import Self, TypeVar

__all__ = ["Reader"]

T_co = TypeVar("T_co", covariant=True)


class Reader(AsyncIterator[T_co]):
    """A reader that begins with ``async with``, or with the first read. Its end, or garbage collection, closes it."""

    _stop: Callable[[], object] | None = None
    """What ends the reading; None before it begins and after it has ended."""

    async def __aenter__(self) -> Self:
        await self._begin()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    def __del__(self) -> None:
        if self._stop is not None and not sys.is_finalizing():
            with contextlib.suppress(RuntimeError):  # there is no thread for it: it ends with its host
                _thread.start_new_thread(self._stop, ())  # it takes locks, which this thread may already hold

    async def close(self) -> None:
        """Stop reading. Calling it again does nothing."""
        raise NotImplementedError

    async def _begin(self) -> None:
        """Begin to read, if that has not been done."""
        raise NotImplementedError
