"""The operations of a pool: to open it, to take a guest, and to wait for guests."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Generic, Protocol, TypeVar

from pyxen._common.arguments import check_bools, check_config, check_is, check_number, path_of
from pyxen._common.own_thread import OwnThreads
from pyxen._common.preconditions import check_memory, check_name, memory_kib
from pyxen._copies.copies import Copier, check_identity, check_room, checked_count, honoured, saved_config
from pyxen._copies.orphans import remove_orphans
from pyxen._copies.pool_keeper import Keeper, Ready, Source
from pyxen._copies.steps import Steps, compose
from pyxen._durations import timeout_of
from pyxen._lifetime import Lifetime
from pyxen.backends.base import Backend, DomainRef
from pyxen.config import Disk, DomainConfig, Part, Vif
from pyxen.errors import DomainExists, DomainNotFound, InvalidArgument, ValidationError
from pyxen.features import Feature, lacking
from pyxen.operation import Operation
from pyxen.units import mib_to_kib

__all__ = ["PoolOperations", "Taken", "begin_pool", "begin_take"]

TO_TAKE = 60.0
"""Seconds for which a taker waits, unless it says something else."""


class _Handle(Protocol):
    """What the handles of both APIs have in common."""

    @property
    def begin(self) -> Any: ...


H = TypeVar("H", bound=_Handle)


def begin_pool(
    backend: Backend,
    config: DomainConfig | None,
    *,
    size: int,
    saved: str | os.PathLike[str] | None,
    disks: Callable[[DomainConfig], Sequence[Disk]] | None,
    folder: str | os.PathLike[str] | None,
    change: Callable[[DomainConfig], DomainConfig] | None,
    autoballoon: bool | None,
    lifetime: Lifetime,
    timeout: float | None,
) -> Operation[Keeper]:
    """Begin to open a pool; the operation ends when its first guest is ready.

    Args:
        backend: The host.
        config: The configuration of its guests; None: the one of the saved state.
        size: How many guests are kept ready.
        saved: The file of a saved state; None to create guests.
        disks: Returns the disks of a guest.
        folder: Where overlays are made.
        change: Changes the configuration of a guest.
        autoballoon: Whether dom0 gives up memory for them.
        lifetime: That of the host, which ends the pool's.
        timeout: Seconds until the first guest must be ready.
    """
    if Feature.POOL not in backend.features:
        raise lacking(Feature.POOL, backend.name)
    checked_count(size, "size", "pool")
    if config is not None:
        check_config(config, "pool")
        config = honoured(backend, config)
    if saved is None:
        if config is None:
            raise InvalidArgument("takes a configuration, or a saved state as saved=", operation="pool")
        check_identity(config, "pool")
        config.validate()
    path = None if saved is None else path_of(saved, "pool")
    where = None if folder is None else path_of(folder, "pool")
    if path is not None and where is None:
        where = os.path.dirname(path)

    def work(steps: Steps) -> Keeper:
        remove_orphans(backend)
        base = config if config is not None else saved_config(backend, path or "", "pool")
        copier = Copier(backend, "pool", base, disks, where, change)
        check_room(backend, steps.operation, base, size, autoballoon)
        source = Source(copier=copier, saved=path, autoballoon=autoballoon)
        keeper = Keeper(backend, source, size, lifetime.threads, lifetime.remove_pool)
        lifetime.add_pool(keeper)
        try:
            keeper.start()
            keeper.await_first(steps)
        except BaseException:
            keeper.close()
            raise
        return keeper

    subject = config.name if config is not None else path
    seconds = timeout_of(timeout, operation="pool")
    return compose(lifetime.threads, "pool", subject, work, timeout=seconds)


@dataclass(frozen=True, slots=True)
class Taken(Generic[H]):
    """A guest that was taken.

    Attributes:
        handle: Its handle.
        guest: The domain, with the files that were made for it.
    """

    handle: H
    guest: Ready


def begin_take(
    keeper: Keeper,
    handle: Callable[[DomainRef, str | None], H],
    name: str,
    *,
    disks: Iterable[Disk],
    vifs: Iterable[Vif],
    memory: float | None,
    paused: bool,
    timeout: float | None,
) -> Operation[Taken[H]]:
    """Begin to take a guest, as `Pool.take` describes it; ``handle`` returns the handle of a domain."""
    check_is(str, name, "take", ", as the name")
    check_name(name)
    check_bools("take", paused=paused)
    if memory is not None:
        check_number(memory, "take", whole=False)
        memory_kib(memory)  # refuses what is no amount
    devices: list[Part] = []
    for kind, given in ((Disk, disks), (Vif, vifs)):
        check_is(Iterable, given, "take", f": give a list of {kind.__name__}")
        for device in given:
            check_is(kind, device, "take", f", in {kind.__name__.lower()}s")
            devices.append(device)

    def work(steps: Steps) -> Taken[H]:
        guest = _renamed(keeper, steps, name, memory)
        try:
            domain = handle(guest.ref, name)
            steps.operation.domid = guest.ref.domid
            if memory is not None:
                steps.finish(lambda: domain.begin.set_memory(memory))
            for device in devices:
                steps.finish(partial(domain.begin.attach, device))
            if not paused:
                steps.finish(domain.begin.unpause)
            keeper.hand_out(guest)
        except BaseException:
            keeper.reject(guest)
            raise
        steps.operation.domain = domain
        return Taken(domain, guest)

    seconds = timeout_of(timeout, operation="take")
    return compose(keeper.threads, "take", name, work, timeout=seconds)


def _renamed(keeper: Keeper, steps: Steps, name: str, memory: float | None) -> Ready:
    """Take a guest that exists and can have so much memory, and give it its name."""
    while True:
        guest = keeper.take(steps)
        try:
            if memory is not None:
                most = guest.copy.config.effective_maxmem
                most_kib = None if most is None else mib_to_kib(most)
                check_memory(guest.ref.domid, memory_kib(memory), most_kib=most_kib)
            steps.finish(partial(keeper.backend.rename, guest.ref, name))
        except DomainNotFound:  # someone has destroyed it
            keeper.reject(guest)
        except (DomainExists, InvalidArgument, ValidationError):
            keeper.give_back(guest)
            raise
        except BaseException:
            keeper.reject(guest)
            raise
        else:
            return guest


class PoolOperations(Generic[H]):
    """The verbs of a pool that take time, reached as ``pool.begin``. Each returns an `Operation` at once."""

    __slots__ = ("_handle", "_keeper")

    def __init__(self, keeper: Keeper, handle: Callable[[DomainRef, str | None], H]) -> None:
        self._keeper = keeper
        self._handle = handle

    def take(
        self,
        name: str,
        *,
        disks: Iterable[Disk] = (),
        vifs: Iterable[Vif] = (),
        memory: float | None = None,
        paused: bool = False,
        timeout: float | None = TO_TAKE,
    ) -> Operation[H]:
        """Begin `Pool.take`."""
        return begin_take(
            self._keeper,
            self._handle,
            name,
            disks=disks,
            vifs=vifs,
            memory=memory,
            paused=paused,
            timeout=timeout,
        ).map(lambda taken: taken.handle)

    def wait(self, count: int | None = None, *, timeout: float | None = None) -> Operation[None]:
        """Begin `Pool.wait`."""
        wanted = self._keeper.size if count is None else checked_count(count, "count", "wait")
        if wanted > self._keeper.size:
            message = f"count={wanted}: the pool keeps {self._keeper.size} guests ready"
            raise InvalidArgument(message, operation="wait")
        seconds = timeout_of(timeout, operation="wait")

        def work(steps: Steps) -> None:
            self._keeper.await_ready(steps, wanted)

        return compose(self._keeper.threads, "wait", None, work, timeout=seconds)

    def close(self) -> Operation[None]:
        """Begin `Pool.close`."""
        threads = OwnThreads(self._keeper.backend.completer)  # not the host's: while it is closed, it refuses them
        return compose(threads, "close", None, lambda _: self._keeper.close(), timeout=None)
