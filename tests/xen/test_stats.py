"""What a domain has used, and its console."""

from __future__ import annotations

import select

import pytest

from pyxen import Disk, Host, Vif
from pyxen.errors import InvalidArgument, NotFound, UnsupportedFeature
from tests.xen.support import MakeConfig, MakeDomain, wait_until


def test_counters_and_console(running_linux: MakeDomain) -> None:
    domain = running_linux()
    assert (domain.stats().disks, domain.stats().vifs) == ((), ())
    domain.attach(Disk("/dev/vdc", vdev="xvdb"))
    domain.attach(Vif(bridge="xenbr0"))
    with domain.console() as console:
        answer = b""
        console.write(
            b"\nuntil [ -b /dev/xvdb ] && ip addr add 192.168.77.2/24 dev eth0; do sleep 1; done; ip link set eth0 up\n"
        )
        console.write(b"dd if=/dev/xvdb of=/dev/null bs=64k count=16; dd if=/dev/zero of=/dev/xvdb bs=4k count=1\n")
        console.write(b"ping -c 2 192.168.77.1; echo done-$((40 + 2))\n")
        while b"done-42" not in answer:
            assert select.select([console], [], [], 60)[0]
            answer += console.read(4096) or b""
    stats, info = domain.stats(), domain.info()
    assert 0 < stats.cpu_time_ns <= info.cpu_time_ns
    assert len(stats.vcpu_times_ns) == 1
    assert abs(sum(stats.vcpu_times_ns) - stats.cpu_time_ns) < 10**9
    assert stats.memory_kib == info.memory_kib
    (of_disk,) = stats.disks
    assert of_disk.vdev == "xvdb"
    assert of_disk.read_bytes >= 16 * 64 * 1024
    assert of_disk.read_requests > 0
    wait_until(lambda: domain.stats().disks[0].write_bytes >= 4096)
    (of_vif,) = stats.vifs
    assert of_vif.devid == 0
    assert of_vif.tx_packets >= 2
    assert of_vif.rx_bytes > 0
    domain.destroy()


def test_a_domain_without_a_qemu(host: Host, tiny: MakeConfig) -> None:
    domain = host.create(tiny())
    with pytest.raises(UnsupportedFeature, match="no QEMU"):
        domain.monitor_command("info block")
    domain.destroy()


def test_a_domain_without_a_console(host: Host, tiny: MakeConfig) -> None:
    domain = host.create(tiny("hvm"))
    with pytest.raises(NotFound, match="serial"):
        domain.console()
    assert domain.stats().vifs == ()
    assert "tiny-hvm.img" in domain.monitor_command("info block")
    assert "unknown command" in domain.monitor_command("dance")
    with pytest.raises(InvalidArgument, match="empty"):
        domain.monitor_command(" ")
    domain.destroy()
