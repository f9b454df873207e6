"""Memory for guests, and how much dom0 may have."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from pyxen.doctor.facts import Facts
from pyxen.doctor.report import Finding, Severity
from pyxen.doctor.surroundings import Surroundings
from pyxen.errors import Error
from pyxen.xlconf import XL_CONF, XlConf

__all__ = ["memory"]

_KIB_PER_MIB: Final = 1024
_LITTLE: Final = 128
"""MiB of free memory that are little: a small guest does not fit."""

_DOM0_MEM: Final = re.compile(r"(?:^|\s)(dom0_mem=\S+)")
_HOW: Final = (
    'Set GRUB_CMDLINE_XEN_DEFAULT="dom0_mem=2G,max:2G" in /etc/default/grub.d/xen.cfg (elsewhere: /etc/default/grub), '
    "then update-grub and reboot."
)


def memory(around: Surroundings, facts: Facts) -> Iterator[Finding]:
    """Examine the free memory of the host, and dom0's limits."""
    host, dom0 = facts.host, facts.dom0
    if host is None:
        return
    free = host.free_memory_kib // _KIB_PER_MIB
    balloons = _autoballoon(around, host.xen_commandline)
    said = f"{free} MiB of {host.memory_kib // _KIB_PER_MIB} MiB are free."
    if free >= _LITTLE:
        yield Finding("memory", Severity.OK, said)
    elif balloons:
        message = f"{said} xl takes memory from dom0 for new guests (autoballoon)."
        yield Finding("memory", Severity.NOTE, message, "pyxen does so if it is told to: connect(xl_conf=...)")
    else:
        remedy = "Give dom0 less memory: pyxen mem-set 0 1024m, or set dom0_mem; or shut a guest down."
        yield Finding("memory", Severity.WARNING, said, remedy)
    has = "" if dom0 is None else f"dom0 has {dom0.memory_kib // _KIB_PER_MIB} MiB"
    most = (
        "" if dom0 is None or dom0.maxmem_kib >= host.memory_kib else f" of at most {dom0.maxmem_kib // _KIB_PER_MIB}"
    )
    fixed = _DOM0_MEM.search(host.xen_commandline or "")
    if fixed:
        yield Finding("dom0-memory", Severity.OK, f"{has}{most}; Xen was started with {fixed[1]}.")
    elif host.xen_commandline is not None:
        message = (
            f"{has}{most}, and no dom0_mem is set: dom0 begins with all memory, and its kernel keeps tables for it."
        )
        yield Finding("dom0-memory", Severity.NOTE, message, _HOW)


def _autoballoon(around: Surroundings, command_line: str | None) -> bool:
    """Tell whether xl would take memory from dom0."""
    text = around.read(XL_CONF)
    try:
        setting = None if text is None else XlConf.loads(text, on_loss="ignore").autoballoon
    except Error:
        setting = None
    return "dom0_mem=" not in (command_line or "") if setting is None else setting
