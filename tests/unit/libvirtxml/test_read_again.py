"""A document that was changed is read again with less work, and what is found is the same."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings

from pyxen import DomainConfig
from pyxen.config.base import fields_of
from pyxen.errors import ParseError
from pyxen.libvirtxml.document import SEEN_BY_DEVICES, XEN, read, write
from pyxen.libvirtxml.node import Node
from pyxen.libvirtxml.text import parse
from pyxen.testing.strategies import domain_configs


def beside(config: DomainConfig, devices: Node | None) -> Node:
    """Return the XML of a configuration with other devices, or without any."""
    tree = write(config, XEN)
    tree.children = [child for child in tree.children if child.tag != "devices"]
    if devices is not None:
        tree.children.append(devices)
    return tree


def devices_of(config: DomainConfig) -> Node:
    devices = write(config, XEN).child("devices")
    assert devices is not None
    return devices


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(domain_configs(), domain_configs())
def test_devices_that_are_the_same_need_not_be_read_again(old: DomainConfig, new: DomainConfig) -> None:
    new = new.replace(**{name: getattr(old, name) for name in SEEN_BY_DEVICES})
    before = read(beside(old, devices_of(old)))
    kept = read(beside(new, None), before)
    assert kept.config() == read(beside(new, devices_of(old))).config()
    assert read(beside(old, None), kept).config() == before.config()


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(domain_configs(), domain_configs())
def test_what_differs_is_told_without_a_configuration(one: DomainConfig, other: DomainConfig) -> None:
    found = read(write(one, XEN))
    for config in (one, other, found.config()):
        assert found.differing(config) == {*fields_of(DomainConfig).differing(found.config(), config)}


def test_a_value_that_is_not_valid_has_its_line_there_too() -> None:
    text = "<domain type='xen'>\n<name>w</name>\n<uuid>x</uuid>\n<os><type>hvm</type></os></domain>"
    found = read(parse(text))
    with pytest.raises(ParseError, match="uuid") as caught:
        found.differing(DomainConfig("w", type="hvm"))
    assert (caught.value.line, caught.value.path) == (3, "uuid")
