"""Other toolstacks on the host, and what xm and xend have left."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Final

from pyxen import xlcfg
from pyxen.doctor.facts import Facts
from pyxen.doctor.report import Finding, Severity
from pyxen.doctor.surroundings import Surroundings

__all__ = ["others"]

_AUTO: Final = "/etc/xen/auto"
_XEND: Final = ("/etc/xen/xend-config.sxp", "/etc/xen/xend-pci-permissive.sxp", "/etc/xen/xend-pci-quirks.sxp")
_WANTS: Final = "/etc/systemd/system/multi-user.target.wants"
_RUNLEVELS: Final = ("/etc/rc2.d", "/etc/rc3.d")
_AT_START: Final = re.compile(r"S\d\dxendomains")
_PYTHON: Final = re.compile(r"^(?:import|from|def|if|for|print|try)\b", re.MULTILINE)
"""Lines of Python, which xm ran in its configurations, and xl does not."""

_MOST_FILES: Final = 200


def others(around: Surroundings, facts: Facts) -> Iterator[Finding]:
    """Examine which other toolstacks run, and which files of xm and xend are left."""
    processes = around.processes()
    yield from _xend(around, processes)
    for name in ("libvirtd", "virtxend"):
        if facts.is_dom0 and name in processes:
            message = f"{name} runs (pid {processes[name]}): domains may be libvirt's, too."
            remedy = "Change such domains through libvirt only: pyxen --uri xen:///system"
            yield Finding("libvirt", Severity.NOTE, message, remedy)
            break
    yield from _at_start(around)
    yield from _old_files(around)


def _at_start(around: Surroundings) -> Iterator[Finding]:
    """Examine what starts guests with the host."""
    wanted = around.names(_WANTS)
    ours = "pyxen-autostart.service" in wanted
    scripts = [name for folder in _RUNLEVELS for name in around.names(folder) if _AT_START.fullmatch(name)]
    theirs = "xendomains.service" in wanted or bool(scripts)
    count = len(around.names(_AUTO))
    if ours and theirs:
        message = (
            "xendomains and pyxen-autostart both start with the host: whichever is second stops what the first began."
        )
        yield Finding("xendomains", Severity.WARNING, message, "systemctl disable xendomains")
    elif ours or theirs:
        name = "pyxen-autostart" if ours else "xendomains"
        message = f"{name} starts and stops guests with the host; configurations in {_AUTO}: {count}."
        yield Finding("xendomains", Severity.OK, message)
    elif count:
        message = f"{_AUTO} has configurations, but neither xendomains nor pyxen-autostart starts with the host."
        remedy = "systemctl enable xendomains, or pyxen-autostart: see pyxen.autostart"
        yield Finding("xendomains", Severity.WARNING, message, remedy)


def _xend(around: Surroundings, processes: Mapping[str, int]) -> Iterator[Finding]:
    pid = processes.get("xend")
    if pid is None:
        scripts = [pid for name, pid in processes.items() if name.startswith("python")]
        pid = next((each for each in scripts if around.runs_script(each, "xend")), None)
    if pid is not None:
        message = f"xend runs (pid {pid}): it and libxl do not know of each other's domains."
        remedy = "Stop it and keep it from starting: /etc/init.d/xend stop. TOOLSTACK=xl in /etc/default/xen (Debian)."
        yield Finding("xend", Severity.ERROR, message, remedy)
    elif found := around.first(*_XEND):
        message = f"{found} is a file of xend, which Xen 4.5 removed: nothing reads it."
        yield Finding("xend", Severity.NOTE, message, "What it set for xl is in /etc/xen/xl.conf now. Remove the file.")


def _old_files(around: Surroundings) -> Iterator[Finding]:
    """Look for configurations that xm would have run as Python, or that xl refuses."""
    files = [f"/etc/xen/{name}" for name in around.names("/etc/xen") if name.endswith((".cfg", ".sxp", ".hvm"))]
    files += [f"{_AUTO}/{name}" for name in around.names(_AUTO)]
    old, outdated, read = [], [], 0
    for path in files[:_MOST_FILES]:
        text = around.read(path)
        if text is None or path in _XEND:
            continue
        read += 1
        severities = {found.severity for found in xlcfg.lint(text)}
        if path.endswith(".sxp") or _PYTHON.search(text) or "error" in severities:
            old.append(path)
        elif "note" in severities:
            outdated.append(path)
    if old:
        message = f"xl refuses these configurations, which xm may have taken: {', '.join(old)}."
        yield Finding("xm-files", Severity.WARNING, message, f"pyxen lint {' '.join(old)} says what to change.")
    elif outdated:
        message = f"These configurations have settings of xm: {', '.join(outdated)}."
        yield Finding("xm-files", Severity.NOTE, message, f"pyxen lint {' '.join(outdated)} has their modern form.")
    elif read:
        yield Finding("xm-files", Severity.OK, f"xl takes all configurations in /etc/xen ({read}).")
