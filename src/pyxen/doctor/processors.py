"""What the processors and the firmware allow: HVM, HAP and IOMMU."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from pyxen.doctor.facts import Facts
from pyxen.doctor.report import Finding, Severity
from pyxen.doctor.surroundings import Surroundings
from pyxen.records.capabilities import HostCapability

__all__ = ["processors"]

_BIOS: Final = "Enable virtualization (VT-x, AMD-V, SVM) in the firmware's settings."
_NESTED: Final = "This is a virtual machine: enable nested virtualization where it runs."
_IOMMU_BIOS: Final = "Enable VT-d or AMD-Vi in the firmware's settings."
_TABLES: Final = "/sys/firmware/acpi/tables"


def processors(around: Surroundings, facts: Facts) -> Iterator[Finding]:
    """Examine HVM, HAP and IOMMU: as Xen sees them, and without Xen as the kernel does."""
    if facts.host is not None and facts.host.capabilities is not None:
        yield from _as_xen_sees(facts.host.capabilities)
    elif not facts.on_xen:
        yield from _as_linux_sees(around)
    # Under Xen, dom0's kernel does not see the features of the processors, so that it has nothing to say of them.


def _as_xen_sees(can: frozenset[HostCapability]) -> Iterator[Finding]:
    if HostCapability.HVM in can:
        yield Finding("hvm", Severity.OK, "Xen runs HVM and PVH guests.")
    else:
        message = "Xen runs PV guests only: the processors cannot do HVM, or it is disabled."
        yield Finding("hvm", Severity.WARNING, message, _BIOS)
        return
    if HostCapability.HAP in can:
        yield Finding("hap", Severity.OK, "Xen uses hardware-assisted paging (HAP).")
    else:
        message = "There is no hardware-assisted paging (HAP): HVM and PVH guests are slow."
        yield Finding("hap", Severity.NOTE, message, "Look for hap=0 on Xen's command line; old processors lack it.")
    if HostCapability.HVM_DIRECTIO in can:
        yield Finding("iommu", Severity.OK, "There is an IOMMU: HVM guests can have PCI devices.")
    else:
        message = "There is no IOMMU: HVM guests cannot have PCI devices."
        yield Finding("iommu", Severity.NOTE, message, f"{_IOMMU_BIOS} Look for iommu=0 on Xen's command line.")


def _as_linux_sees(around: Surroundings) -> Iterator[Finding]:
    text = around.read("/proc/cpuinfo") or ""
    flags = set((re.search(r"^flags\s*:(.*)$", text, re.MULTILINE) or ["", ""])[1].split())
    if not flags:
        yield Finding("hvm", Severity.NOTE, "The kernel does not say what the processors can do.")
    elif flags & {"vmx", "svm"}:
        yield Finding("hvm", Severity.OK, "The processors can run HVM and PVH guests (vmx or svm).")
    else:
        message = "The processors have neither vmx nor svm: Xen could run PV guests only."
        yield Finding("hvm", Severity.WARNING, message, _NESTED if "hypervisor" in flags else _BIOS)
    if flags & {"ept", "npt"}:
        yield Finding("hap", Severity.OK, "The processors have hardware-assisted paging (ept or npt).")
    tables = [name for name in around.names(_TABLES) if name.startswith(("DMAR", "IVRS"))]
    if tables:
        yield Finding("iommu", Severity.OK, f"The firmware describes an IOMMU ({', '.join(tables)}).")
    else:
        yield Finding("iommu", Severity.NOTE, "The firmware describes no IOMMU.", _IOMMU_BIOS)
