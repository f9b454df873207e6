"""What libvirt's Xen driver does not carry out of the XML that it takes."""

from __future__ import annotations

import pytest

from pyxen import CpuSet, DomainConfig, Host
from pyxen.backends.libvirt.ignored_settings import ignored

PV = DomainConfig("web1", type="pv", memory=64, bootloader="pygrub")
HVM = DomainConfig("web1", type="hvm", memory=64)


@pytest.mark.parametrize(
    ("config", "paths"),
    [
        (HVM, []),
        (HVM.replace(hpet=True), []),
        (HVM.replace(hpet=False), ["hpet"]),
        (PV.replace(hpet=False), []),
        (PV.replace(bootloader_args=["-q"]), []),
        (PV.replace(bootloader_args=["-q", "--entry=2"]), ["bootloader_args"]),
    ],
)
def test_what_is_ignored(config: DomainConfig, paths: list[str]) -> None:
    assert [loss.path for loss in ignored(config, "xen")] == paths
    assert ignored(config, "kvm") == ()


def test_one_affinity_pins_every_vcpu(host: Host, web1: DomainConfig) -> None:
    """The driver pins by what is said of each vCPU, and ignores what is said of all of them at once."""
    domain = host.create(web1.replace(cpus="0-1"))
    assert host.libvirt.pinning(domain) == [CpuSet("0-1"), CpuSet("0-1")]
    assert host.libvirt.xml(domain).count("<vcpupin ") == 2
    assert domain.config().cpus == CpuSet("0-1")
    domain.pin_vcpu(1, "3")
    assert domain.config().cpus == (CpuSet("0-1"), CpuSet("3"))
