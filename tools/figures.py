"""Write docs/figures/benchmarks.svg, the plot on the landing page, from benchmarks/RESULTS.md.

``python -m tools.figures`` writes it; tests/unit/test_reference.py compares the two. It has the colours of the page
around it, so that it suits the light and the dark theme.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Final, NamedTuple

ROOT: Final = Path(__file__).resolve().parents[1]
PLOT: Final = ROOT / "docs" / "figures" / "benchmarks.svg"
RESULTS: Final = ROOT / "benchmarks" / "RESULTS.md"

_WIDTH: Final = 720
_LABEL: Final = 60
_FULL: Final = 540
_ROW: Final = 22
_GAP: Final = 34


class Group(NamedTuple):
    """A question, with the time or the memory that each program needs."""

    title: str
    unit: str
    bars: tuple[tuple[str, float], ...]


def table(heading: str, row: str) -> list[str]:
    """Return the cells of a row of the first table below a heading of the results."""
    text = RESULTS.read_text()
    section = text[text.index(f"## {heading}") :]
    found = re.search(rf"^\| {re.escape(row)} \|.*$", section, re.MULTILINE)
    if found is None:
        raise ValueError(f"{RESULTS.name} has no row {row} below {heading}")
    return [cell.strip() for cell in found[0].strip("|").split("|")]


def _number(cell: str) -> float:
    return float(cell.split(maxsplit=1)[0])


def groups() -> list[Group]:
    """Return what is plotted."""
    listing = table("`Host.list()`, with names", "50")
    both = table("Create and destroy", "both")
    memory = RESULTS.read_text().partition("## Supervised domains")[2]
    found = re.search(r"^\| ([0-9.]+) KiB \| ([0-9.]+) KiB \|", memory, re.MULTILINE)
    if found is None:
        raise ValueError(f"{RESULTS.name} has no memory of supervised domains")
    return [
        Group(
            "List 50 domains with names, from the third time on",
            "ms",
            (("pyxen", _number(listing[3])), ("C", _number(listing[4])), ("xl", _number(listing[5]))),
        ),
        Group(
            "Create and destroy a minimal PVH guest",
            "ms",
            (("pyxen", _number(both[1])), ("C", _number(both[2])), ("xl", _number(both[3]))),
        ),
        Group(
            "Private memory for each supervised domain", "KiB", (("pyxen", float(found[1])), ("xl", float(found[2])))
        ),
    ]


def _in_words(group: Group) -> str:
    return ", ".join(f"{name} {value:g} {group.unit}" for name, value in group.bars)


def plot() -> str:
    """Return the plot, as SVG that stands in a page."""
    lines: list[str] = []
    y = 0
    for group in groups():
        longest = max(value for _, value in group.bars)
        lines.append(f'<text x="0" y="{y + 15}" font-weight="600">{group.title}, {group.unit}</text>')
        y += _ROW
        for name, value in group.bars:
            width = max(1, round(_FULL * value / longest))
            colour = "var(--color-brand-content)" if name == "pyxen" else "var(--color-foreground-muted)"
            lines.append(f'<text x="{_LABEL - 8}" y="{y + 14}" text-anchor="end">{name}</text>')
            lines.append(f'<rect x="{_LABEL}" y="{y + 3}" width="{width}" height="{_ROW - 7}" fill="{colour}"/>')
            lines.append(f'<text x="{_LABEL + width + 8}" y="{y + 14}">{value:g}</text>')
            y += _ROW
        y += _GAP - _ROW
    said = "; ".join(f"{group.title}: {_in_words(group)}" for group in groups())
    head = f'<svg class="plot" role="img" viewBox="0 0 {_WIDTH} {y}" xmlns="http://www.w3.org/2000/svg">'
    return "\n".join([head, f"<title>{said}</title>", *lines, "</svg>"]) + "\n"


def main() -> int:
    """Write the plot."""
    PLOT.parent.mkdir(exist_ok=True)
    PLOT.write_text(plot())
    return 0


if __name__ == "__main__":
    sys.exit(main())
