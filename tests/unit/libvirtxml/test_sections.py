"""Two configurations are compared without writing what is the same: each section names the settings it looks at."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings

from pyxen import DomainConfig
from pyxen.config import settings_of
from pyxen.libvirtxml.document import BEFORE_DEVICES, BEHIND_DEVICES, DEVICES, XEN, Section, write, write_some
from pyxen.libvirtxml.node import Node, undeferred
from pyxen.libvirtxml.text import serialise
from pyxen.testing.strategies import domain_configs

SECTIONS = (*BEFORE_DEVICES, *DEVICES, *BEHIND_DEVICES)


class Watched:
    """A configuration that keeps the names of the settings that are looked at."""

    def __init__(self, config: DomainConfig) -> None:
        self.config = config
        self.seen: set[str] = set()

    def __getattr__(self, name: str) -> Any:
        known = getattr(DomainConfig, name)
        if isinstance(known, property) and known.fget is not None:
            return known.fget(self)
        self.seen.add(name)
        return getattr(self.config, name)


def name_of(section: Section) -> str:
    return f"{section.writer.__module__.rpartition('.')[2]}.{section.writer.__name__}"


@pytest.mark.parametrize("section", SECTIONS, ids=name_of)
def test_a_section_names_settings_that_there_are(section: Section) -> None:
    assert section.settings
    assert section.settings <= settings_of(DomainConfig).keys()


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(domain_configs())
def test_a_section_looks_at_no_other_settings(config: DomainConfig) -> None:
    for section in SECTIONS:
        for domain_type in (XEN, "kvm"):
            watched: Any = Watched(config)
            section.write(watched, domain_type, Node("domain"))
            assert watched.seen <= section.settings, name_of(section)


def whole(node: Node) -> Node:
    """Return a tree with all that was deferred."""
    copy = Node(node.tag, node.text, attributes=node.attributes)
    copy.children = [whole(child) for child in undeferred(node.children)]
    return copy


@settings(max_examples=50, deadline=None, suppress_health_check=list(HealthCheck))
@given(domain_configs())
def test_with_what_was_deferred_it_is_all(config: DomainConfig) -> None:
    old = config.replace(memory=7, maxmem=None, device_model={"args": ["-x"]})
    before, after = write_some(["memory", "maxmem", "device_model"], old, config, "kvm")
    assert serialise(whole(after)) == serialise(write(config, "kvm"))
    assert serialise(whole(before)) == serialise(write(old, "kvm"))
    assert len(before.children) < len(write(old, "kvm").children)
