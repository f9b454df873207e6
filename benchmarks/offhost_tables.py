"""The tables of OFFHOST.md, from what `benchmarks.offhost` has kept."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

__all__ = ["HERE", "KEPT", "cheapest", "page"]

HERE: Final = Path(__file__).resolve().parent
KEPT: Final = HERE / "offhost.json"

_HEAD: Final = """\
# On a pretended host

Written by `python -m benchmarks.offhost`, from `offhost.json`. Xen is pretended there, and answers at once; libxl,
xenstored and `xl` are Debian's. Other work on the machine lengthens times, but hardly CPU time: so the tables have the
least CPU time of all rounds, of the process that asks and of xenstored together, unless they say otherwise.
"""

_MIB: Final = 2**20

_RATIOS: Final = {
    "C / first": ("C", "first"),
    "C / later": ("C", "later"),
    "`xl list` / later": ("xl list", "later"),
    "`pyxen list` / `xl list`": ("pyxen list", "xl list"),
}
"""What is divided by what."""


def page(kept: dict[str, Any]) -> str:
    """Return the page."""
    lines = [_HEAD]
    for part, write in _SECTIONS.items():
        if part in kept:
            lines += [*write(kept[part]["times"]), "", f"{kept[part]['machine']}.", ""]
    return "\n".join(lines)


def cheapest(rounds: list[list[float]]) -> tuple[float, float]:
    """Return the least CPU time of all rounds, of who asks and of xenstored together, and that of xenstored."""
    least = min(rounds, key=lambda costs: costs[1] + costs[2])
    return least[1] + least[2], least[2]


def _milliseconds(rounds: list[list[float]]) -> str:
    total, of_xenstored = cheapest(rounds)
    return f"{total * 1000:.2f} ({of_xenstored * 1000:.2f})"


def _lists(times: dict[str, dict[str, list[list[float]]]]) -> list[str]:
    contenders = list(next(iter(times.values())))
    lines = [
        "## Lists",
        "",
        "Milliseconds of CPU time; in parentheses those of xenstored. All domains are PVH guests.",
        "C is `benchmarks/c/list.c`. The last three are processes; `python` is one that does nothing.",
        "",
        f"| domains | {' | '.join((*contenders, *_RATIOS))} |",
        "|--:" * (len(contenders) + len(_RATIOS) + 1) + "|",
    ]
    for domains, rounds in times.items():
        spent = {name: cheapest(of)[0] for name, of in rounds.items()}
        ratios = [spent[one] / spent[other] for one, other in _RATIOS.values()]
        cells = [*map(_milliseconds, rounds.values()), *(f"{ratio:.2f}" for ratio in ratios)]
        lines.append(f"| {domains} | {' | '.join(cells)} |")
    return lines


def _events(times: dict[str, Any]) -> list[str]:
    total = sum(times["events"].values())
    before, full, after = (size / _MIB for size in times["memory"])
    return [
        "## Events",
        "",
        "A thousand domains come, get other names and go. The program that reads the events is a process of its own.",
        "",
        "| events | lost | CPU time for each | events a second | its memory before | with all domains | after |",
        "|--:" * 7 + "|",
        (
            f"| {total} | {times['events'].get('EventsLost', 0)} | {times['cpu'] / total * 1e6:.0f} µs"
            f" | {total / times['seconds']:.0f} | {before:.1f} MiB | {full:.1f} MiB | {after:.1f} MiB |"
        ),
    ]


def _memory(times: dict[str, int]) -> list[str]:
    bare, none, many = (times[name] / _MIB for name in ("python", "none", "many"))
    return [
        "## Memory",
        "",
        "What processes share with none: Python alone, and a program that has listed all domains, reads their events",
        "and supervises them.",
        "",
        "| Python | dom0 alone | a thousand domains | above Python |",
        "|--:" * 4 + "|",
        f"| {bare:.1f} MiB | {none:.1f} MiB | {many:.1f} MiB | {many - bare:.1f} MiB |",
    ]


def _workers(times: dict[str, dict[str, list[list[float]]]]) -> list[str]:
    numbers = list(next(iter(times.values())))
    lines = [
        "## Workers",
        "",
        "Milliseconds for 32 creates at once and the destroys of the domains, the least of all rounds, by the number",
        "of worker processes. With 0, the process itself calls libxl.",
        "",
        f"| CPUs | {' | '.join(numbers)} |",
        "|--:" * (len(numbers) + 1) + "|",
    ]
    for cpus, rounds in times.items():
        cells = [f"{min(map(sum, rounds[number])) * 1000:.0f}" for number in numbers]
        lines.append(f"| {cpus} | {' | '.join(cells)} |")
    return lines


_SECTIONS: Final = {"lists": _lists, "events": _events, "memory": _memory, "workers": _workers}
