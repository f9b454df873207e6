"""A pool of guests that are ready before they are needed, for asyncio.

Generated from `pyxen.pool` by ``python -m tools.aio_face``: do not edit.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from pyxen._copies.orphans import discard_all
from pyxen._copies.pool_keeper import Keeper
from pyxen._copies.pool_operation import PoolOperations, Taken, begin_take
from pyxen.aio._calls import Calls
from pyxen.aio._pool import PoolBase
from pyxen.aio.domain import Domain
from pyxen.backends.base import DomainRef
from pyxen.config import Disk, Vif

__all__ = ["Pool"]


class Pool(PoolBase):
    """Guests that are ready before they are needed: `pyxen.Pool`, awaited.

    ::

        async with await host.pool(config, size=8) as pool:
            web = await pool.take("web1", vifs=[Vif(bridge="xenbr0")])

    They are paused until they are taken, and named ``NAME--ready-…`` until then. New ones are made in the background.
    Use it as a context manager, or await `close`. Closing the host closes it, too.
    """

    def __init__(self, keeper: Keeper, calls: Calls, handle: Callable[[DomainRef, str | None], Domain]) -> None:
        self._keeper = keeper
        self._calls = calls
        self._handle = handle

    def __repr__(self) -> str:
        state = "closed" if self._keeper.closed else f"{self.ready} of {self.size} ready"
        return f"<Pool on {self._keeper.backend.uri}: {state}>"

    @property
    def begin(self) -> PoolOperations[Domain]:
        """The same verbs without waiting: ``pool.begin.take("web1")`` returns an `Operation` at once."""
        return PoolOperations(self._keeper, self._handle)

    @property
    def size(self) -> int:
        """How many guests the pool keeps ready."""
        return self._keeper.size

    @property
    def ready(self) -> int:
        """How many guests can be taken without waiting."""
        return self._keeper.ready

    @property
    def error(self) -> Exception | None:
        """Why the last try to make a guest failed; None if it succeeded. The next one comes within 30 seconds."""
        return self._keeper.error

    async def take(
        self,
        name: str,
        *,
        disks: Iterable[Disk] = (),
        vifs: Iterable[Vif] = (),
        memory: float | None = None,
        paused: bool = False,
        timeout: float | None = 60.0,
    ) -> Domain:
        """Take a guest: give it its name, its memory and its devices, and start it.

        It is an ordinary domain from then on: closing the pool does not end it, and files that were made for its disks
        are the caller's to remove. It keeps the uuid, and the MAC addresses of vifs that came with it, that it got when
        it was made; no other guest has them. If no guest is ready, this waits for one, and takers are served as guests
        get ready. If anything fails after the guest was renamed, or Ctrl-C comes, the guest is destroyed.

        Args:
            name: Its name.
            disks: Disks to attach.
            vifs: Network interfaces to attach.
            memory: Its memory target, in MiB, up to the ``maxmem`` of its configuration. None leaves it as it is.
            paused: Leave it paused.
            timeout: Seconds after which to give up. None waits as long as it takes to make a guest.

        Raises:
            InvalidState: The pool is closed.
            InvalidArgument: An argument is not valid, e.g. more memory than ``maxmem``; the guest stays in the pool.
            ValidationError: The name or the memory is not valid; the guest stays in the pool.
            DomainExists: Another domain has the name; the guest stays in the pool.
            NotEnoughMemory: No guest is ready, and the host has not enough memory for one. Whatever prevents the pool
                from making guests is raised here in the same way.
            OperationTimeout: The timeout expired.
            OperationFailed: As for `Domain.attach`, `Domain.set_memory` and `Domain.unpause`.
        """
        taken = await self._calls.finish(
            lambda: begin_take(
                self._keeper,
                self._handle,
                name,
                disks=disks,
                vifs=vifs,
                memory=memory,
                paused=paused,
                timeout=timeout,
            ),
            undo=self._discard,
        )
        return taken.handle

    async def wait(self, count: int | None = None, *, timeout: float | None = None) -> None:
        """Wait until guests are ready.

        Args:
            count: How many. None means the size of the pool.
            timeout: Seconds after which to give up. None waits as long as it takes.

        Raises:
            InvalidArgument: The pool never has as many.
            InvalidState: The pool is closed.
            OperationTimeout: The timeout expired.
            OperationFailed: A guest could not be made.
        """
        await self._calls.finish(lambda: self.begin.wait(count, timeout=timeout))

    def _discard(self, taken: Taken[Domain]) -> None:
        """Undo a take whose handle was never returned, because the call was interrupted."""
        discard_all(self._keeper.backend, [taken.guest])
