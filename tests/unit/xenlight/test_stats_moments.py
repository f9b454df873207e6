"""What is counted belongs to the moment that the statistics have, however long QEMU and xenstored take."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterable, Sequence
from types import SimpleNamespace
from typing import Any
from uuid import UUID

import pytest

from pyxen.backends.xenlight.hypervisor import Vcpu
from pyxen.backends.xenlight.operations import stats
from pyxen.backends.xenlight.operations.backend_devices import BackendDevice
from pyxen.records.info import DomainInfo, DomainState
from pyxen.records.stats import DomainStats, VifStats
from tests.unit.infos import domain_info

WEB = BackendDevice("vif", 5, 0), BackendDevice("vbd", 5, 51712), BackendDevice("qdisk", 5, 51728)
SLOW = 10**9  # nanoseconds that QEMU and xenstored take


class Clock:
    """A clock that goes on while QEMU or xenstored are waited for, and all that is counted is the time on it."""

    def __init__(self) -> None:
        self.now = SLOW

    def wait(self) -> None:
        self.now += SLOW

    def info(self) -> DomainInfo:
        info = domain_info(5, "web", UUID(int=5), DomainState.RUNNING)
        return dataclasses.replace(info, cpu_time_ns=self.now, vcpus=1, maxvcpus=1)


class Hypervisor:
    """Xen and xenstored."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    def domains_at(self) -> tuple[int, list[DomainInfo]]:
        return self._clock.now, [self._clock.info()]

    def glance_at(self, domid: int) -> DomainInfo:
        assert domid == 5
        return self._clock.info()

    def vcpus(self, infos: Sequence[DomainInfo]) -> list[list[Vcpu]]:
        return [[Vcpu(self._clock.now, online=True)] for _ in infos]

    def read_all(self, paths: Sequence[str]) -> list[str | None]:
        self._clock.wait()
        return [None for _ in paths]


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()

    def qemu_disks(_: Iterable[int]) -> dict[int, Any]:
        clock.wait()
        return {}

    def vif_stats(device: BackendDevice, interfaces: dict[str, list[int]]) -> VifStats:
        return VifStats(device.devid, *interfaces["vif5.0"])

    monkeypatch.setattr(stats, "time", SimpleNamespace(monotonic_ns=lambda: clock.now), raising=False)
    monkeypatch.setattr(time, "monotonic_ns", lambda: clock.now)
    monkeypatch.setattr(stats, "backend_devices", lambda: {5: list(WEB)})
    monkeypatch.setattr(stats, "host_interfaces", lambda: {"vif5.0": [clock.now] * 8})
    monkeypatch.setattr(stats, "vif_stats", vif_stats)
    monkeypatch.setattr(stats, "disk_counters", lambda _, names: [clock.now] * len(names))
    monkeypatch.setattr(stats, "qemu_disks", qemu_disks)
    return clock


def check(found: DomainStats) -> None:
    moment = found.monotonic_ns
    assert found.info.cpu_time_ns == moment
    assert found.vcpu_times_ns == (moment,)
    assert [vif.rx_bytes for vif in found.vifs] == [moment]
    assert [disk.read_requests for disk in found.disks] == [moment, None]


def test_of_all_domains(clock: Clock) -> None:
    hypervisor: Any = Hypervisor(clock)
    reader = stats.StatsReader(hypervisor)
    for _ in range(2):  # the second time, it knows the disks
        [found] = reader.all()
        check(found)


def test_of_one_domain(clock: Clock) -> None:
    hypervisor: Any = Hypervisor(clock)
    info = clock.info()
    clock.wait()  # for its name
    check(stats.StatsReader(hypervisor).one(info))


def test_of_a_domain_whose_domid_another_one_has(clock: Clock) -> None:
    hypervisor: Any = Hypervisor(clock)
    info = dataclasses.replace(clock.info(), uuid=UUID(int=6))
    clock.wait()
    assert stats.StatsReader(hypervisor).one(info).info == info
