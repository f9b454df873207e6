"""What became of the domains that start and stop with their host."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Generic, TypeVar

__all__ = ["StartAction", "Started", "StopAction", "Stopped"]

D = TypeVar("D")


class StartAction(StrEnum):
    """What `start_all` did with a file."""

    RESTORED = "restored"
    """The domain was restored from it, and the file removed."""
    CREATED = "created"
    """The domain was created from it."""
    RUNNING = "running"
    """A domain of that name was running already."""
    SKIPPED = "skipped"
    """A domain of that name is saved, and was not restored: to start it anew would lose what is saved."""
    FAILED = "failed"
    """It failed; `Started.error` says why. The file of a saved domain stays."""


@dataclass(frozen=True, slots=True)
class Started(Generic[D]):
    """What `start_all` did with a file."""

    path: str
    """The file."""
    action: StartAction
    """What was done."""
    name: str | None = None
    """Name of the domain; None if the file cannot be read."""
    domain: D | None = None
    """The domain; None if there is none."""
    error: Exception | None = None
    """What went wrong, if anything."""


class StopAction(StrEnum):
    """What `stop_all` did with a domain."""

    MIGRATED = "migrated"
    """It runs on the other host."""
    SAVED = "saved"
    """It is in `Stopped.path`."""
    SHUT_DOWN = "shut_down"
    """It has shut down."""
    ASKED = "asked"
    """It was asked to shut down, and not waited for."""
    LEFT = "left"
    """By the settings nothing was to be done with it."""
    FAILED = "failed"
    """It still runs; `Stopped.errors` says why."""


@dataclass(frozen=True, slots=True)
class Stopped:
    """What `stop_all` did with a domain."""

    name: str | None
    """Its name."""
    domid: int
    """Its domid."""
    action: StopAction
    """What was done at last."""
    path: str | None = None
    """The file that it was saved to."""
    errors: tuple[Exception, ...] = ()
    """What went wrong, in order: a migration that failed, say, before it was saved."""
