"""Findings about a host, and the report of an examination."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from pyxen.records.base import Record

__all__ = ["Finding", "Report", "Severity"]


class Severity(StrEnum):
    """How much a finding matters."""

    OK = "ok"
    """All is well."""
    NOTE = "note"
    """It is good to know, and some guests may need it."""
    WARNING = "warning"
    """Domains run, but something will not work or will not last."""
    ERROR = "error"
    """Domains cannot be run, or not by this user."""


@dataclass(frozen=True, slots=True)
class Finding(Record):
    """One thing that was found about a host."""

    id: str
    """What it is about, e.g. ``bridges``. Ids stay the same from release to release."""
    severity: Severity
    """How much it matters."""
    found: str
    """What was found, as a sentence."""
    remedy: str | None = None
    """What to do about it, which may have several lines; None if nothing is to be done."""


@dataclass(frozen=True, slots=True)
class Report(Record):
    """The result of `pyxen.doctor.examine`."""

    findings: tuple[Finding, ...]
    """What was found, by subject."""
    works: tuple[str, ...]
    """What works on this machine, with Xen or without it."""

    @property
    def healthy(self) -> bool:
        """Whether there is no error."""
        return all(each.severity is not Severity.ERROR for each in self.findings)

    @property
    def problems(self) -> tuple[Finding, ...]:
        """The errors, then the warnings."""
        wanted = (Severity.ERROR, Severity.WARNING)
        return tuple(each for severity in wanted for each in self.findings if each.severity is severity)

    def __getitem__(self, id: str) -> Finding:  # noqa: A002 (as the field)
        """Return the finding with an id.

        Raises:
            KeyError: There is no such finding.
        """
        for each in self.findings:
            if each.id == id:
                return each
        raise KeyError(id)

    def __contains__(self, id: object) -> bool:  # noqa: A002 (as the field)
        return any(each.id == id for each in self.findings)
