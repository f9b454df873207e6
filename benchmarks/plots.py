"""``python3 -m benchmarks.plots``: draw the figures of the page on performance from what was measured before.

It measures nothing: it reads offhost.json and GROWTH.md, and writes an SVG for light pages and one for dark ones into
docs/figures. It needs matplotlib: ``pip install --group benchmarks``.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import matplotlib as mpl
from cycler import cycler
from matplotlib import pyplot as plt

from benchmarks.offhost_tables import HERE, KEPT, cheapest

FIGURES: Final = HERE.parent / "docs" / "figures"

_THEMES: Final = {"light": ("#1f2328", "#0969da"), "dark": ("#d1d7e0", "#58a6ff")}
"""Colours of text and lines, and of pyxen, on a page of either kind."""

_OTHERS: Final = {"light": ("#8a8f98", "#bc4c00", "#57606a"), "dark": ("#8b949e", "#f0883e", "#b1bac4")}
"""Colours of the others."""


def main() -> int:
    """Draw all figures."""
    for theme in _THEMES:
        for name, draw in PLOTS.items():
            with mpl.rc_context(_style(theme)):
                figure, axes = plt.subplots(figsize=(6.4, 3.6), layout="constrained")
                draw(axes)
                axes.legend(frameon=False)
                axes.spines[["top", "right"]].set_visible(False)
                # Without a date, so that the same figures give the same file.
                figure.savefig(FIGURES / f"{name}-{theme}.svg", transparent=True, metadata={"Date": None})
                plt.close(figure)
    return 0


def _style(theme: str) -> dict[str, Any]:
    text, own = _THEMES[theme]
    lines = dict.fromkeys(("text.color", "axes.edgecolor", "axes.labelcolor", "xtick.color", "ytick.color"), text)
    cycle = cycler(color=[own, *_OTHERS[theme]])
    return {**lines, "axes.prop_cycle": cycle, "svg.hashsalt": "pyxen", "font.size": 10, "svg.fonttype": "none"}


def _lists(axes: Any) -> None:
    """Draw the cost of a list against the number of domains."""
    times = json.loads(KEPT.read_text())["lists"]["times"]
    domains = [int(number) for number in times]
    for contender, label in {
        "later": "pyxen, later lists", "C": "C on libxl", "xl list": "xl list", "first": "pyxen, first list",
    }.items():  # fmt: skip
        spent = [cheapest(rounds[contender])[0] * 1000 for rounds in times.values()]
        axes.plot(domains, spent, marker="o", label=label, linestyle="--" if contender == "first" else "-")
    axes.set(xscale="log", yscale="log", xlabel="domains", ylabel="CPU time (ms)")


def _creates(axes: Any) -> None:
    """Draw what a create takes by others, as a multiple of pyxen's, against the number of domains."""
    rows = _growth("create: C / pyxen")
    domains = [int(row["domains"]) for row in rows]
    axes.plot(domains, [1.0] * len(domains), marker="o", label="pyxen")
    axes.plot(domains, [float(row["create: C / pyxen"]) for row in rows], marker="o", label="C on libxl")
    axes.plot(domains, [float(row["xl / pyxen"]) for row in rows], marker="o", label="xl create")
    axes.set(ylim=(0, None), xlabel="domains", ylabel="a create, as a multiple of pyxen's")


def _growth(column: str) -> list[dict[str, str]]:
    """Return the rows of the table of GROWTH.md that has a column."""
    lines = Path(HERE, "GROWTH.md").read_text().splitlines()
    head = next(number for number, line in enumerate(lines) if column in line)
    names = _cells(lines[head])
    rows = []
    for line in lines[head + 2 :]:
        if not line.startswith("|"):
            break
        rows.append(dict(zip(names, _cells(line), strict=True)))
    return rows


def _cells(line: str) -> list[str]:
    return [cell.strip() for cell in re.split(r"\|", line.strip().strip("|"))]


def _workers(axes: Any) -> None:
    """Draw the time of 32 creates and destroys at once against the number of workers."""
    for cpus, rounds in json.loads(KEPT.read_text())["workers"]["times"].items():
        numbers = [int(number) for number in rounds]
        least = [min(map(sum, times)) * 1000 for times in rounds.values()]
        axes.plot(numbers, least, marker="o", label=f"{cpus} CPU{'s' * (cpus != '1')}")
    axes.set(ylim=(0, None), xlabel="workers", ylabel="32 creates and destroys (ms)")


PLOTS: Final[dict[str, Callable[[Any], None]]] = {
    "growth-lists": _lists,
    "growth-creates": _creates,
    "workers": _workers,
}

if __name__ == "__main__":
    sys.exit(main())
