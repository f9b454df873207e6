"""Where guests' disks can be, and the space for saved domains and core dumps."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from pyxen.doctor.facts import Facts
from pyxen.doctor.report import Finding, Severity
from pyxen.doctor.surroundings import Surroundings
from pyxen.errors import Error
from pyxen.storage.reports import OPTIONS, Row, read_log, read_report

__all__ = ["disks"]

_XEN: Final = "/var/lib/xen"
_KIB_PER_GIB: Final = 1 << 20
_LITTLE: Final = 2 * _KIB_PER_GIB
"""Free space that is little: a saved domain is as large as its memory."""


def disks(around: Surroundings, facts: Facts) -> Iterator[Finding]:
    """Examine volume groups, qemu-img, and the space in /var/lib/xen."""
    yield from _groups(around)
    if around.program("qemu-img") is None:
        message = "qemu-img is not installed: images in qcow2 cannot be made or looked at."
        yield Finding("qemu-img", Severity.NOTE, message, "On Debian, apt install qemu-utils")
    if not (facts.is_dom0 or around.exists(_XEN)):
        return
    free = around.free_kib(_XEN)
    if free is None:
        message = f"{_XEN} is missing: domains cannot be saved, and device models have no place for their sockets."
        yield Finding("space", Severity.WARNING, message, f"mkdir -m 755 {_XEN} {_XEN}/save {_XEN}/dump")
        return
    said = f"{free / _KIB_PER_GIB:.1f} GiB are free for saved domains and core dumps in {_XEN}."
    if free >= _LITTLE:
        yield Finding("space", Severity.OK, said)
    else:
        remedy = f"Remove old files in {_XEN}/save and {_XEN}/dump, or mount a larger file system there."
        yield Finding("space", Severity.WARNING, said, remedy)


def _groups(around: Surroundings) -> Iterator[Finding]:
    if around.program("vgs") is None:
        message = "LVM is not installed: guests' disks can be files only."
        yield Finding("volume-groups", Severity.NOTE, message, "For volumes: apt install lvm2 (Debian)")
        return
    try:
        output = around.run("vgs", *OPTIONS, "-o", "vg_name,vg_size,vg_free", package="lvm2")
        rows = read_report(output.stdout, "vg") if output.status == 0 else []
    except Error as error:
        yield Finding("volume-groups", Severity.WARNING, f"LVM does not answer: {error.message}")
        return
    if output.status != 0:
        words = [*read_log(output.stdout), *output.stderr.splitlines()]
        said = next((line.strip() for line in reversed(words) if line.strip()), "vgs refused without a word")
        message = f"The volume groups cannot be listed: {said}"
        yield Finding("volume-groups", Severity.NOTE, message, "LVM answers root only.")
    elif rows:
        known = ", ".join(f"{row.get('vg_name')} ({_gib(row)} GiB free)" for row in rows)
        yield Finding("volume-groups", Severity.OK, f"There are volume groups: {known}.")
    else:
        message = "There is no volume group; or this user may not see it: LVM shows devices to root only."
        remedy = "On an empty disk or partition: vgcreate vg0 /dev/DISK"
        yield Finding("volume-groups", Severity.NOTE, message, remedy)


def _gib(row: Row) -> str:
    free = row.get("vg_free", "")
    return f"{int(free) / (1 << 30):.1f}" if free.isdecimal() else "?"
