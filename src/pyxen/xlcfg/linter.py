"""A check of configurations for what xl accepts in silence and the author did not mean."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Final

from pyxen.config import Disk, DomainConfig
from pyxen.config.releases import DEFAULT
from pyxen.errors import ConfigError, ParseError
from pyxen.xlcfg.domain import read_domain
from pyxen.xlcfg.findings import Finding, Severity
from pyxen.xlcfg.grammar import Assignment, assignments
from pyxen.xlcfg.keys import OLDEST, release
from pyxen.xlcfg.lint_items import item_findings
from pyxen.xlcfg.lint_keys import key_findings, settings_of_release
from pyxen.xlcfg.lint_meaning import meaning_findings
from pyxen.xlcfg.lint_values import value_findings
from pyxen.xlcfg.settings import Settings
from pyxen.xlcfg.source import Source
from pyxen.xlcfg.syntax_errors import Places

__all__ = ["Diagnostic", "lint"]

_ALWAYS: Final = ("no-memory", "repeated-key", "lost-escape")
"""Findings that do not depend on others at the same place."""


@dataclass(frozen=True, slots=True)
class Diagnostic:
    """One finding.

    Attributes:
        line: Line, from 1.
        column: Column, from 1, in characters.
        code: Short name of the kind of finding, as ``unknown-key``.
        message: What is wrong.
        hint: What to write instead; "" if there is no advice.
        severity: ``error`` if xl refuses the configuration, ``warning`` if xl does something else than was meant,
            ``note`` for outdated spellings.
    """

    line: int
    column: int
    code: str
    message: str
    hint: str = ""
    severity: Severity = "warning"

    def __str__(self) -> str:
        hint = f" ({self.hint})" if self.hint else ""
        return f"{self.line}:{self.column}: {self.severity}: {self.message}{hint} [{self.code}]"


def lint(text: str | bytes, xen: str = DEFAULT) -> list[Diagnostic]:
    """Check a configuration for mistakes that xl accepts in silence, and for outdated spellings.

    Args:
        text: The configuration. xl need not accept it.
        xen: The Xen release it is for, ``"4.17"`` to ``"4.22"``. Keys and values are reported that this release does
            not have yet, or does not have any more.

    Returns:
        The findings, in the order of the text. A text with a syntax error has this one finding.

    Raises:
        ValueError: `xen` is not a release, or is older than 4.17.
    """
    target = release(xen)
    if target < release(OLDEST):
        raise ValueError(f"Xen {xen} is too old; the oldest release that lint knows is {OLDEST}")
    if isinstance(text, bytes):
        text = text.decode("utf-8", "surrogateescape")
    try:
        written = assignments(text)
        settings = Settings(text, written)
    except ParseError as error:
        return [Diagnostic(error.line or 1, error.column or 1, "syntax", error.message, severity="error")]
    source = Source(settings_of_release(settings, written, target))
    config = _read(source)
    findings = {
        *key_findings(written, config, source, target),
        *value_findings(text, written, target),
        *item_findings(written, _disks(config, source), target),
        *meaning_findings(config, source, target),
    }
    found = _weightiest(findings, written)
    place = Places(text)
    ordered = sorted(found, key=lambda one: (one.offset, one.code, one.message))
    return [Diagnostic(*place(one.offset), one.code, one.message, one.hint, one.severity) for one in ordered]


def _read(source: Source) -> DomainConfig | ConfigError:
    """Return the configuration, or why xl refuses it."""
    try:
        return read_domain(source)
    except ConfigError as error:
        return error


def _disks(config: DomainConfig | ConfigError, source: Source) -> dict[str, Disk]:
    """Return the disks of a configuration by the items that they were read from."""
    if isinstance(config, ConfigError):
        return {}
    items = (item for item in source.settings.items("disk") or () if isinstance(item, str))
    return dict(zip(items, config.disks, strict=False))  # behind a list in the list xl reads no more


def _weightiest(found: Collection[Finding], written: Sequence[Assignment]) -> list[Finding]:
    """Return the findings without those that another finding about the same setting makes pointless.

    If xl does not use a key for this type of guest, its value does not matter, unless xl refuses it. If a whole value
    has an error or a warning, its outdated spelling does not matter.
    """
    starts = [assignment.start for assignment in written]
    settings: dict[int, list[Finding]] = {}
    kept = []
    for finding in found:
        index = bisect_right(starts, finding.offset) - 1
        if finding.code in _ALWAYS or index < 0 or finding.offset > written[index].value_end:
            kept.append(finding)
        else:
            settings.setdefault(index, []).append(finding)
    for index, group in settings.items():
        unused = [finding for finding in group if finding.code == "other-guest"]
        if unused:
            kept += [finding for finding in group if finding.severity == "error"] or unused[:1]
            continue
        whole = (written[index].start, written[index].value_start)
        weighty = any(finding.severity != "note" for finding in group if finding.offset in whole)
        kept += [
            finding for finding in group if not (weighty and finding.severity == "note" and finding.offset in whole)
        ]
    return kept
