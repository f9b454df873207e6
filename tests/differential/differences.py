"""What may differ between a host in memory and Xen: the list in docs/testing.md, which the test checks both ways."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.differential.plain import Leaves

__all__ = ["Difference", "Excuse", "differences", "excuses"]

_PAGE: Final = Path(__file__).parents[2] / "docs" / "testing.md"
_HEADING: Final = "## Where it differs from Xen"
_ROW: Final = re.compile(r"\| `(?P<probe>[^`]+)` \| `(?P<leaf>[^`]+)` \| (?P<releases>[^|]+) \| (?P<reason>[^|]+) \|")
_ALL: Final = "all"


@dataclass(frozen=True, slots=True)
class Difference:
    """A leaf of a probe that is not the same on both hosts.

    Attributes:
        probe: The probe.
        leaf: The path of the leaf.
        real: What it is on Xen; None if it is not there.
        simulated: What it is in memory.
    """

    probe: str
    leaf: str
    real: str | None
    simulated: str | None

    def __str__(self) -> str:
        return f"{self.probe}\n    {self.leaf}\n        Xen:    {self.real}\n        memory: {self.simulated}"


@dataclass(frozen=True, slots=True)
class Excuse:
    """A line of the list: the probes and leaves that may differ; ``*`` stands for any text.

    Attributes:
        probe: The probes.
        leaf: The leaves.
        releases: The releases of Xen on which they differ; empty for all.
        reason: Why.
    """

    probe: str
    leaf: str
    releases: tuple[str, ...]
    reason: str

    def fits(self, difference: Difference) -> bool:
        """Tell whether it excuses a difference."""
        return _fits(self.probe, difference.probe) and _fits(self.leaf, difference.leaf)


def _fits(pattern: str, text: str) -> bool:
    return re.fullmatch(".*".join(map(re.escape, pattern.split("*"))), text, re.DOTALL) is not None


def excuses(release: str) -> list[Excuse]:
    """Return the lines of the list that are for a release of Xen."""
    section = _PAGE.read_text(encoding="utf-8").split(_HEADING, 1)[1].split("\n## ", 1)[0]
    rows = [line for line in section.splitlines() if line.startswith("| `")]
    found = []
    for row in rows:
        match = _ROW.fullmatch(row)
        assert match is not None, f"docs/testing.md: this line of the list cannot be read: {row}"
        releases = match["releases"].strip()
        named = () if releases == _ALL else tuple(one.strip() for one in releases.split(","))
        found.append(Excuse(match["probe"], match["leaf"], named, match["reason"].strip()))
    return [excuse for excuse in found if not excuse.releases or release in excuse.releases]


def differences(real: Mapping[str, Leaves], simulated: Mapping[str, Leaves]) -> Iterator[Difference]:
    """Yield what differs, in the order of the probes."""
    for probe in {**real, **simulated}:
        some, others = real.get(probe), simulated.get(probe)
        if some is None or others is None:
            yield Difference(probe, "", None if some is None else "made", None if others is None else "made")
            continue
        for leaf in {**some, **others}:
            if some.get(leaf) != others.get(leaf):
                yield Difference(probe, leaf, some.get(leaf), others.get(leaf))
