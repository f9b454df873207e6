"""Statistics of all domains at once, and rates between two samples."""

from __future__ import annotations

import pyxen
from pyxen import Disk, Feature, Host
from tests.backends.support import Make, supporting


def test_all_domains_in_one_pass(host: Host, make: Make, image: str) -> None:
    made = [make(f"web{number}", paused=True, disks=[Disk(image, vdev="xvda")]) for number in range(2)]
    with supporting(host, Feature.STATS):
        infos, found = host.list(), host.stats()
        assert [each.info.domid for each in found] == [info.domid for info in infos]
        by_domain = {each.info.domain: each for each in found}
        for domain in made:
            stats, alone = by_domain[domain], domain.stats()
            assert stats.info.name == alone.info.name == domain.name
            assert stats.info.domain == alone.info.domain == domain
            assert stats.monotonic_ns <= alone.monotonic_ns
            assert (stats.memory_kib, stats.cpu_time_ns) == (stats.info.memory_kib, stats.info.cpu_time_ns)
            assert [disk.vdev for disk in stats.disks] == [disk.vdev for disk in alone.disks] == ["xvda"]
            assert stats.vifs == alone.vifs == ()
            assert len(stats.vcpu_times_ns) == len(stats.vcpus_online)


def test_rates(host: Host, make: Make) -> None:
    domain = make("web1")
    with supporting(host, Feature.STATS):
        sampler = pyxen.Sampler(host)
        assert sampler.sample() == ()
        rates = {each.stats.info.domain: each for each in sampler.sample()}
        ours = rates[domain]
        assert ours.seconds > 0
        assert ours.cpu_percent >= ours.host_cpu_percent >= 0
        later = make("web2", paused=True)
        assert later not in {each.stats.info.domain for each in sampler.sample()}
        domain.destroy()
        assert later in {each.stats.info.domain for each in sampler.sample()}
