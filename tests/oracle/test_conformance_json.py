"""libvirt's own test data: the JSON that its driver hands to libxl is read, and written back as it was."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from pyxen import libxljson
from tests.oracle.test_libxljson import without_empty

FOLDER = Path(os.environ.get("PYXEN_CONFORMANCE", Path(__file__).parents[2].parent / "shared" / "conformance"))
DOCUMENTS = sorted((FOLDER / "xml-libxljson").glob("*.json"))


def normal(document: dict[str, Any]) -> dict[str, Any]:
    """Return a document with what the two write differently, and mean alike, written one way.

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
    found: dict[str, Any] = without_empty(document)
    return found


def test_the_data_are_there() -> None:
    assert DOCUMENTS, f"no libvirt test data in {FOLDER}: set PYXEN_CONFORMANCE to the folder that has xml-libxljson"


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.stem)
def test_a_document_is_read_without_loss_and_written_back(path: Path) -> None:
    document = json.loads(path.read_text())
    config = libxljson.from_dict(document)
    assert libxljson.to_dict(config) == normal(document)
