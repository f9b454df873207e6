"""libvirt's own test documents: both of a pair load to one model, but for what libvirt adds (`pairs` lists that)."""

from __future__ import annotations

import pytest

from pyxen import libvirtxml, libxljson, xlcfg
from pyxen.config import settings_of
from pyxen.config.domain import DomainConfig
from pyxen.errors import ConfigError, LossyConversion
from pyxen.libvirtxml import normal
from pyxen.xlcfg.deviations import DEVIATIONS
from tests.oracle.compare import difference
from tests.oracle.libvirt.documents import Pair, fetched, listed
from tests.oracle.libvirt.pairs import BY_ITS_CONVERTER, BY_ITS_DRIVER, BY_XEND, as_converted, as_run, as_xend
from tests.oracle.libvirt.schemas import Schema
from tests.oracle.xl import HOST_NODES, XlOracle

WITH_CFG = listed("xlconfigdata")
WITH_XM_CFG = listed("xmconfigdata")
WITH_JSON = listed("libxlxml2domconfigdata")
ALL = [*WITH_CFG, *WITH_XM_CFG, *WITH_JSON]

REFUSED_BY_XL = {"fullvirt-vnuma-autocomplete": "maxmem"}
"""Configurations of libvirt's that xl refuses, and the field at fault: its nodes have more memory than the guest."""

LOST = {
    "libxlxml2domconfigdata/moredevs-hvm": ["devices[1]/interface[2]/mac[1]"],
    "xmconfigdata/escape-paths": ["devices[1]/sound[2]"],
    "xmconfigdata/fullvirt-sound": ["devices[1]/sound[2]"],
    "xmconfigdata/fullvirt-parallel-tcp": ["devices[1]/parallel[1]"],
    "xmconfigdata/paravirt-net-e1000": ["devices[1]/interface[1]/model[1]"],
    "xmconfigdata/paravirt-net-fakemodel": ["devices[1]/interface[1]/model[1]"],
    "xmconfigdata/paravirt-net-vifname": ["devices[1]/interface[1]/model[1]"],
}
"""What the model does not hold of a document: the address that libvirt would write into a network card, a second sound
card, a parallel port, and the model of a card that a PV guest cannot have."""

NOT_XL = {"escape-paths": "side by side are Python's"}
"""Configurations of xend's time, which Python read, that xl cannot read, and why."""

OTHERWISE_THAN_XL = {"xlconfigdata/usb": "USB devices without a type"}
"""Configurations that pyxen reads otherwise than xl on purpose, and the deviation's name in pyxen's own list."""


def assert_same(one: DomainConfig, other: DomainConfig) -> None:
    """Fail with the fields that differ, which is shorter than both configurations."""
    differing = {
        field: (getattr(one, field), getattr(other, field))
        for field in settings_of(DomainConfig)
        if getattr(one, field) != getattr(other, field)
    }
    assert differing == {}


def test_the_list_is_complete() -> None:
    assert set(ALL) == fetched()


@pytest.mark.parametrize("pair", [*WITH_CFG, *WITH_XM_CFG], ids=str)
def test_xl_reads_a_configuration_so(xl: XlOracle, pair: Pair) -> None:
    found = difference(xl, pair.other.read_text())
    if pair.name in OTHERWISE_THAN_XL:
        assert OTHERWISE_THAN_XL[pair.name] in {deviation.name for deviation in DEVIATIONS}
        assert found is not None
    else:
        assert found is None


@pytest.mark.parametrize("pair", ALL, ids=str)
def test_xl_reads_what_is_made_of_a_document(xl: XlOracle, pair: Pair) -> None:
    config = libvirtxml.loads(pair.xml.read_bytes(), on_loss="ignore")
    # xl refuses nodes that its host does not have.
    nodes = tuple(node.replace(pnode=node.pnode and node.pnode % HOST_NODES) for node in config.vnuma)
    assert difference(xl, xlcfg.dumps(config.replace(vnuma=nodes), on_loss="ignore")) is None


def test_every_deviation_is_met() -> None:
    """A deviation that no pair has any more would only hide a fault."""
    met = set()
    for pair in ALL:
        if pair.stem.removeprefix("test-") in {*REFUSED_BY_XL, *NOT_XL}:
            continue
        if pair in WITH_JSON:
            other, changes = libxljson.loads(pair.other.read_bytes()), BY_ITS_DRIVER
        else:
            other = xlcfg.loads(pair.other.read_text(), on_loss="ignore")
            changes = BY_XEND if pair in WITH_XM_CFG else BY_ITS_CONVERTER
        other, xml = normal(other), normal(libvirtxml.loads(pair.xml.read_bytes(), on_loss="ignore"))
        for change in changes:
            changed = change(xml, other)
            if changed != xml:
                met.add(change)
            xml = changed
    assert [change.__name__ for change in (*BY_ITS_DRIVER, *BY_XEND) if change not in met] == []


@pytest.mark.parametrize("pair", WITH_CFG, ids=str)
def test_xml_says_what_xl_cfg_says(pair: Pair) -> None:
    text = pair.other.read_text()
    if pair.stem.removeprefix("test-") in REFUSED_BY_XL:
        with pytest.raises(ConfigError, match=REFUSED_BY_XL[pair.stem.removeprefix("test-")]):
            xlcfg.loads(text)
        return
    cfg = xlcfg.loads(text, on_loss="ignore")
    xml = libvirtxml.loads(pair.xml.read_bytes())
    assert_same(as_converted(xml, cfg), normal(cfg))


@pytest.mark.parametrize("pair", WITH_XM_CFG, ids=str)
def test_xml_says_what_xl_reads_in_a_configuration_of_xm(pair: Pair) -> None:
    text = pair.other.read_text()
    if (why := NOT_XL.get(pair.stem.removeprefix("test-"))) is not None:
        with pytest.raises(ConfigError, match=why):
            xlcfg.loads(text)
        return
    cfg = xlcfg.loads(text, on_loss="ignore")
    xml = libvirtxml.loads(pair.xml.read_bytes(), on_loss="ignore")
    assert_same(as_xend(xml, cfg), normal(cfg))


@pytest.mark.parametrize("pair", WITH_JSON, ids=str)
def test_xml_says_what_its_driver_hands_to_libxl(pair: Pair) -> None:
    handed_on = libxljson.loads(pair.other.read_bytes())
    ours = libvirtxml.loads(pair.xml.read_bytes(), on_loss="ignore")
    assert_same(as_run(ours, handed_on), normal(handed_on))


@pytest.mark.parametrize("pair", ALL, ids=str)
def test_nothing_in_a_document_is_lost(pair: Pair) -> None:
    try:
        libvirtxml.loads(pair.xml.read_bytes())
        lost: list[str] = []
    except LossyConversion as error:
        lost = [loss.path for loss in error.losses]
    assert lost == LOST.get(pair.name, [])


@pytest.mark.parametrize("pair", ALL, ids=str)
def test_a_document_comes_back(pair: Pair, schema: Schema) -> None:
    config = libvirtxml.loads(pair.xml.read_bytes(), on_loss="ignore")
    written = libvirtxml.dumps(config)
    assert schema.complaints(written) == []
    assert_same(normal(libvirtxml.loads(written)), normal(config))


@pytest.mark.parametrize("pair", ALL, ids=str)
def test_a_document_that_says_it_already_is_not_touched(pair: Pair) -> None:
    text = pair.xml.read_text()
    assert libvirtxml.patch(text, libvirtxml.loads(text, on_loss="ignore")) == text
