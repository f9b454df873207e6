"""The tables of RESULTS.md."""

from __future__ import annotations

import datetime as dt
import os
import platform
import re
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.measure import interval
from lab import Lab

__all__ = ["HEAD", "machine", "tables"]

LIST_AT_LEAST = 10.0
"""How many times faster than the process ``xl list`` a list must be, at 50 domains."""
STATS_AT_LEAST = 10.0
"""How many times faster than the process ``xentop -b -i 1`` the statistics of 300 domains must be."""
CREATE_AT_MOST = 1.10
"""How many times as long as the same calls from C a create and a destroy may take together."""
COMMAND_AT_MOST = 1.5
"""How many times as long as ``xl list`` the process ``pyxen list`` may take."""
SUPERVISED_AT_MOST = 64 * 1024
"""How many bytes of memory a supervised domain may cost."""
MANY_AT_LEAST = 1.5
"""How many times as fast as ``xl`` one after the other the creates and destroys of many guests at once must be."""
TAKE_AT_LEAST = 20.0
"""How many times as fast as a create and a boot a take from a pool must be."""
LIBVIRT_AT_MOST = 1.3
"""How many times as long as bare libvirt-python pyxen's libvirt backend may take."""

HEAD = """\
# Benchmarks

Written by `make bench`. Milliseconds are those of an emulated machine, and mean little; the ratios are the result.
In each round every contender has one turn. Times are medians; a ratio is the median of the rounds' ratios, with the
bounds between which it lies with 95 % confidence.
"""


def machine(dom0: Lab) -> str:
    """Describe what was measured on, and when."""
    model = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    qemu = subprocess.run(
        ["qemu-system-x86_64", "--version"], check=True, capture_output=True, text=True, timeout=600
    ).stdout
    xen = dom0.run(["xl", "info", "xen_version"], check=True).stdout.strip()
    python = dom0.run(["python3", "-c", "import platform; print(platform.python_version())"], check=True).stdout.strip()
    processor = model[1] if model else platform.machine()
    how = "software emulation" if dom0.accelerator == "tcg" else "KVM"
    return (
        f"{dt.datetime.now(dt.UTC):%Y-%m-%d}: Xen {xen}, Python {python} in dom0 (Debian "
        f"{dom0.release.suite}), by {how} ({qemu.split('(')[0].strip()}) on {os.cpu_count()} CPUs, "
        f"{processor}. Load of the machine when done: {os.getloadavg()[1]:.1f}."
    )


Times = dict[str, list[list[float]]]
"""For each contender, for each round, the seconds that the parts took."""


def tables(
    lists: list[dict[str, Any]],
    stats: list[dict[str, Any]],
    creates: Times,
    many: Times,
    events: dict[str, list[float]],
    supervised: dict[str, float],
    pool: dict[str, Times],
    hotplug: dict[str, Times],
    ways: dict[str, Times],
    command: dict[str, list[float]],
    *,
    go: Mapping[str, str],
) -> tuple[str, bool]:
    """Return the tables, and whether what is required holds.

    `go` is what is to be said of Xen's Go binding, in ``host_list`` and in ``create_destroy``.
    """
    fifty = next(item["times"] for item in lists if item["domains"] == 50)
    faster = ratio(fifty["xl"], fifty["later"])
    three_hundred = next(item["times"] for item in stats if item["domains"] == 300)
    seen = ratio(three_hundred["xentop"], three_hundred["all"])
    total = {name: sums(rounds) for name, rounds in creates.items()}
    longer = ratio(total["pyxen"], total["c"])
    lot = {name: sums(rounds) for name, rounds in many.items()}
    in_turn, at_once = ratio(lot["xl"], lot["one"]), ratio(lot["xl"], lot["workers"])
    parallel = ratio(lot["xl_at_once"], lot["workers"])
    taken = ratio(sums(pool["take"]["create"]), sums(pool["take"]["take"]))
    cloned = ratio(sums(pool["clone"]["xl"]), sums(pool["clone"]["clone"]))
    plugged = {what: ratio(sums(times["xl"]), sums(times["pyxen"])) for what, times in hotplug.items()}
    beyond = {what: ratio(sums(times["libvirt"]), sums(times["bare"])) for what, times in ways.items()}
    listed = ratio(command["pyxen"], command["xl"])
    required = [
        (
            faster[0] >= LIST_AT_LEAST,
            f"at 50 domains at least {LIST_AT_LEAST:.0f} times as fast as `xl list`: {show(faster)}",
        ),
        (
            seen[0] >= STATS_AT_LEAST,
            f"statistics of 300 domains at least {STATS_AT_LEAST:.0f} times as fast as `xentop`: {show(seen)}",
        ),
        (
            longer[0] <= CREATE_AT_MOST,
            f"create and destroy at most {CREATE_AT_MOST:.2f} times as long as from C: {show(longer)}",
        ),
        (in_turn[0] > 1, f"many guests, one after the other: faster than `xl` so: {show(in_turn)}"),
        (parallel[0] > 1, f"many guests at once: faster than `xl` in parallel: {show(parallel)}"),
        (
            at_once[0] >= MANY_AT_LEAST,
            f"many guests at once at least {MANY_AT_LEAST} times as fast as `xl` one after the other: {show(at_once)}",
        ),
        (
            supervised["pyxen"] <= SUPERVISED_AT_MOST,
            f"a supervised domain costs at most {SUPERVISED_AT_MOST // 1024} KiB: {kib(supervised['pyxen'])}",
        ),
        (listed[0] <= COMMAND_AT_MOST, f"`pyxen list` takes at most {COMMAND_AT_MOST} of `xl list`: {show(listed)}"),
        (
            taken[0] >= TAKE_AT_LEAST,
            f"a take from a pool at least {TAKE_AT_LEAST:.0f} times as fast as a create and a boot: {show(taken)}",
        ),
        (cloned[0] > 1, f"clones faster than `xl restore`, one after the other: {show(cloned)}"),
        *(
            (times[0] > 1, f"attach and detach of a {what} faster than `xl`: {show(times)}")
            for what, times in plugged.items()
        ),
        *(
            (times[0] <= LIBVIRT_AT_MOST, f"{what}: at most {LIBVIRT_AT_MOST} of bare libvirt-python: {show(times)}")
            for what, times in beyond.items()
        ),
    ]
    lines = [
        "## `Host.list()`, with names",
        "",
        "Against a C program (`libxl_list_domain`, `libxl_domid_to_name`) and against the process `xl list`.",
        "The first list over a connection reads all names. It and the next ones begin to watch them; when all are",
        "watched, a list asks only whether one changed.",
        *_paragraph(go["host_list"]),
        "",
        *_list_table(lists),
        "",
        "## `Host.stats()`",
        "",
        "Against `Domain.stats()` of each domain, and against the process `xentop -b -i 1`. The few have a disk and a",
        "vif each, the many have no devices.",
        "",
        *_stats_table(stats),
        "",
        "## Create and destroy: a minimal PVH guest, paused, without devices",
        "",
        "Against a C program that makes the same calls, and against `xl create -p` and `xl destroy`. In a round each",
        "goes on for eleven times, of which the first does not count and the median of the others does: what a program",
        "meets that creates many domains.",
        *_paragraph(go["create_destroy"]),
        "",
        *_create_table(creates, total),
        "",
        "## Sixteen of them",
        "",
        "One after the other and at once, from one process, and by `xl`, of which four processes run at once. Where",
        "nothing else is said pyxen has its one worker process.",
        "",
        *_many_table(many, lot),
        "",
        "## Events",
        "",
        "From the start of `xl destroy`: until xenstored says that some domain is gone (`xenstore-watch`), until",
        "pyxen's `DomainDestroyed` is read, and until `xl destroy` itself has ended.",
        "",
        "| xenstored | event | `xl destroy` | event / xenstored | event / `xl destroy` |",
        "|--:|--:|--:|--:|--:|",
        _events_row(events),
        "",
        f"{len(events['event'])} rounds.",
        "",
        "## Supervised domains",
        "",
        "Private memory for each: of pyxen's one supervisor, and of the process that `xl` keeps.",
        "",
        "| pyxen | xl | xl / pyxen |",
        "|--:|--:|--:|",
        _supervised_row(supervised),
        "",
        *pool_section(pool),
        *hotplug_section(hotplug),
        "## Ways to a host",
        "",
        "A hundred domains listed, and one more created and destroyed. All are libvirt's, which lists no others. Bare",
        "libvirt-python asks for what `Host.list()` tells.",
        "",
        *_ways_table(ways),
        "",
        "## The command",
        "",
        "Processes that list ten domains, into a pipe. No program in Python takes less than Python that does nothing.",
        "",
        *_command_table(command),
        "",
        "## Required",
        "",
        *(f"- {'holds' if holds else 'MISSED'}: {what}" for holds, what in required),
    ]
    return "\n".join(lines) + "\n", all(holds for holds, _ in required)


def _paragraph(text: str) -> list[str]:
    return ["", text] if text else []


def _list_table(lists: list[dict[str, Any]]) -> list[str]:
    go = all("go" in item["times"] for item in lists)
    head = "| domains | first | second | later | C | `xl list` | C / later | C / first | xl / later | xl / first |"
    rows = [head + " Go | Go / later | Go / first |" * go, "|--:" * (13 if go else 10) + "|"]
    for item in lists:
        times = item["times"]
        cells = [milliseconds(times[name]) for name in ("first", "second", "later", "c", "xl")]
        cells += [show(ratio(times[a], times[b])) for a in ("c", "xl") for b in ("later", "first")]
        if go:
            cells += [milliseconds(times["go"]), *(show(ratio(times["go"], times[b])) for b in ("later", "first"))]
        rows.append(f"| {item['domains']} | {' | '.join(cells)} |")
    return rows


def _stats_table(stats: list[dict[str, Any]]) -> list[str]:
    rows = [
        "| domains | all at once | each | `xentop` | each / all at once | `xentop` / all at once |",
        "|--:" * 6 + "|",
    ]
    for item in stats:
        times = item["times"]
        cells = [milliseconds(times[name]) for name in ("all", "each", "xentop")]
        cells += [show(ratio(times[name], times["all"])) for name in ("each", "xentop")]
        rows.append(f"| {item['domains']} | {' | '.join(cells)} |")
    return rows


def _create_table(creates: dict[str, list[list[float]]], total: dict[str, list[float]]) -> list[str]:
    parts = {"create": 0, "destroy": 1}
    go = "go" in creates
    head = "| | pyxen | C | xl | pyxen / C | xl / pyxen |" + " Go | Go / pyxen |" * go
    rows = [head, "|---" + "|--:" * (7 if go else 5) + "|"]
    for label in (*parts, "both"):
        times = {
            name: total[name] if label == "both" else [round_[parts[label]] for round_ in rounds]
            for name, rounds in creates.items()
        }
        cells = [milliseconds(times[name]) for name in ("pyxen", "c", "xl")]
        cells += [show(ratio(times["pyxen"], times["c"])), show(ratio(times["xl"], times["pyxen"]))]
        if go:
            cells += [milliseconds(times["go"]), show(ratio(times["go"], times["pyxen"]))]
        rows.append(f"| {label} | {' | '.join(cells)} |")
    return [*rows, "", f"{len(total['pyxen'])} rounds."]


def _many_table(many: Times, lot: dict[str, list[float]]) -> list[str]:
    labels = {
        "one": "pyxen, one after the other",
        "at_once": "pyxen, at once",
        "workers": "pyxen, at once, `workers=2`",
        "xl": "`xl`, one after the other",
        "xl_at_once": "`xl`, at once",
    }
    rows = ["| | create | destroy | both | `xl` one after the other / this |", "|---" + "|--:" * 4 + "|"]
    for name, label in labels.items():
        cells = [milliseconds([parts[part] for parts in many[name]]) for part in (0, 1)]
        rows.append(
            f"| {label} | {' | '.join(cells)} | {milliseconds(lot[name])} | {show(ratio(lot['xl'], lot[name]))} |"
        )
    return [*rows, "", f"{len(lot['xl'])} rounds."]


def _events_row(events: dict[str, list[float]]) -> str:
    cells = [milliseconds(events[name]) for name in ("xenstored", "event", "xl")]
    cells += [show(ratio(events["event"], events[name])) for name in ("xenstored", "xl")]
    return f"| {' | '.join(cells)} |"


def _supervised_row(supervised: dict[str, float]) -> str:
    times = supervised["xl"] / max(1.0, supervised["pyxen"])
    return f"| {kib(supervised['pyxen'])} | {kib(supervised['xl'])} | {times:.0f} |"


def pool_section(pool: dict[str, Times]) -> list[str]:
    """Return the section about pools and clones."""
    take, clone = pool["take"], pool["clone"]
    rows = ["| | create and boot | take | create and boot / take |", "|---" + "|--:" * 3 + "|"]
    for label, more in (("no devices", ""), ("a vif", ", with a vif")):
        created, taken = sums(take[f"create{more}"]), sums(take[f"take{more}"])
        rows.append(f"| {label} | {milliseconds(created)} | {milliseconds(taken)} | {show(ratio(created, taken))} |")
    cloned, restored = sums(clone["clone"]), sums(clone["xl"])
    return [
        "## Guests that are ready, and clones",
        "",
        "From nothing until the userspace of a small Linux runs, against `Pool.take` of one that was restored ahead.",
        "",
        *rows,
        "",
        f"{len(take['take'])} rounds. Then six clones of a saved guest with a disk, by `Host.clone`, and by `qemu-img`",
        "and `xl restore`, one after the other.",
        "",
        "| `Host.clone` | `xl restore` | xl / pyxen |",
        "|--:|--:|--:|",
        f"| {milliseconds(cloned)} | {milliseconds(restored)} | {show(ratio(restored, cloned))} |",
        "",
        f"{len(clone['clone'])} rounds.",
        "",
    ]


def hotplug_section(hotplug: dict[str, Times]) -> list[str]:
    """Return the section about devices that come to a running guest and go."""
    rows = ["| | pyxen | `xl` | xl / pyxen |", "|---" + "|--:" * 3 + "|"]
    for what, times in hotplug.items():
        for part, label in enumerate(("attach", "detach")):
            ours, theirs = ([each[part] for each in times[name]] for name in ("pyxen", "xl"))
            rows.append(
                f"| {label} a {what} | {milliseconds(ours)} | {milliseconds(theirs)} | {show(ratio(theirs, ours))} |"
            )
    return [
        "## Devices that come and go",
        "",
        "A disk and a vif of a running Linux guest, whose drivers must give them back; both run their hotplug scripts.",
        "",
        *rows,
        "",
        f"{len(hotplug['disk']['xl'])} rounds.",
        "",
    ]


def _ways_table(ways: dict[str, Times]) -> list[str]:
    labels = {
        "xenlight": "pyxen, `xenlight:///`",
        "libvirt": "pyxen, `xen:///system`",
        "bare": "libvirt-python",
        "virsh": "`virsh`",
        "xl": "`xl`",
    }
    head = "".join(f" {what} | `xl` / this |" for what in ways)
    rows = [f"| |{head}", "|---" + "|--:" * 2 * len(ways) + "|"]
    for name, label in labels.items():
        seconds = {what: sums(times[name]) for what, times in ways.items()}
        cells = [
            cell
            for what, times in ways.items()
            for cell in (milliseconds(seconds[what]), show(ratio(sums(times["xl"]), seconds[what])))
        ]
        rows.append(f"| {label} | {' | '.join(cells)} |")
    return [*rows, "", f"{len(next(iter(ways.values()))['xl'])} rounds."]


def _command_table(command: dict[str, list[float]]) -> list[str]:
    labels = {
        "xl": "`xl list`",
        "pyxen": "`pyxen list`",
        "module": "`python3 -m pyxen list`",
        "json": "`pyxen list --json`",
        "python": "`python3 -c pass`",
    }
    rows = ["| | takes | this / `xl list` |", "|---|--:|--:|"]
    rows += [
        f"| {label} | {milliseconds(command[name])} | {show(ratio(command[name], command['xl']))} |"
        for name, label in labels.items()
    ]
    return [*rows, "", f"{len(command['xl'])} rounds."]


def sums(rounds: list[list[float]]) -> list[float]:
    """Return how long each round took, in all its parts."""
    return [sum(parts) for parts in rounds]


def kib(size: float) -> str:
    """Write an amount of memory."""
    return f"{size / 1024:.1f} KiB"


def ratio(these: Sequence[float], those: Sequence[float]) -> tuple[float, float, float]:
    """Return how many times as long these took as those in the same rounds: median and bounds."""
    return interval([a / b for a, b in zip(these, those, strict=True)])


def show(value: tuple[float, float, float]) -> str:
    """Write a ratio with its bounds."""
    digits = 2 if value[0] < 10 else 0
    return f"{value[0]:.{digits}f} ({value[1]:.{digits}f} to {value[2]:.{digits}f})"


def milliseconds(seconds: Sequence[float]) -> str:
    """Write the median of some times."""
    value = 1000 * interval(list(seconds))[0]
    return f"{value:.{2 if value < 10 else 0}f} ms"
