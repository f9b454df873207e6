"""libvirt's own test documents: both of a pair load to one model, but for what libvirt adds (`pairs` lists that)."""

from __future__ import annotations

from pathlib import Path

import pytest

from pyxen import libvirtxml, libxljson, xlcfg
from pyxen.config import settings_of
from pyxen.config.domain import DomainConfig
from pyxen.errors import ConfigError, LossyConversion
from pyxen.libvirtxml import normal
from tests.oracle.libvirt.pairs import FOLDER, as_converted, as_run, pairs
from tests.oracle.libvirt.schemas import Schema

WITH_CFG = pairs("xlcfg-xml", ".cfg")
WITH_JSON = pairs("xml-libxljson", ".json")

REFUSED_BY_XL = {"fullvirt-vnuma-autocomplete": "maxmem"}
"""Configurations of libvirt's that xl refuses, and the field at fault: its nodes have more memory than the guest."""

LOST = {"moredevs-hvm": ["devices[1]/interface[2]/mac[1]"]}
"""What the model does not hold of a document: the address that libvirt would write into a network card."""


def name(path: Path) -> str:
    return path.stem.removeprefix("test-")


def assert_same(one: DomainConfig, other: DomainConfig) -> None:
    """Fail with the fields that differ, which is shorter than both configurations."""
    differing = {
        field: (getattr(one, field), getattr(other, field))
        for field in settings_of(DomainConfig)
        if getattr(one, field) != getattr(other, field)
    }
    assert differing == {}


def test_the_documents_are_there() -> None:
    hint = f"no libvirt test documents in {FOLDER}: set PYXEN_CONFORMANCE to the folder that has xlcfg-xml"
    assert len(WITH_CFG) > 20, hint
    assert len(WITH_JSON) > 5, hint


@pytest.mark.parametrize("path", WITH_CFG, ids=name)
def test_xml_says_what_xl_cfg_says(path: Path) -> None:
    text = path.with_suffix(".cfg").read_text()
    if name(path) in REFUSED_BY_XL:
        with pytest.raises(ConfigError, match=REFUSED_BY_XL[name(path)]):
            xlcfg.loads(text)
        return
    cfg = xlcfg.loads(text, on_loss="ignore")
    xml = libvirtxml.loads(path.read_bytes())
    assert_same(as_converted(xml, cfg), normal(cfg))


@pytest.mark.parametrize("path", WITH_JSON, ids=name)
def test_xml_says_what_its_driver_hands_to_libxl(path: Path) -> None:
    handed_on = libxljson.loads(path.with_suffix(".json").read_bytes())
    ours = libvirtxml.loads(path.read_bytes(), on_loss="ignore")
    assert_same(as_run(ours, handed_on), normal(handed_on))


@pytest.mark.parametrize("path", [*WITH_CFG, *WITH_JSON], ids=name)
def test_nothing_in_a_document_is_lost(path: Path) -> None:
    try:
        libvirtxml.loads(path.read_bytes())
        lost: list[str] = []
    except LossyConversion as error:
        lost = [loss.path for loss in error.losses]
    assert lost == LOST.get(name(path), [])


@pytest.mark.parametrize("path", [*WITH_CFG, *WITH_JSON], ids=name)
def test_a_document_comes_back(path: Path, schema: Schema) -> None:
    config = libvirtxml.loads(path.read_bytes(), on_loss="ignore")
    written = libvirtxml.dumps(config)
    assert schema.complaints(written) == []
    assert_same(normal(libvirtxml.loads(written)), normal(config))


@pytest.mark.parametrize("path", [*WITH_CFG, *WITH_JSON], ids=name)
def test_a_document_that_says_it_already_is_not_touched(path: Path) -> None:
    text = path.read_text()
    assert libvirtxml.patch(text, libvirtxml.loads(text, on_loss="ignore")) == text
