"""The operation of `Host.clone`: restores that run side by side, as many at a time as is quickest."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, wait
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from pyxen._common.arguments import check_bools, check_config, path_of
from pyxen._common.own_thread import OwnThreads
from pyxen._common.preconditions import check_name
from pyxen._copies.copies import (
    AT_ONCE,
    Copier,
    Copy,
    balloons,
    check_room,
    checked_count,
    discard,
    honoured,
    saved_config,
)
from pyxen._copies.orphans import destroy_all, remove_orphans
from pyxen._copies.steps import Steps, compose
from pyxen._durations import bounded, timeout_of
from pyxen._functions import check_answer, check_function
from pyxen._printable import shown_number
from pyxen.backends.base import Backend, DomainRef
from pyxen.config import Disk, DomainConfig
from pyxen.errors import CloneFailed, DomainExists, InvalidArgument
from pyxen.features import Feature, lacking
from pyxen.operation import Operation, describe

__all__ = ["CloneOperations", "Clones", "begin_clones"]

H = TypeVar("H")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Cloning:
    """What `Host.clone` was asked for.

    Attributes:
        saved: The file of the saved state.
        names: The name of each clone, once the name in the file is known.
        copier: Makes the configuration of each clone, once the configuration in the file is known.
        config: The configuration to use instead of the one in the file.
        number: How many there are to be.
        paused: Leave them paused.
        partial: Keep those that were made when others fail.
        autoballoon: Whether dom0 gives up memory.
    """

    saved: str
    names: Callable[[str], list[str]]
    copier: Callable[[DomainConfig], Copier]
    config: DomainConfig | None
    number: int
    paused: bool
    partial: bool
    autoballoon: bool | None


@dataclass(frozen=True, slots=True)
class Clones(Generic[H]):
    """Clones that were made.

    Attributes:
        results: Their handles, in the order of their numbers; with ``partial``, the errors of the others are there.
        made: The domains, each with the files that were made for it.
        failure: Says that some were not made, with ``partial``. It is no failure of the operation: what was made is
            undone like any other success whose result does not reach the caller.
    """

    results: list[H]
    made: tuple[tuple[DomainRef, Copy], ...]
    failure: CloneFailed | None = None

    @property
    def handles(self) -> list[H]:
        """Their handles, in the order of their numbers.

        Raises:
            CloneFailed: Some were not made, with ``partial``.
        """
        if self.failure is not None:
            raise self.failure
        return self.results


def begin_clones(
    backend: Backend,
    threads: OwnThreads,
    handle: Callable[[DomainRef, str | None], H],
    saved: str | os.PathLike[str],
    n: int,
    *,
    config: DomainConfig | None,
    name: str | Callable[[int], str] | None,
    disks: Callable[[DomainConfig], Sequence[Disk]] | None,
    folder: str | os.PathLike[str] | None,
    change: Callable[[DomainConfig], DomainConfig] | None,
    paused: bool,
    partial: bool,
    autoballoon: bool | None,
    timeout: float | None,
) -> Operation[Clones[H]]:
    """Begin to clone a saved guest, as `Host.clone` describes it.

    ``threads`` has the operations of its kind, and ``handle`` returns the handle of a domain.
    """
    if Feature.CLONE not in backend.features:
        raise lacking(Feature.CLONE, backend.name)
    if config is not None:
        check_config(config, "clone")
        config = honoured(backend, config)
    check_bools("clone", paused=paused, partial=partial)
    path = path_of(saved, "clone")
    where = os.path.dirname(path) if folder is None else path_of(folder, "clone")
    checked_count(n, "n", "clone")
    cloning = _Cloning(
        saved=path,
        names=_names_of(name, n),
        copier=lambda base: Copier(backend, "clone", base, disks, where, change),
        config=config,
        number=n,
        paused=paused,
        partial=partial,
        autoballoon=balloons(backend, autoballoon),
    )

    def work(steps: Steps) -> Clones[H]:
        return _Clones(backend, cloning, handle, steps).run()

    seconds = timeout_of(timeout, operation="clone")
    return compose(threads, "clone", path, work, timeout=seconds)


class CloneOperations(Generic[H]):
    """The part of `HostOperations` that clones."""

    __slots__ = ("_backend", "_handle", "_threads")

    def __init__(self, backend: Backend, threads: OwnThreads, handle: Callable[[DomainRef, str | None], H]) -> None:
        self._backend = backend
        self._threads = threads
        self._handle = handle

    def clone(
        self,
        saved: str | os.PathLike[str],
        n: int = 1,
        *,
        config: DomainConfig | None = None,
        name: str | Callable[[int], str] | None = None,
        disks: Callable[[DomainConfig], Sequence[Disk]] | None = None,
        folder: str | os.PathLike[str] | None = None,
        change: Callable[[DomainConfig], DomainConfig] | None = None,
        paused: bool = False,
        partial: bool = False,
        autoballoon: bool | None = None,
        timeout: float | None = None,
    ) -> Operation[list[H]]:
        """Begin `Host.clone`. If it is cancelled, all clones are undone."""
        return begin_clones(
            self._backend,
            self._threads,
            self._handle,
            saved,
            n,
            config=config,
            name=name,
            disks=disks,
            folder=folder,
            change=change,
            paused=paused,
            partial=partial,
            autoballoon=autoballoon,
            timeout=timeout,
        ).map(lambda clones: clones.handles)


def _names_of(name: object, number: int) -> Callable[[str], list[str]]:
    """Return a function that names clones: ``web1-1``, ``web1-2`` and so on, or as the user's function does.

    Raises:
        InvalidArgument: It is neither a name nor a function.
    """
    if name is not None and not isinstance(name, str):
        if not callable(name):
            raise InvalidArgument("takes a name, or a function that makes one of a number, as name", operation="clone")
        check_function(name, "name", "clone")

    def names(saved: str) -> list[str]:
        if callable(name):
            made = [name(each) for each in range(1, number + 1)]
        else:
            made = [f"{name or saved}-{each}" for each in range(1, number + 1)]
        for each in made:
            check_answer(each, "name", "clone")
            if not isinstance(each, str):
                raise InvalidArgument(f"name returned {shown_number(each)}: return a str", operation="clone")
            check_name(each)
        if len(set(made)) < number:
            twice = next(each for each in made if made.count(each) > 1)
            raise InvalidArgument(f"two clones would have the name {twice!r}", operation="clone", domain=twice)
        return made

    return names


class _Clones:
    def __init__(
        self, backend: Backend, cloning: _Cloning, handle: Callable[[DomainRef, str | None], Any], steps: Steps
    ) -> None:
        self._backend = backend
        self._cloning = cloning
        self._handle = handle
        self._steps = steps
        self._claims = backend.claims()
        self._copies: dict[int, Copy] = {}
        self._made: dict[int, DomainRef] = {}
        self._errors: dict[int, Exception] = {}
        self._running: dict[Operation[DomainRef], int] = {}

    def run(self) -> Clones[Any]:
        """Make the clones."""
        try:
            remove_orphans(self._backend)
            try:
                names = self._make_all()
                if self._errors and not self._cloning.partial:
                    raise self._errors[min(self._errors)]
                self._claims.drop_all()  # from here on they are the caller's
            except BaseException:
                self._undo()
                raise
        finally:
            self._claims.close()
        results = [self._errors.get(number) or self._given(number, name) for number, name in enumerate(names)]
        made = tuple((ref, self._copies[number]) for number, ref in self._made.items())
        return Clones(results, made, self._failure(results) if self._errors else None)

    def _make_all(self) -> list[str]:
        cloning = self._cloning
        base = cloning.config or saved_config(self._backend, cloning.saved, "clone")
        copier, names = cloning.copier(base), cloning.names(base.name)
        self._check_names(names)
        check_room(self._backend, self._steps.operation, base, cloning.number, cloning.autoballoon)
        waiting, running = deque(enumerate(names)), self._running
        while running or (waiting and not self._gives_up()):
            while waiting and len(running) < AT_ONCE and not self._gives_up():
                number, name = waiting.popleft()
                begun = self._begun(number, name, copier)
                if begun is not None:
                    running[begun] = number
            ended = wait(running, self._patience(), FIRST_COMPLETED).done if running else ()
            if self._steps.left() == 0:
                self._steps.operation.stop("timeout")
            for step in [each for each in running if each in ended]:
                self._ended(running.pop(step), step)
        self._steps.check()
        return names

    def _check_names(self, names: list[str]) -> None:
        taken = {info.name: info.domid for info in self._backend.list()}
        for name in names:
            if name in taken:
                message = f"domain {taken[name]} already has the name {name!r}: give name= for others"
                raise describe(DomainExists, message, self._steps.operation)

    def _gives_up(self) -> bool:
        stopped = self._steps.operation.stopped is not None or self._steps.left() == 0
        return stopped or (bool(self._errors) and not self._cloning.partial)

    def _patience(self) -> float | None:
        """Return how many seconds to wait for the end of one that runs; None once all are stopped: they end soon."""
        return None if self._steps.operation.stopped is not None else bounded(self._steps.left())

    def _begun(self, number: int, name: str, copier: Copier) -> Operation[DomainRef] | None:
        """Begin one clone; None if that failed."""
        cloning = self._cloning
        try:
            copy = self._copies[number] = copier.make(name, self._claims)
            return self._steps.begin(
                lambda: self._backend.restore(
                    cloning.saved,
                    copy.config,
                    paused=cloning.paused,
                    autoballoon=cloning.autoballoon,
                    timeout=None,
                )
            )
        except Exception as error:  # noqa: BLE001 (also what the user's functions raise; the caller gets it)
            self._fail(number, error)
            return None

    def _ended(self, number: int, step: Operation[DomainRef]) -> None:
        try:
            self._made[number] = self._steps.end(step)
        except Exception as error:  # noqa: BLE001 (the caller gets it)
            self._fail(number, error)

    def _fail(self, number: int, error: Exception) -> None:
        """Note that a clone failed, and remove its files; the failed restore has left nothing else."""
        self._errors[number] = error
        copy = self._copies.pop(number, None)
        if copy is not None:
            discard(self._backend, self._claims, copy.uuid, copy.files)

    def _undo(self) -> None:
        """Stop what runs, and destroy what was made.

        Something runs still if a function of the user's has ended all this, e.g. with `SystemExit`. What cannot be
        destroyed stays claimed, and is removed as an orphan later.
        """
        for step in self._running:
            step.cancel()
        for step, number in self._running.items():
            if step.exception() is None:  # it was too late to stop it
                self._made[number] = step.result()
        stay = {ref.uuid for ref in destroy_all(self._backend, list(self._made.values()))}
        for copy in self._copies.values():
            if copy.uuid not in stay:
                discard(self._backend, self._claims, copy.uuid, copy.files)

    def _given(self, number: int, name: str) -> Any:
        copy = self._copies[number]
        return self._handle(self._made[number], copy.config.name or name)

    def _failure(self, results: list[Any]) -> CloneFailed:
        first = self._errors[min(self._errors)]
        message = f"{len(self._errors)} of {self._cloning.number} clones failed, the others stay; the first: {first}"
        error = describe(CloneFailed, message, self._steps.operation)
        error.results = tuple(results)
        return error
