"""Which guests can react to being asked for something: the same for every way to a host."""

from __future__ import annotations

from typing import Final

from pyxen.errors import InvalidState
from pyxen.info import DomainInfo, DomainState, ShutdownReason

__all__ = ["check_answers"]

_CANNOT_ANSWER: Final = {
    DomainState.PAUSED: "is paused and cannot answer: unpause it first",
    DomainState.SHUTDOWN: "has shut down already: destroy it",
    DomainState.CRASHED: "has crashed: destroy it",
}


def check_answers(info: DomainInfo, verb: str) -> None:
    """Check that a guest can react to being asked to shut down, to suspend, or the like.

    Raises:
        InvalidState: It cannot.
    """
    if info.state not in _CANNOT_ANSWER:
        return
    problem = _CANNOT_ANSWER[info.state]
    if info.shutdown_reason is ShutdownReason.SUSPEND:
        problem = "is suspended: resume it first"
    elif info.state is DomainState.SHUTDOWN:
        problem += f" ({info.shutdown_reason!r})"
    raise InvalidState(f"{info.name} {problem}", operation=verb, domain=info.domid, domid=info.domid)
