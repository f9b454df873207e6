"""Capabilities of a host: what its processors, its firmware and its Xen allow guests to be and to do."""

from __future__ import annotations

from enum import StrEnum
from typing import Literal, TypeAlias

__all__ = ["HostCapability", "HostCapabilityName"]


class HostCapability(StrEnum):
    """A capability of a host, by the name that ``xl info`` prints under ``virt_caps``."""

    PV = "pv"
    """Run PV guests."""
    HVM = "hvm"
    """Run HVM and PVH guests: the processors have virtualization extensions, and they are enabled."""
    PV_DIRECTIO = "pv_directio"
    """Give devices to PV guests, protected by an IOMMU."""
    HVM_DIRECTIO = "hvm_directio"
    """Give devices to HVM guests: there is an IOMMU."""
    HAP = "hap"
    """Hardware-assisted paging."""
    SHADOW = "shadow"
    """Shadow paging: guests with ``hap=False``, and live migration of PV guests."""
    IOMMU_HAP_PT_SHARE = "iommu_hap_pt_share"
    """Share the page tables of hardware-assisted paging with the IOMMU."""
    VMTRACE = "vmtrace"
    """Trace what a guest's processor executes (Intel Processor Trace)."""
    VPMU = "vpmu"
    """Give guests performance counters."""
    GNTTAB_V1 = "gnttab-v1"
    """Grant tables of version 1."""
    GNTTAB_V2 = "gnttab-v2"
    """Grant tables of version 2."""


HostCapabilityName: TypeAlias = Literal[
    "pv",
    "hvm",
    "pv_directio",
    "hvm_directio",
    "hap",
    "shadow",
    "iommu_hap_pt_share",
    "vmtrace",
    "vpmu",
    "gnttab-v1",
    "gnttab-v2",
]
"""The names of the capabilities, for type checkers."""
