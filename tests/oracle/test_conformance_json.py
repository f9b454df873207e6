"""libvirt's own test data: the JSON that its driver hands to libxl is read, and written back as it was.

Where it is written otherwise, libxl itself reads the same in both.
"""

from __future__ import annotations

import json
from typing import Any

import pytest

from pyxen import libxljson
from tests.oracle.libvirt.documents import Pair, listed
from tests.oracle.libxl_json import LibxlJsonOracle
from tests.oracle.setup import RELEASES
from tests.oracle.test_libxljson import without_empty

_MOVED = {"bootloader", "bootloader_args", "nested_hvm", "timer_mode", "apic"}
"""Settings that were part of one type of guest up to Xen 4.9."""


def normal(document: dict[str, Any]) -> dict[str, Any]:
    """Return a document with what the two write differently, and mean alike, written one way.

    An older libxl had some settings elsewhere, and no list of MSRs beside that of cpuid's leaves.
    libvirt leaves devices unnumbered (-1) where xl gives them their place, says "invalid" where libxl says nothing,
    and leaves out the mask of a PCI device's functions, which libxl takes for the one function.
    """
    for name in ("vfbs", "vkbs"):
        for index, device in enumerate(document.get(name, [])):
            if device.get("devid", -1) == -1:
                device["devid"] = index
    for pci in document.get("pcidevs", []):
        pci.setdefault("vfunc_mask", 1)
        if pci.get("rdm_policy") == "invalid":
            del pci["rdm_policy"]
    info = document["b_info"]
    for member in [name for name in info if name.startswith("type.")]:
        for name in _MOVED & set(info[member]):
            info[name] = info[member].pop(name)
    if isinstance(info.get("cpuid"), list):
        info["cpuid"] = {"cpuid": info["cpuid"], "msr": []}
    if any(node.get("pnode") for node in info.get("vnuma_nodes", [])):
        info.setdefault("numa_placement", "True")
    found: dict[str, Any] = without_empty(document)
    return found


PAIRS = listed("libxlxml2domconfigdata")


@pytest.mark.parametrize("pair", PAIRS, ids=str)
def test_a_document_is_read_without_loss_and_written_back(pair: Pair) -> None:
    document = json.loads(pair.other.read_text())
    config = libxljson.from_dict(document)
    assert libxljson.to_dict(config) == normal(document)


@pytest.mark.parametrize("release", RELEASES)
def test_libxl_reads_the_same(release: str) -> None:
    with LibxlJsonOracle(release) as libxl:
        for pair in PAIRS:
            theirs = json.loads(pair.other.read_text())
            ours = libxljson.to_dict(libxljson.from_dict(theirs))
            read_theirs, read_ours = libxl.round_trip(theirs), libxl.round_trip(ours)
            assert isinstance(read_theirs, dict), pair
            assert isinstance(read_ours, dict), pair
            assert normal(read_theirs) == normal(read_ours), pair
