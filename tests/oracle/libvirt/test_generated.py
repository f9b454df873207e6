"""Configurations over the whole model, written as XML: valid to libvirt's schema, and read back as they were."""

from __future__ import annotations

import dataclasses
import os

import pytest
from hypothesis import HealthCheck, example, given, settings

from pyxen import libvirtxml
from pyxen.config import CpuSet, DomainConfig, Vnc, VNode, settings_of
from pyxen.libvirtxml import normal
from pyxen.testing.strategies import domain_configs
from tests.oracle.libvirt.schemas import RELEASES, Schema

COUNT = int(os.environ.get("PYXEN_TEXTS", "20000")) // 50

NODES_FOR_SOME = DomainConfig(
    "web1", type="hvm", vcpus=2, maxvcpus=2, cpus=("all", "0"), vnuma=[VNode(vcpus=CpuSet("0"), size=256)]
)
"""Two vCPUs, one of them in a node: libxl would count those in nodes where nothing else is said."""

FEWER_IN_NODES = DomainConfig("web1", type="hvm", vcpus=2, vnuma=[VNode(vcpus=CpuSet("0"), size=1)])
"""More vCPUs than the nodes let it have: no XML says that, and nobody takes it."""


def unlike(one: DomainConfig, other: DomainConfig) -> set[str]:
    """Return the fields in which two configurations differ."""
    return {name for name in settings_of(DomainConfig) if getattr(one, name) != getattr(other, name)}


@pytest.mark.parametrize("domain_type", ["xen", "test", "kvm"])
def test_xml_of_any_configuration(domain_type: str) -> None:
    schemas = [Schema(release) for release in RELEASES]

    @settings(max_examples=COUNT, deadline=None, suppress_health_check=list(HealthCheck))
    @given(domain_configs())
    @example(NODES_FOR_SOME)
    @example(DomainConfig("web1", memory=0))
    def check(config: DomainConfig) -> None:
        text = libvirtxml.dumps(config, domain_type=domain_type, on_loss="ignore")
        assert {schema.release: schema.complaints(text) for schema in schemas} == {
            schema.release: [] for schema in schemas
        }
        back = libvirtxml.loads(text, on_loss="ignore" if domain_type == "kvm" else "raise")
        assert libvirtxml.losses(back, domain_type=domain_type) == ()
        lost = {loss.path.split(".")[0].split("[")[0] for loss in libvirtxml.losses(config, domain_type=domain_type)}
        # What a field means can also change because another one is lost: that is said once, of the other.
        changed = unlike(normal(config), normal(back)) & unlike(config, back)
        if domain_type == "kvm":
            changed -= {"disks"}  # QEMU serves every disk there, also those for which nobody is named
        assert changed <= lost

    check()


def without(config: DomainConfig, paths: list[str]) -> DomainConfig:
    """Return a configuration without the fields that were lost."""
    defaults = {field.name: field.default for field in dataclasses.fields(DomainConfig)}
    roots = {path.split(".")[0].split("[")[0] for path in paths}
    if "maxvcpus" in roots and config.maxvcpus is None:
        roots.add("vnuma")  # whose vCPUs it is then
    rest = config.replace(**{root: defaults[root] for root in roots if root != "name"})
    if "vnc" in roots and (rest.spice.enable or rest.sdl.enable):
        return rest.replace(vnc=Vnc(enable=False))  # by default there is one, also beside another screen
    return rest


def test_what_is_not_lost_is_written_without_complaint() -> None:
    """Taken out what was lost, nothing is lost any more: the losses name the right fields."""

    @settings(max_examples=COUNT, deadline=None, suppress_health_check=list(HealthCheck))
    @given(domain_configs())
    @example(FEWER_IN_NODES)
    def check(config: DomainConfig) -> None:
        for _ in range(4):  # one field's default may contradict another's value, as vcpus and maxvcpus
            lost = [loss.path for loss in libvirtxml.losses(config)]
            if not lost:
                break
            config = without(config, lost)
        assert libvirtxml.losses(config) == ()
        assert normal(libvirtxml.loads(libvirtxml.dumps(config))) == normal(config)

    check()


def test_any_document_becomes_any_other() -> None:
    """A patched document says what it is to say, and is as valid as one that is written anew."""
    schemas = [Schema(release) for release in RELEASES]

    @settings(max_examples=COUNT // 2, deadline=None, suppress_health_check=list(HealthCheck))
    @given(domain_configs(), domain_configs())
    def check(old: DomainConfig, new: DomainConfig) -> None:
        text = libvirtxml.dumps(old, on_loss="ignore")
        patched = libvirtxml.patch(text, new, on_loss="ignore")
        fresh = libvirtxml.dumps(new, on_loss="ignore")
        assert normal(libvirtxml.loads(patched)) == normal(libvirtxml.loads(fresh))
        assert [complaint for schema in schemas for complaint in schema.complaints(patched)] == []

    check()
