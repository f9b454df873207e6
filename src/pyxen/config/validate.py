"""What cannot work together in a configuration: see `DomainConfig.validate`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pyxen.config.domain import DomainConfig

__all__ = ["Problem", "problems"]


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that cannot work.

    Attributes:
        path: The field at fault, as in ``disks[1].vdev``.
        message: What is wrong, and what would be right.
    """

    path: str
    message: str

    def __str__(self) -> str:
        return f"{self.path}: {self.message}"


def problems(config: DomainConfig) -> tuple[Problem, ...]:
    """Return every problem of a configuration."""
    return tuple(_memory(config))


def _memory(config: DomainConfig) -> Iterator[Problem]:
    maxmem = config.effective_maxmem
    if config.memory is not None and maxmem is not None and maxmem < config.memory:
        yield Problem("maxmem", f"{maxmem} MiB is less than memory, {config.memory} MiB")
