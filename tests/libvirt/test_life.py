"""Domains from beginning to end, through the face that users have."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from uuid import UUID, uuid4

import libvirt
import pytest

import pyxen
from pyxen import (
    CpuSet,
    Disk,
    Domain,
    DomainConfig,
    DomainExists,
    DomainInfo,
    DomainNotFound,
    DomainState,
    Feature,
    FileMissing,
    Host,
    HostClosed,
    InvalidArgument,
    InvalidState,
    LossyConversion,
    OperationFailed,
    ParseError,
    Scheduler,
    ShutdownReason,
    UnsupportedFeature,
    ValidationError,
    Vif,
)
from pyxen.backends.base import DomainRef
from pyxen.backends.libvirt import lifecycle
from pyxen.backends.libvirt.backend import LibvirtBackend
from pyxen.config.enum_names import DomainTypeName


def test_what_the_driver_does_not_say_is_asked_once(
    host: Host, link: LibvirtBackend, web1: DomainConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The Xen driver has no bulk statistics, and does not say how many vCPUs dom0 can have."""
    asked: list[object] = []

    def refused(domain: object) -> int:
        asked.append(domain)
        raise libvirt.libvirtError("no")

    host.create(web1)
    monkeypatch.setattr(link._reader, "_bulk", False)
    monkeypatch.setattr(libvirt.virDomain, "maxVcpus", refused)
    for _ in range(3):
        [info] = host.list()
        assert info.maxvcpus == 2
    assert len(asked) == 1


def test_create_and_destroy(host: Host, web1: DomainConfig) -> None:
    domain = host.create(web1)
    info = domain.info()
    assert (info.name, info.type, info.state) == ("web1", "pvh", DomainState.RUNNING)
    assert (info.memory_kib, info.maxmem_kib, info.vcpus, info.maxvcpus) == (65536, 65536, 2, 2)
    assert [other.uuid for other in host.list()] == [domain.uuid]
    domain.destroy()
    assert host.list() == []
    with pytest.raises(DomainNotFound, match=str(domain.uuid)):
        domain.info()
    with pytest.raises(DomainNotFound):
        domain.destroy()


def test_the_uuid_is_the_one_asked_for(host: Host, web1: DomainConfig) -> None:
    uuid = uuid4()
    assert host.create(web1.replace(uuid=uuid)).uuid == uuid


def test_a_handle_never_means_a_later_domain(host: Host, web1: DomainConfig) -> None:
    config = web1.replace(uuid=uuid4())
    first = host.create(config)
    first.destroy()
    second = host.create(config)
    assert (first.uuid, first.domid) != (second.uuid, second.domid)
    for call in (first.info, first.pause, first.destroy, first.config, first.shutdown):
        with pytest.raises(DomainNotFound):
            call()
    assert second.info().state is DomainState.RUNNING


@pytest.mark.parametrize("type_", ["pv", "pvh", "hvm"])
def test_types(host: Host, type_: DomainTypeName) -> None:
    kernel = None if type_ == "hvm" else "/boot/vmlinuz"
    config = DomainConfig("web1", type=type_, kernel=kernel, memory=64, disks=[Disk("/a.img", vdev="xvda")])
    domain = host.create(config)
    assert domain.info().type == type_
    read = domain.config()
    assert (read.name, read.type, read.memory, read.disks[0].vdev) == ("web1", type_, 64, "xvda")


def test_pause(host: Host, web1: DomainConfig) -> None:
    domain = host.create(web1, paused=True)
    assert domain.info().state is DomainState.PAUSED
    for _ in range(2):
        domain.unpause()
        assert domain.info().state is DomainState.RUNNING
    for _ in range(2):
        domain.pause()
        assert domain.info().state is DomainState.PAUSED
    for call in (domain.shutdown, domain.reboot):
        with pytest.raises(InvalidState, match="unpause it first"):
            call()


def test_shutdown(host: Host, web1: DomainConfig) -> None:
    domain = host.create(web1)
    domain.reboot()
    assert domain.info().state is DomainState.RUNNING
    domain.shutdown(timeout=10)
    assert domain not in host.domains
    assert domain.wait(timeout=10) is None


@pytest.mark.parametrize("action", ["destroy", "preserve"])
def test_a_guest_that_is_suspended_or_crashes_has_not_powered_off(
    host: Host, web1: DomainConfig, monkeypatch: pytest.MonkeyPatch, action: str
) -> None:
    """The test driver's guests power off at once: what libvirt says of others is put in its place."""
    domain = host.create(web1.replace(on_poweroff=action))
    info, looks = domain.info(), iter([ShutdownReason.SUSPEND, None, ShutdownReason.SUSPEND, ShutdownReason.CRASH])

    def next_look(*_: object) -> DomainInfo:
        reason = next(looks)
        states = {None: DomainState.RUNNING, ShutdownReason.CRASH: DomainState.CRASHED}
        return replace(info, state=states.get(reason, DomainState.SHUTDOWN), shutdown_reason=reason)

    monkeypatch.setattr(lifecycle, "info_if_there", next_look)
    with pytest.raises(OperationFailed, match=r"has crashed instead of powering off; libvirt does .* on_crash says"):
        domain.shutdown(timeout=10)
    assert list(looks) == []


def test_save_and_restore(host: Host, web1: DomainConfig, tmp_path: Path) -> None:
    file = tmp_path / "web1.save"
    domain = host.create(web1)
    other = host.create(web1.replace(name="web2"))
    domain.save(file)
    assert [each.uuid for each in host.domains] == [other.uuid]
    again = host.restore(file, paused=True)
    assert (again.uuid, again.info().state) == (domain.uuid, DomainState.PAUSED)
    assert again.domid != domain.domid
    with pytest.raises(DomainExists):
        host.restore(file)
    with pytest.raises(FileMissing) as caught:
        host.restore(tmp_path / "nonesuch")
    assert caught.value.filename == str(tmp_path / "nonesuch")
    (tmp_path / "garbage").write_bytes(bytes(1000))
    with pytest.raises(ParseError, match="garbage"):
        host.restore(tmp_path / "garbage")
    with pytest.raises(UnsupportedFeature, match="checkpoint"):
        other.save(file, checkpoint=True)


def test_a_save_that_fails_leaves_the_domain_and_no_file(host: Host, web1: DomainConfig, tmp_path: Path) -> None:
    domain = host.create(web1)
    with pytest.raises(InvalidArgument, match="nonesuch"):
        domain.save(tmp_path / "nonesuch" / "file")
    assert list(tmp_path.iterdir()) == [tmp_path / "node.xml"]
    assert domain.info().state is DomainState.RUNNING
    domain.core_dump(tmp_path / "core")
    assert (tmp_path / "core").stat().st_size > 0


def test_changes(host: Host, web1: DomainConfig) -> None:
    domain = host.create(web1)
    domain.set_memory(32)
    assert domain.info().memory_kib == 32 * 1024
    domain.set_vcpus(1)
    assert (domain.info().vcpus, domain.info().maxvcpus) == (1, 2)
    domain.pin_vcpu("all", "0-3")
    assert domain.config().cpus == (CpuSet("0-3"),)
    domain.set_scheduler(Scheduler(weight=70))
    domain.send_trigger("nmi")
    domain.send_sysrq("s")


@pytest.mark.parametrize(
    ("call", "error"),
    [
        (lambda domain: domain.set_memory(65), InvalidArgument),
        (lambda domain: domain.set_memory(-1), ValidationError),
        (lambda domain: domain.set_memory(0), InvalidArgument),
        (lambda domain: domain.set_vcpus(3), InvalidArgument),
        (lambda domain: domain.set_vcpus(0), InvalidArgument),
        (lambda domain: domain.pin_vcpu(0, "99"), InvalidArgument),
        (lambda domain: domain.pin_vcpu(2, "0"), InvalidArgument),
        (lambda domain: domain.pin_vcpu(0), InvalidArgument),
        (lambda domain: domain.pin_vcpu(0, cpus_soft="0"), UnsupportedFeature),
        (lambda domain: domain.set_scheduler(Scheduler(cap=10)), UnsupportedFeature),
        (lambda domain: domain.send_trigger("init"), UnsupportedFeature),
        (lambda domain: domain.send_trigger("nmi", vcpu=1), UnsupportedFeature),
        (lambda domain: domain.send_sysrq("ss"), InvalidArgument),
        (lambda domain: domain.send_sysrq("é"), InvalidArgument),
        (lambda domain: domain.rename("web2"), UnsupportedFeature),
        (lambda domain: domain.preserve("-old"), UnsupportedFeature),
        (lambda domain: domain.attach(Vif()), UnsupportedFeature),
        (lambda domain: domain.detach("xvda"), UnsupportedFeature),
        (lambda domain: domain.insert_cdrom("hdc", "/a.iso"), UnsupportedFeature),
        (lambda domain: domain.set_maxmem(128), UnsupportedFeature),
        (lambda domain: domain.suspend(), UnsupportedFeature),
        (lambda domain: domain.resume(), UnsupportedFeature),
        (lambda domain: domain.shutdown(fallback=True), UnsupportedFeature),
    ],
)
def test_what_cannot_be_changed(
    host: Host, web1: DomainConfig, call: Callable[[Domain], object], error: type[Exception]
) -> None:
    domain = host.create(web1)
    before = domain.config()
    with pytest.raises(error):
        call(domain)
    assert domain.config() == before


def test_what_cannot_be_created(host: Host, web1: DomainConfig) -> None:
    domain = host.create(web1)
    with pytest.raises(DomainExists, match=str(domain.uuid)) as caught:
        host.create(web1)
    assert caught.value.operation == "create"
    with pytest.raises(DomainExists):
        host.create(web1.replace(name="web2", uuid=domain.uuid))
    with pytest.raises(ValidationError):
        host.create(web1.replace(name="web2", maxmem=32))
    with pytest.raises(LossyConversion):
        host.create(web1.replace(name="web2", pool="fast"))
    assert len(host.list()) == 1


def test_the_host(host: Host, link: LibvirtBackend, uri: str) -> None:
    info = host.info()
    assert (info.nr_cpus, info.nr_nodes, info.cores_per_socket, info.threads_per_core) == (16, 2, 2, 2)
    assert (info.cpu_khz, info.memory_kib) == (1_400_000, 8_000_000 // 1024 * 1024)
    assert host.uri == uri
    assert link.name == "libvirt (TEST)"
    assert Feature.ALL_DOMAINS not in link.features
    with pytest.raises(UnsupportedFeature, match="orphans"):
        host.orphans()


def test_the_topology() -> None:
    with pyxen.connect("test:///default") as host:
        topology, info = host.topology(), host.info()
    assert topology.node_cpus == {0: tuple(range(8)), 1: tuple(range(8, 16))}
    assert [(cpu.core, cpu.socket) for cpu in topology.cpus[7:9]] == [(7, 0), (0, 1)]
    assert [(node.memory_kib, node.distances) for node in topology.nodes] == [(2**21, (10, None)), (2**22, (None, 10))]
    assert all(node.free_memory_kib for node in topology.nodes)
    assert {cpu.poolid for cpu in topology.cpus} == {None}
    assert topology.pci is None
    assert (len(topology.cpus), len(topology.nodes)) == (info.nr_cpus, info.nr_nodes)


def test_a_topology_that_libvirt_does_not_list(host: Host) -> None:
    """Libvirt's test host has one only if it is the default one."""
    topology, info = host.topology(), host.info()
    assert topology.node_cpus == {0: tuple(range(16))}
    assert [(node.memory_kib, node.distances) for node in topology.nodes] == [(info.memory_kib, (10,))]
    assert {(cpu.core, cpu.socket) for cpu in topology.cpus} == {(None, None)}


def test_a_closed_host(uri: str, web1: DomainConfig) -> None:
    host = pyxen.connect(uri)
    domain = host.create(web1)
    host.close()
    host.close()
    for call in (host.list, host.info, host.topology, domain.info, domain.pause, host.events):
        with pytest.raises(HostClosed):
            call()


def test_domains_of_another_kind() -> None:
    with pyxen.connect("test:///default") as host:
        domain = host.domains["test"]
        assert domain.info().type == "hvm"
        with pytest.warns(pyxen.LossWarning) as losses:
            config = domain.config()
        assert any("memballoon" in str(loss.message) for loss in losses)
        assert config.disks[0].vdev == "vda"
        stats = host._backend.stats(DomainRef(domain.domid, domain.uuid))
        assert stats.disks[0].vdev == "vda"
        assert stats.vifs[0].devid == 0
        assert len(stats.vcpu_times_ns) == 2


def test_what_is_kept(link: LibvirtBackend, host: Host, web1: DomainConfig) -> None:
    kept = link.define(web1, autostart=True)
    assert (kept.name, kept.autostart, kept.domid) == ("web1", True, None)
    assert link.defined() == [kept]
    assert host.list() == []
    assert link.define(web1.replace(vcpus=1), autostart=None) == kept
    ref = link.start(kept.uuid, paused=True, timeout=10).wait()
    assert ref.uuid == kept.uuid
    assert link.defined()[0].domid == ref.domid
    info = link.domain_info(ref)
    assert (info.state, info.maxvcpus) == (DomainState.PAUSED, 1)
    with pytest.raises(DomainExists, match="already running"):
        link.start(kept.uuid, paused=False, timeout=10).wait()
    link.set_autostart(kept.uuid, False)
    link.undefine(kept.uuid)
    assert link.defined() == []
    assert link.domain_info(ref).name == "web1"
    for call in (link.undefine, lambda uuid: link.set_autostart(uuid, True)):
        with pytest.raises(DomainNotFound):
            call(kept.uuid)
    with pytest.raises(DomainNotFound):
        link.start(UUID(int=5), paused=False, timeout=10).wait()


def test_a_kept_domain_of_another_name(link: LibvirtBackend, web1: DomainConfig) -> None:
    kept = link.define(web1, autostart=True)
    renamed = link.define(web1.replace(name="web2", uuid=kept.uuid), autostart=None)
    assert (renamed.name, renamed.uuid, renamed.autostart) == ("web2", kept.uuid, True)
    assert link.defined() == [renamed]
    with pytest.raises(DomainExists):
        link.define(web1.replace(name="web2", uuid=uuid4()), autostart=None)
    link.start(kept.uuid, paused=False, timeout=10).wait()
    with pytest.raises(DomainExists, match="is running as"):
        link.define(web1.replace(uuid=kept.uuid), autostart=None)
    assert link.defined()[0].name == "web2"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make links of other users")
@pytest.mark.parametrize("verb", ["save", "core_dump"])
def test_no_link_of_another_user_is_followed(host: Host, web1: DomainConfig, tmp_path: Path, verb: str) -> None:
    domain = host.create(web1)
    shared, victim = tmp_path / "shared", tmp_path / "victim"
    shared.mkdir()
    shared.chmod(0o1777)
    victim.write_text("precious")
    link = shared / "file"
    link.symlink_to(victim)
    os.lchown(link, 65534, 65534)
    with pytest.raises(InvalidArgument, match=f"{verb} .*cannot write {link}: another user put {link} into a folder"):
        getattr(domain, verb)(link)
    assert (victim.read_text(), link.is_symlink()) == ("precious", True)
    assert domain.info().state is DomainState.RUNNING
    os.lchown(link, 0, 0)  # one's own is followed
    getattr(domain, verb)(link)
    assert victim.read_bytes() != b"precious"
