"""pyxen's extension and Xen's tools: whether they are of the release that runs."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from pyxen.doctor.facts import Facts
from pyxen.doctor.report import Finding, Severity
from pyxen.doctor.surroundings import Surroundings

__all__ = ["extension", "libraries", "tool_releases"]

_FOLDERS: Final = ("/usr/lib", "/usr/lib64", "/usr/local/lib", "/usr/local/lib64")
_LIBRARY: Final = re.compile(r"libxenlight\.so\.(\d+\.\d+)$")
_TOOLS: Final = re.compile(r"xen-(\d+\.\d+)$")


def libraries(around: Surroundings) -> list[str]:
    """Return the Xen releases whose libxl is installed, oldest first."""
    found = set()
    for folder in _FOLDERS:
        names = around.names(folder)
        below = [f"{folder}/{name}" for name in names if name.endswith(("-linux-gnu", "-linux-gnueabihf"))]
        for name in (*names, *(each for path in below for each in around.names(path))):
            if match := _LIBRARY.match(name):
                found.add(match[1])
    return sorted(found, key=_numbers)


def tool_releases(around: Surroundings) -> list[str]:
    """Return the Xen releases whose tools are installed as Debian does it, oldest first."""
    found = {
        match[1]
        for match in map(_TOOLS.match, around.names("/usr/lib"))
        if match and around.exists(f"/usr/lib/xen-{match[1]}/bin/xl")
    }
    return sorted(found, key=_numbers)


def _numbers(release: str) -> tuple[int, ...]:
    return tuple(map(int, release.split(".")))


def extension(around: Surroundings, facts: Facts) -> Iterator[Finding]:
    """Examine the extension, and the releases of Xen's libraries."""
    built, there = around.releases, libraries(around)
    said = f"The extension is built for Xen {', '.join(built)}" if built else "The extension is not built"
    said += f"; the libraries of Xen {', '.join(there)} are installed." if there else "; no libxl is installed."
    wanted = facts.release
    matters = Severity.ERROR if facts.is_dom0 else Severity.NOTE
    rebuild = (
        "Install Xen's headers (Debian: libxen-dev), then PYXEN_XENLIGHT=require pip install --force-reinstall "
        "--no-deps --no-cache-dir pyxen"
    )
    if not built:
        yield Finding("extension", matters, said, rebuild)
    elif facts.is_dom0 and wanted is not None and wanted not in built:
        yield Finding("extension", Severity.ERROR, f"{said} Xen {wanted} runs.", rebuild)
    elif facts.is_dom0 and (reason := around.can_load(wanted)) is not None:
        yield Finding("extension", Severity.ERROR, f"{said} It does not load.", reason)
    elif facts.is_dom0 and (reason := around.cannot_work(wanted)) is not None:
        message = f"{said} The program of its workers does not start: see workers= of connect(). {reason}"
        remedy = "Install pyxen again, on a file system that is not mounted noexec."
        yield Finding("extension", Severity.WARNING, message, remedy)
    else:
        yield Finding("extension", Severity.OK, said)
    yield from _tools(around, facts)


def _tools(around: Surroundings, facts: Facts) -> Iterator[Finding]:
    releases = tool_releases(around)
    if facts.is_dom0 and facts.release is not None and releases and facts.release not in releases:
        message = f"Xen {facts.release} runs, and the tools are those of Xen {', '.join(releases)}."
        remedy = f"Install xen-utils-{facts.release}, or reboot if Xen was upgraded since the last boot."
        yield Finding("tools", Severity.ERROR, message, remedy)
    elif releases or around.program("xl") is not None:
        said = f"Xen's tools are installed, of Xen {', '.join(releases)}." if releases else "Xen's tools are installed."
        yield Finding("tools", Severity.OK, said)
    else:
        matters = Severity.WARNING if facts.is_dom0 else Severity.NOTE
        message = "Xen's tools (xl, xenstored, xenconsoled) are not installed."
        yield Finding("tools", matters, message, "On Debian, apt install xen-system-amd64")
