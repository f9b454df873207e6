"""``pyxen doctor``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import typer

from pyxen.cli.files import write
from pyxen.cli.options import AsJson
from pyxen.cli.output import document, lines, table
from pyxen.cli.session import told

__all__ = ["COMMANDS", "doctor"]

_UNHEALTHY = 1


def doctor(*, as_json: AsJson = False) -> None:
    """Examine what this machine has and lacks to run domains, and say what to do about it.

    It looks at Xen, dom0, privileges, pyxen's extension, Xen's daemons and devices, HVM, HAP, IOMMU, memory, bridges,
    volume groups, the device model, pygrub, loaders and firmware, GRUB's default entry, other toolstacks, disk space,
    and files of xm and xend. It changes nothing, and is about this machine whatever --uri says.

    The exit status is 0 if domains can be run here, with or without warnings, and 1 if there are errors.

    Example: pyxen doctor --json

    JSON: a Report of pyxen.doctor, with healthy.
    """
    from pyxen.doctor import Severity, examine

    with told():
        report = examine()
    if as_json:
        document(report.to_dict() | {"healthy": report.healthy})
    else:
        table(["", "About", "Found"], [(each.severity, each.id, each.found) for each in report.findings])
        what_to_do = [each for each in report.findings if each.remedy and each.severity is not Severity.OK]
        for severity in reversed(Severity):
            for each in what_to_do:
                if each.severity is severity and each.remedy:
                    indented = lines(each.remedy).replace("\n", "\n    ")
                    write(f"\n{severity} {each.id}:\n    {indented}\n")
        write("\nThis works here:\n" + "".join(f"    {each}\n" for each in report.works))
    raise typer.Exit(0 if report.healthy else _UNHEALTHY)


COMMANDS: Final[dict[str, Callable[..., None]]] = {"doctor": doctor}
"""The command of this module by name."""
