"""Memory, vCPUs, CPUs and shares of running domains; what they have used."""

from __future__ import annotations

import os

import pytest

from pyxen import (
    Disk,
    Domain,
    DomainNotFound,
    Host,
    InvalidArgument,
    NotEnoughMemory,
    OperationTimeout,
    Scheduler,
    UnsupportedFeature,
    ValidationError,
)
from pyxen.features import Feature
from tests.backends.differences import differs
from tests.backends.support import SECONDS, Guest, Make, supporting, wait_until


def test_memory(host: Host, make: Make) -> None:
    domain = make("web1", memory=8, maxmem=16)
    with supporting(host, Feature.MEMORY):
        domain.set_memory(6.5)
        assert domain.config().memory == 6.5
        with pytest.raises(InvalidArgument):
            domain.set_memory(20)
        with pytest.raises(InvalidArgument, match="must be more than 0"):
            domain.set_memory(0)
        for amount in (-1, 0.0001):
            with pytest.raises(ValidationError, match="memory"):
                domain.set_memory(amount)
        with pytest.raises(InvalidArgument, match="takes a number, not '8'"):
            domain.set_memory("8")
        assert domain.config().memory == 6.5


def test_memory_in_kib(host: Host, make: Make) -> None:
    domain = make("web1", memory=8, maxmem=16)
    with supporting(host, Feature.MEMORY):
        domain.set_memory(memory_kib=6657)
        assert domain.config().memory == 6657 / 1024
        with pytest.raises(InvalidArgument, match="takes memory in MiB or memory_kib in KiB, not both"):
            domain.set_memory(8, memory_kib=8192)
        with pytest.raises(InvalidArgument, match="takes a number, not None"):
            domain.set_memory()
        with pytest.raises(InvalidArgument, match=r"takes a whole number, not 8\.5"):
            domain.set_memory(memory_kib=8.5)
        with pytest.raises(ValidationError, match="memory"):
            domain.set_memory(memory_kib=-1)
        assert domain.config().memory == 6657 / 1024
    with supporting(host, Feature.MAXMEM):
        domain.set_maxmem(maxmem_kib=24 * 1024)
        assert differs(host, "maxmem") or domain.config().maxmem == 24
        with pytest.raises(InvalidArgument, match="takes maxmem in MiB or maxmem_kib in KiB, not both"):
            domain.set_maxmem(24, maxmem_kib=24 * 1024)


def test_what_memory_it_has(host: Host, make: Make) -> None:
    domain = make("web1", memory=8, maxmem=16, paused=True)  # it does not follow a target
    with supporting(host, Feature.MEMORY_INFO):
        memory = domain.memory()
        assert (memory.target_kib, memory.maximum_kib, memory.videoram_kib) == (8192, 16384, 0)
        assert (memory.claimed_kib, memory.shared_kib, memory.paged_kib) == (0, 0, 0)
        assert memory.is_at_target
        assert memory.limit_kib == domain.info().maxmem_kib
        assert memory.current_kib == domain.info().memory_kib
        assert domain.wait_memory(timeout=0).target_kib == 8192  # it need not wait
        domain.set_memory(5)
        assert domain.memory().target_kib == 5120
        assert not domain.memory().is_at_target
        domain.set_memory(8)
        domain.set_maxmem(24)
        memory = domain.memory()
        assert (memory.maximum_kib, memory.is_at_target) == (24 * 1024, True)


def test_a_guest_that_does_not_follow(host: Host, make: Make) -> None:
    domain = make("web1", memory=8, maxmem=16, paused=True)
    with supporting(host, Feature.MEMORY, Feature.MEMORY_INFO):
        domain.set_memory(6)
        with pytest.raises(OperationTimeout):
            domain.wait_memory(timeout=0.5)
        assert domain.memory().target_kib == 6144
        waiting = domain.begin.wait_memory(timeout=SECONDS)
        domain.destroy()
        with pytest.raises(DomainNotFound):
            waiting.result(SECONDS)


def test_dom0s_memory(host: Host) -> None:
    if not host.supports(Feature.MEMORY_INFO):
        return  # a host without it may have no dom0 either
    dom0 = host.domains[0]
    with supporting(host, Feature.MEMORY):
        before = dom0.memory()
        assert before.current_kib == dom0.info().memory_kib
        try:
            dom0.set_memory(memory_kib=before.current_kib - 64 * 1024)
            after = dom0.wait_memory(timeout=SECONDS)
            assert after.target_kib == before.current_kib - 64 * 1024
            assert after.current_kib <= before.current_kib - 63 * 1024
        finally:
            dom0.set_memory(memory_kib=before.current_kib)
        assert dom0.wait_memory(timeout=SECONDS).current_kib >= before.current_kib - 1024


def test_maxmem(host: Host, make: Make) -> None:
    domain = make("web1", memory=8, maxmem=16)
    with supporting(host, Feature.MAXMEM):
        domain.set_maxmem(24)
        assert differs(host, "maxmem") or domain.config().maxmem == 24
        with pytest.raises(InvalidArgument):
            domain.set_maxmem(4)
        for amount in (-1, 0.0001):
            with pytest.raises(ValidationError, match="maxmem"):
                domain.set_maxmem(amount)
        with pytest.raises(InvalidArgument, match="takes a number, not '8'"):
            domain.set_maxmem("8")
        if not differs(host, "memory"):
            domain.set_maxmem(1 << 20)
            with pytest.raises(NotEnoughMemory, match="and the host has"):
                domain.set_memory(1 << 20)
            assert domain.config().memory == 8


def follows(host: Host, domain: Domain, target_kib: int) -> None:
    """Give a guest a target, and wait until it has reached it."""
    domain.set_memory(memory_kib=target_kib)
    if host.supports(Feature.MEMORY_INFO):
        assert abs(domain.wait_memory(timeout=180).current_kib - target_kib) <= 1024
    else:
        wait_until(lambda: abs(domain.info().memory_kib - target_kib) <= 5 * 1024, 180)


def test_a_guest_that_follows(host: Host, linux: Guest) -> None:
    domain = linux()
    with supporting(host, Feature.MEMORY):
        follows(host, domain, 104 * 1024)
        follows(host, domain, 112 * 1024)


def test_vcpus(host: Host, make: Make) -> None:
    domain = make("web1", vcpus=1, maxvcpus=2)
    with supporting(host, Feature.VCPUS):
        if host.uri.startswith("xen") and not host.uri.startswith("xenlight") and host.info().nr_cpus < 2:
            # libvirt's Xen driver gives no running domain more vCPUs than the host has CPUs.
            with pytest.raises(InvalidArgument, match="max allowable"):
                domain.set_vcpus(2)
            return
        domain.set_vcpus(2)
        assert domain.config().vcpus == 2
        for number in (0, -1, 3):
            with pytest.raises(InvalidArgument):
                domain.set_vcpus(number)
        assert domain.config().vcpus == 2


def test_pinning(host: Host, make: Make) -> None:
    domain = make("web1", vcpus=2)
    with supporting(host, Feature.PIN):
        domain.pin_vcpu(1, "0")
        domain.pin_vcpu("all", [0])
        for vcpu, cpus in ((2, "0"), (0, "0,7777"), (0, [])):
            with pytest.raises(InvalidArgument):
                domain.pin_vcpu(vcpu, cpus)
        with pytest.raises(InvalidArgument, match="give cpus"):
            domain.pin_vcpu(0)
        with pytest.raises(ValueError, match="fast"):
            domain.pin_vcpu(0, "fast")


def test_soft_pinning(host: Host, make: Make) -> None:
    domain = make("web1")
    with supporting(host, Feature.PIN, Feature.PIN_SOFT):
        domain.pin_vcpu("all", cpus_soft="0")


def test_shares(host: Host, make: Make) -> None:
    domain = make("web1")
    with supporting(host, Feature.SCHEDULER):
        domain.set_scheduler(Scheduler(weight=512))
        with pytest.raises(InvalidArgument):
            domain.set_scheduler(Scheduler(weight=65536))
        with pytest.raises(UnsupportedFeature, match="budget"):
            domain.set_scheduler(Scheduler(budget=1000))
        if not differs(host, "shares"):
            domain.set_scheduler(Scheduler(cap=50))
            scheduler = domain.config().scheduler
            assert (scheduler.weight, scheduler.cap) == (512, 50)


def test_what_it_has_used(host: Host, make: Make, image: str) -> None:
    domain = make("web1", vcpus=2, disks=[Disk(image, vdev="xvda")])
    with supporting(host, Feature.STATS):
        first = domain.stats()
        wait_until(lambda: domain.stats().cpu_time_ns > 0)
        second = domain.stats()
        assert second.cpu_time_ns >= first.cpu_time_ns
        assert second.memory_kib > 0
        assert [disk.vdev for disk in second.disks] == ["xvda"]


def test_the_console(host: Host, make: Make) -> None:
    domain = make("web1")
    with supporting(host, Feature.CONSOLE), domain.console() as console:
        assert os.get_blocking(console.fileno()) in {True, False}
        assert console.readable()
        assert console.writable()


def test_notes(host: Host, make: Make) -> None:
    domain = make("web1")
    with supporting(host, Feature.USERDATA):
        assert domain.userdata("pyxen-test") is None
        domain.set_userdata("pyxen-test", b"\0anna\xff")
        assert host.domains["web1"].userdata("pyxen-test") == b"\0anna\xff"
        domain.set_userdata("pyxen-test", b"otto")
        assert domain.userdata("pyxen-test") == b"otto"
        domain.set_userdata("pyxen-test", None)
        domain.set_userdata("pyxen-test", None)
        assert domain.userdata("pyxen-test") is None
        assert b'"web1"' in (domain.userdata("libxl-json") or b"")
        for key, data, problem in (
            ("../passwd", b"x", "not a valid key"),
            ("libxl-json", b"{}", "belongs to libxl"),
            ("a", b"", "empty"),
        ):
            with pytest.raises(InvalidArgument, match=problem):
                domain.set_userdata(key, data)
