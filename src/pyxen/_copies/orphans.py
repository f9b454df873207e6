"""Removal of what processes that were killed have left: guests that were never handed out, and their files."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Final

from pyxen._common.claims import abandoned
from pyxen._common.shield import logger
from pyxen._copies.copies import AT_ONCE, Copy, remove_files
from pyxen.backends.base import Backend, DomainRef
from pyxen.errors import DomainNotFound, Error
from pyxen.operation import Operation
from pyxen.records.info import DomainInfo, DomainState

__all__ = ["destroy_all", "discard_all", "remove_orphans"]

_TO_DESTROY: Final = 120.0  # seconds for one guest

_LOG = logger("pyxen.pool")


def remove_orphans(backend: Backend) -> None:
    """Destroy the guests that pools and clones of killed processes have left, and remove their files.

    A guest is destroyed only if the process that made it wrote down its uuid, has not handed it out, and is gone. What
    cannot be removed now stays for the next time.
    """
    if backend.remove_orphans():
        return
    with abandoned(backend.claims_folder) as found:
        if not any(one.claims for one in found):
            return
        alive = {info.uuid: DomainRef(info.domid, info.uuid) for info in _alive(backend)}
        there = [alive[claim.uuid] for one in found for claim in one.claims if claim.uuid in alive]
        stays = {ref.uuid for ref in destroy_all(backend, there)}
        for one in found:
            for claim in one.claims:
                if claim.uuid not in stays:
                    remove_files(backend, claim.files)
                    one.drop(claim.uuid)
        if there:
            _LOG.warning("destroyed %d guests that a killed process had left", len(there) - len(stays))


def _alive(backend: Backend) -> list[DomainInfo]:
    return [info for info in backend.list() if info.domid != 0 and info.state is not DomainState.DYING]


def destroy_all(backend: Backend, domains: Sequence[DomainRef]) -> list[DomainRef]:
    """Destroy domains, some at a time, and return those for which that failed; each failure is logged."""
    stay: list[DomainRef] = []
    begun: deque[tuple[DomainRef, Operation[None]]] = deque()

    def end_one() -> None:
        ref, operation = begun.popleft()
        failure = operation.exception()
        if failure is not None and not isinstance(failure, DomainNotFound):
            _LOG.warning("domain %d stays: %s", ref.domid, failure)
            stay.append(ref)

    for ref in domains:
        if len(begun) == AT_ONCE:  # the time of each begins only when it has its turn
            end_one()
        try:
            begun.append((ref, backend.destroy(ref, timeout=_TO_DESTROY)))
        except DomainNotFound:
            continue
        except Error as error:
            _LOG.warning("domain %d stays: %s", ref.domid, error)
            stay.append(ref)
    while begun:
        end_one()
    return stay


def discard_all(backend: Backend, made: Sequence[tuple[DomainRef, Copy]]) -> None:
    """Destroy copies that were made but never handed out, and remove their files, but not those of one that stays."""
    stay = {ref.uuid for ref in destroy_all(backend, [ref for ref, _ in made])}
    for ref, copy in made:
        if ref.uuid not in stay:
            remove_files(backend, copy.files)
