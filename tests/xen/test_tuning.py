"""Memory, vCPUs, CPUs and shares of a running domain, on real Xen, as xl sees them."""

from __future__ import annotations

import json
import subprocess
from typing import Any

import pytest

from pyxen import (
    CpuSet,
    Domain,
    Host,
    InvalidArgument,
    Scheduler,
    UnsupportedFeature,
)
from pyxen.config.enum_names import DomainTypeName
from tests.xen.support import MakeConfig, at_rest, xl


def build_info(domain: Domain) -> dict[str, Any]:
    """Return what ``xl list -l`` says of how the domain is built."""
    found: dict[str, Any] = json.loads(xl("list", "-l", str(domain.domid)))[0]["config"]["b_info"]
    return found


def affinities(domain: Domain) -> list[str]:
    """Return hard and soft affinity of each vCPU, as ``xl vcpu-list`` has them."""
    lines = xl("vcpu-list", str(domain.domid)).splitlines()[1:]
    return ["".join(line.split()[6:]) for line in lines]


def test_memory(host: Host, tiny: MakeConfig) -> None:
    domain = host.create(tiny("pv", memory=8, maxmem=16))
    domain.set_memory(6.5)
    assert build_info(domain)["target_memkb"] == 6656
    target = f"/local/domain/{domain.domid}/memory/target"
    assert subprocess.check_output(["xenstore-read", target], text=True, timeout=120).strip() == "6656"
    with pytest.raises(InvalidArgument, match=r"20 MiB is more than the domain's maxmem of 16 MiB.*set_maxmem"):
        domain.set_memory(20)
    with pytest.raises(InvalidArgument, match=r"4 MiB is less than the 6\.5 MiB that the domain has.*set_memory"):
        domain.set_maxmem(4)
    domain.set_maxmem(24)
    assert build_info(domain)["max_memkb"] == 24 * 1024
    assert domain.config().maxmem == 24
    domain.set_memory(20)
    assert build_info(domain)["target_memkb"] == 20 * 1024
    domain.destroy()


def test_vcpus(host: Host, tiny: MakeConfig) -> None:
    domain = host.create(tiny("pv", maxvcpus=3))

    def available() -> list[str]:
        nodes = [f"/local/domain/{domain.domid}/cpu/{number}/availability" for number in range(3)]
        return subprocess.check_output(["xenstore-read", *nodes], text=True, timeout=120).split()

    assert available() == ["online", "offline", "offline"]
    domain.set_vcpus(3)
    assert available() == ["online", "online", "online"]
    assert domain.config().vcpus == 3
    domain.set_vcpus(2)
    assert available() == ["online", "online", "offline"]
    for number in (0, -1, 4):
        with pytest.raises(InvalidArgument, match=f"vcpus={number} is out of range: the domain can have 1 to 3"):
            domain.set_vcpus(number)
    assert available() == ["online", "online", "offline"]
    domain.destroy()


def test_vcpus_of_an_hvm_guest(host: Host, tiny: MakeConfig) -> None:
    domain = host.create(tiny("hvm", maxvcpus=2), paused=True)
    assert domain.config().vcpus == 1
    domain.set_vcpus(2)
    assert domain.config().vcpus == 2
    domain.destroy()


@pytest.mark.two_cpus
def test_pinning(host: Host, tiny: MakeConfig) -> None:
    domain = host.create(tiny("pv", vcpus=2))
    assert affinities(domain) == ["all/all", "all/all"]
    domain.pin_vcpu(1, "0")
    assert affinities(domain) == ["all/all", "0/all"]
    domain.pin_vcpu("all", [1], cpus_soft=CpuSet("0"))
    assert affinities(domain) == ["1/0", "1/0"]
    domain.pin_vcpu(0, cpus_soft="all")
    assert affinities(domain) == ["1/all", "1/0"]
    domain.pin_vcpu("all", "nodes:0", cpus_soft="all,^0")
    assert affinities(domain) == ["all/1", "all/1"]
    with pytest.raises(InvalidArgument, match="no vCPU 2; the domain has 0 to 1"):
        domain.pin_vcpu(2, "0")
    with pytest.raises(InvalidArgument, match="no CPU 77; the host has 0-1"):
        domain.pin_vcpu(0, "0,77")
    with pytest.raises(InvalidArgument, match="node"):
        domain.pin_vcpu(0, "nodes:5")
    with pytest.raises(InvalidArgument, match="at least one CPU"):
        domain.pin_vcpu(0, [])
    with pytest.raises(InvalidArgument, match="give cpus"):
        domain.pin_vcpu(0)
    with pytest.raises(ValueError, match="fast"):
        domain.pin_vcpu(0, "fast")
    assert affinities(domain) == ["all/1", "all/1"]
    domain.destroy()


def test_shares(host: Host, tiny: MakeConfig) -> None:
    domain = host.create(tiny("pv"))
    domain.set_scheduler(Scheduler(weight=512))
    domain.set_scheduler(Scheduler(cap=50, kind="credit2"))  # the weight stays
    assert xl("sched-credit2", "-d", str(domain.domid)).split()[-2:] == ["512", "50"]
    scheduler = domain.config().scheduler
    assert (scheduler.weight, scheduler.cap) == (512, 50)
    for wrong in (Scheduler(weight=0), Scheduler(weight=65536), Scheduler(cap=101)):
        with pytest.raises(InvalidArgument, match="credit2 does not take"):
            domain.set_scheduler(wrong)
    with pytest.raises(UnsupportedFeature, match="credit2, has no parameter budget"):
        domain.set_scheduler(Scheduler(budget=1000, weight=100))
    with pytest.raises(UnsupportedFeature, match="has the scheduler credit2, not credit"):
        domain.set_scheduler(Scheduler(weight=100, kind="credit"))
    assert xl("sched-credit2", "-d", str(domain.domid)).split()[-2:] == ["512", "50"]
    domain.destroy()


def stored(domain: Domain, name: str) -> int:
    """Return what xenstore says of a domain's memory."""
    path = f"/local/domain/{domain.domid}/memory/{name}"
    return int(subprocess.check_output(["xenstore-read", path], text=True, timeout=120))


def listed_mib(domain: Domain) -> int:
    """Return the memory of a domain as ``xl list`` has it."""
    return int(xl("list", str(domain.domid)).splitlines()[1].split()[-4])


@pytest.mark.parametrize("kind", ["pv", "pvh", "hvm"])
def test_what_memory_it_has(host: Host, tiny: MakeConfig, kind: DomainTypeName) -> None:
    domain = host.create(tiny(kind, maxmem=48), paused=True)
    memory = domain.memory()
    assert memory.target_kib == stored(domain, "target") + stored(domain, "videoram")
    fudge = 1024 if kind == "hvm" else 0  # libxl_create takes it off the target, and libxl_set_memory_target does not
    assert memory.target_kib == build_info(domain)["target_memkb"] - fudge
    assert memory.maximum_kib == stored(domain, "static-max")
    assert memory.videoram_kib == stored(domain, "videoram")
    assert memory.current_kib // 1024 == listed_mib(domain)
    claims = next(line.split() for line in xl("claims").splitlines() if line.startswith(domain.config().name))
    assert int(claims[-1]) == memory.claimed_kib // 1024
    assert memory.is_at_target
    domain.destroy()


@pytest.mark.long
def test_xl_sees_the_target_reached(host: Host, linux: MakeConfig) -> None:
    domain = at_rest(host.create(linux("pv", memory=160)))
    domain.set_memory(128)
    assert domain.wait_memory(timeout=180).is_at_target
    assert listed_mib(domain) == 128
    xl("mem-set", str(domain.domid), "160m")
    assert domain.wait_memory(timeout=180).target_kib == 160 * 1024
    assert listed_mib(domain) == 160
    domain.destroy()
