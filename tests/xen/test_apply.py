"""Applied configurations on real Xen, as xl sees them; what libxl fills in is no difference."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

import pyxen
from pyxen import Applied, ApplyFailed, Disk, GuestTimeout, Host, NotFound, Scheduler, Vif, Vnc
from pyxen.config.enum_names import DomainTypeName
from tests.xen.support import MakeConfig, joined, xl

MAC = "00:16:3e:0a:0b:0c"


@pytest.fixture
def image(tmp_path: Path) -> str:
    """A file that can be a disk."""
    path = tmp_path / "data.img"
    path.write_bytes(bytes(1 << 20))
    return str(path)


def verbs(done: Applied) -> list[str]:
    """Return the verbs of the steps that were done."""
    return [step.verb for step in done.changed]


def network_list(name: str) -> list[str]:
    """Return the MAC addresses of the vifs that xl lists."""
    return [line.split()[2] for line in xl("network-list", name).splitlines()[1:]]


@pytest.mark.parametrize(
    "type", ["pv", pytest.param("pvh", marks=pytest.mark.long), pytest.param("hvm", marks=pytest.mark.long)]
)
def test_what_libxl_fills_in_is_no_difference(host: Host, tiny: MakeConfig, image: str, type: DomainTypeName) -> None:  # noqa: A002 (as the field)
    wanted = tiny(type, vcpus=1, maxvcpus=2, vifs=[Vif(), Vif("xenbr0")])
    wanted = wanted.replace(disks=[*wanted.disks, Disk(image, vdev="xvdy", readonly=True)])
    made = host.apply(wanted, timeout=120)
    assert made.created
    for defaults in (False, True):
        found = made.domain.config(defaults=defaults).diff(wanted)
        assert not found, str(found)
    assert host.apply(wanted) == Applied(False, (), pyxen.ConfigDiff())
    made.domain.destroy()


@pytest.mark.long
def test_vifs_shares_and_memory(host: Host, tiny: MakeConfig) -> None:
    wanted = tiny("pv", memory=8, maxmem=16)
    host.apply(wanted)
    more = wanted.replace(vifs=[Vif("xenbr0", mac=MAC)], memory=6, scheduler=Scheduler(weight=512))
    assert verbs(host.apply(more)) == ["set_memory", "set_scheduler", "attach"]
    assert network_list("tiny") == [MAC]
    assert xl("sched-credit2", "-d", "tiny").split()[-2] == "512"
    limited = more.replace(vifs=[Vif("xenbr0", mac=MAC, rate="1MB/s")])
    assert verbs(host.apply(limited)) == ["detach", "attach"]
    assert network_list("tiny") == [MAC]
    assert not host.apply(limited).changed
    assert verbs(host.apply(wanted.replace(memory=6))) == ["detach"]
    assert network_list("tiny") == []
    xl("network-attach", "tiny", f"mac={MAC}")  # another program's
    assert verbs(host.apply(wanted, dry_run=True)) == ["set_memory", "detach"]
    host.domains["tiny"].destroy()


@pytest.mark.long
def test_a_disk_that_the_guest_keeps(host: Host, tiny: MakeConfig, image: str) -> None:
    wanted = tiny("pv", memory=8, maxmem=16)
    domain = host.apply(wanted.replace(disks=[Disk(image, vdev="xvdb")])).domain
    with pytest.raises(ApplyFailed, match="1 of 2 steps were done; this one failed: detach ") as caught:
        host.apply(wanted.replace(memory=6))
    assert isinstance(caught.value.__cause__, (GuestTimeout, NotFound))
    assert [step.verb for step in caught.value.done] == ["set_memory"]
    assert domain.config().memory == 6
    domain.destroy()


def test_a_disc(host: Host, tiny: MakeConfig, image: str, tmp_path: Path) -> None:
    other = tmp_path / "other.iso"
    other.write_bytes(bytes(1 << 20))
    bare = tiny("hvm", vnc=Vnc(enable=False))

    def with_disc(target: str | None) -> pyxen.DomainConfig:
        return bare.replace(disks=[*bare.disks, Disk(target, vdev="hdc", cdrom=True)])

    domain = host.apply(with_disc(image), timeout=120).domain
    assert not host.apply(with_disc(image)).changed
    assert verbs(host.apply(with_disc(str(other)))) == ["insert_cdrom"]
    assert str(other) in xl("list", "-l", "tiny")
    assert verbs(host.apply(with_disc(None))) == ["eject_cdrom"]
    assert str(other) not in xl("list", "-l", "tiny")
    assert "[not inserted]" in xl("qemu-monitor-command", "tiny", "info block")
    assert not host.apply(with_disc(None)).changed
    domain.destroy()


@pytest.mark.parametrize("_again", range(2))
def test_two_programs_at_once(host: Host, tiny: MakeConfig, _again: int) -> None:
    wanted = tiny("pv")
    domain = host.apply(wanted).domain
    with_vif = wanted.replace(vifs=[Vif("xenbr0", mac=MAC)])
    failures: list[ApplyFailed] = []

    def apply() -> None:
        with pyxen.connect() as own:
            try:
                own.apply(with_vif)
            except ApplyFailed as error:
                failures.append(error)

    threads = [threading.Thread(target=apply) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        joined(thread)
    assert all(isinstance(failure.__cause__, pyxen.DeviceExists) for failure in failures), failures
    assert len(failures) < len(threads)
    assert network_list("tiny") == [MAC]
    assert not host.apply(with_vif).changed
    domain.destroy()


def affinity(name: str) -> list[list[str]]:
    """Return hard and soft affinity of each vCPU, as xl has them."""
    lines = xl("vcpu-list", name).splitlines()[1:]
    return [[each.strip() for each in line.split("  ")[-1].split("/")] for line in lines]


def test_cpus(host: Host, tiny: MakeConfig) -> None:
    wanted = tiny("pvh", vcpus=2)
    domain = host.apply(wanted).domain
    pinned = wanted.replace(cpus="0", cpus_soft="0")
    cpus = len(host.topology().cpus)
    assert verbs(host.apply(pinned)) == (["pin_vcpu"] if cpus > 1 else [])
    if cpus > 1:
        assert affinity("tiny") == [["0", "0"], ["0", "0"]]
        xl("vcpu-pin", "tiny", "1", "1")
        assert [str(step) for step in host.apply(pinned).changed] == ["pin_vcpu 1 cpus=0"]
    assert not host.apply(pinned).changed
    domain.destroy()


def test_a_pool(host: Host, tiny: MakeConfig) -> None:
    domain = host.apply(tiny("pvh")).domain
    xl("cpupool-create", 'name="empty"', 'sched="credit2"')
    try:
        with pytest.raises(ApplyFailed, match="set_cpupool empty"):  # Xen moves no domain to a pool without CPUs
            host.apply(tiny("pvh", pool="empty"))
        assert domain.info().pool == "Pool-0"
        assert not host.apply(tiny("pvh", pool="Pool-0")).changed
    finally:
        xl("cpupool-destroy", "empty")
    domain.destroy()


def test_the_configuration_of_the_next_start_is_xls(host: Host, tiny: MakeConfig, tmp_path: Path) -> None:
    domain = host.create(tiny("pvh"))
    wanted = tiny("pvh", memory=12, uuid=domain.uuid)
    host.apply(wanted, persistent=True)
    ours = domain.userdata("xl")
    assert ours is not None
    path = tmp_path / "tiny.cfg"
    path.write_bytes(ours)
    domain.update_config(None)
    assert domain.userdata("xl") is None
    xl("config-update", str(domain.domid), str(path))
    theirs = domain.userdata("xl")
    assert theirs is not None
    assert theirs.rstrip(b"\0").strip() == ours.strip()
    domain.destroy()
