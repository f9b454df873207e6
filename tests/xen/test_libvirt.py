"""The same host through libvirt's daemon, and what becomes of pyxen when that daemon stops, hangs or dies."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest

import pyxen
from pyxen import (
    ConnectFailed,
    CpuComparison,
    CpuSet,
    Disk,
    Domain,
    DomainCreated,
    DomainDestroyed,
    DomainExists,
    DomainNotFound,
    DomainPaused,
    DomainShutdown,
    DomainState,
    DomainUnpaused,
    EventsLost,
    Feature,
    FileMissing,
    Host,
    InvalidState,
    NotPrivileged,
    OperationCancelled,
    OperationTimeout,
    Scheduler,
    ShutdownReason,
    UnsupportedFeature,
    Vif,
)
from pyxen.backends.base import Backend, DomainRef
from tests.xen.support import GUESTS, MakeConfig, ready, wait_until, xl_domids

URI = "xen:///system"
PID = Path("/run/libvirtd.pid")
SOCKETS = Path("/run/libvirt")


def daemon() -> int:
    return int(PID.read_text())


def begin_daemon() -> None:
    subprocess.run(["lab-libvirtd"], check=True, capture_output=True, timeout=120)


def kill_daemon() -> None:
    """Kill the daemon, and take away what a daemon that is killed leaves lying about."""
    pid = daemon()
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: not Path(f"/proc/{pid}").exists())
    for socket in SOCKETS.glob("libvirt-*sock*"):
        socket.unlink()


@pytest.fixture(scope="module", autouse=True)
def libvirtd() -> Iterator[None]:
    begin_daemon()
    yield
    kill_daemon()


@pytest.fixture
def virt() -> Iterator[Host]:
    with pyxen.connect(URI) as host:
        yield host


def backend(host: Host) -> Backend:
    return host._backend


def names(host: Host) -> set[str | None]:
    return {info.name for info in host.list()}


def test_a_life(virt: Host, host: Host, tiny: MakeConfig) -> None:
    with virt.events() as events:
        domain = virt.create(tiny(name="virt1", vcpus=2), paused=True)
        info = domain.info()
        assert (info.name, info.type, info.state, info.maxvcpus) == ("virt1", "pvh", DomainState.PAUSED, 2)
        assert info.memory_kib >= 8 * 1024
        assert [info.domid for info in virt.list()] == [0, domain.domid]
        assert xl_domids()["virt1"] == domain.domid
        assert host.domains["virt1"].uuid == domain.uuid
        domain.unpause()
        assert domain.wait("running", "blocked", timeout=10) is not None
        domain.pause()
        assert host.domains["virt1"].info().state is DomainState.PAUSED
        with pytest.raises(InvalidState, match="paused"):
            domain.shutdown()
        assert domain.config().vcpus == 2
        domain.destroy()
        told = [events.get(10) for _ in range(4)]
        assert [type(event) for event in told] == [DomainCreated, DomainUnpaused, DomainPaused, DomainDestroyed]
        assert {(event.domid, event.uuid) for event in told if event} == {(domain.domid, domain.uuid)}
    with pytest.raises(DomainNotFound):
        domain.info()
    assert names(virt) == {"Domain-0"}


def test_the_host(virt: Host, host: Host) -> None:
    ours, theirs = host.info(), virt.info()
    assert (theirs.nr_cpus, theirs.cores_per_socket) == (ours.nr_cpus, ours.cores_per_socket)
    assert theirs.xen_version.split(".")[:2] == ours.xen_version.split(".")[:2]
    assert abs(theirs.memory_kib - ours.memory_kib) < 4096
    assert Feature.ALL_DOMAINS not in backend(virt).features
    assert virt.list()[0].type == "pv"


def test_devices_of_the_host(virt: Host, host: Host) -> None:
    subprocess.run(["modprobe", "-a", "xhci_pci", "xen-pciback"], check=True, timeout=60)
    wait_until(lambda: host.pci["00:06.0"].driver == "xhci_hcd" == virt.pci["00:06.0"].driver)
    assert virt.pci.list() == host.pci.list()
    virt.pci.assignable_add("00:06.0")
    taken = virt.pci["00:06.0"]
    assert (taken.driver, taken.assignable) == ("pciback", True)
    assert virt.pci.assignable_list() == host.pci.assignable_list() == [taken]
    listed = subprocess.run(["xl", "pci-assignable-list"], check=True, capture_output=True, text=True, timeout=60)
    assert listed.stdout.split() == ["0000:00:06.0"]
    virt.pci.assignable_add("00:06.0")  # it is so already
    virt.pci.assignable_remove("00:06.0")
    assert virt.pci["00:06.0"] == host.pci["00:06.0"]
    assert host.pci["00:06.0"].driver == "xhci_hcd"


def test_a_guest_that_ends(virt: Host, tiny: MakeConfig) -> None:
    with virt.events(DomainShutdown, DomainDestroyed) as events:
        domain = virt.create(tiny(name="virt1", cmdline="poweroff"), paused=True)
        domain.unpause()
        ended = domain.wait(timeout=10)  # libvirt destroys it
        assert ended is None or ended.shutdown_reason is ShutdownReason.POWEROFF
        event = events.get(10)
        assert isinstance(event, DomainShutdown)
        assert (event.domid, event.reason) == (domain.domid, ShutdownReason.POWEROFF)
        assert isinstance(events.get(10), DomainDestroyed)
        assert domain not in virt.domains


def test_a_guest_that_is_kept_when_it_crashes(virt: Host, tiny: MakeConfig) -> None:
    with virt.events(DomainShutdown, DomainDestroyed) as events:
        domain = virt.create(tiny(name="virt1", cmdline="crash", on_crash="preserve"))
        event = events.get(10)
        assert isinstance(event, DomainShutdown)
        assert event.reason is ShutdownReason.CRASH
        assert domain.wait(timeout=10) == domain.info()
        assert domain.info().state is DomainState.CRASHED
        assert events.get(0) is None
        domain.destroy()
        assert isinstance(events.get(10), DomainDestroyed)


def test_what_cannot_be_created(virt: Host, tiny: MakeConfig) -> None:
    with pytest.raises(FileMissing) as caught:
        virt.create(tiny(name="virt1", kernel="/nonesuch/kernel"))
    assert caught.value.filename == "/nonesuch/kernel"
    domain = virt.create(tiny(name="virt1"))
    with pytest.raises(DomainExists, match="virt1"):
        virt.create(tiny(name="virt1"))
    domain.destroy()
    with pytest.raises(pyxen.OperationFailed, match="libvirt"):
        virt.create(tiny(name="virt1", memory=1_000_000))
    assert names(virt) == {"Domain-0"}


def test_changes(virt: Host, host: Host, tiny: MakeConfig) -> None:
    domain = virt.create(tiny(name="virt1", vcpus=2, memory=16, maxmem=32), paused=True)
    domain.set_memory(12)
    domain.set_vcpus(1)
    domain.set_maxmem(24)
    domain.set_scheduler(Scheduler(weight=512, cap=50))
    seen = host.domains["virt1"]
    assert (seen.config().scheduler.weight, seen.config().scheduler.cap) == (512, 50)
    assert (seen.config().maxvcpus, seen.config().maxmem) == (2, 24)
    assert domain.config().maxmem == 32
    with pytest.raises(pyxen.InvalidArgument):
        domain.set_vcpus(3)
    with pytest.raises(UnsupportedFeature, match="rename"):
        domain.rename("virt2")
    domain.pin_vcpu("all", "0")
    assert list(virt.libvirt.pinning(domain)) == [CpuSet("0")] * 2
    everything = CpuSet(range(host.info().nr_cpus))
    assert [vcpu.cpus for vcpu in seen.vcpus()] == [CpuSet("0")] * 2
    domain.pin_vcpu(0, everything)
    assert [vcpu.cpus for vcpu in seen.vcpus()] == [everything, CpuSet("0")]
    with pytest.raises(pyxen.InvalidArgument, match="7777"):
        domain.pin_vcpu(0, "7777")
    disk = Disk(str(GUESTS / "tiny-hvm.img"), vdev="xvdb", readonly=True)
    assert domain.attach(disk).vdev == "xvdb"
    with pytest.raises(pyxen.DeviceExists):
        domain.attach(disk)
    with pytest.raises(pyxen.NotFound, match="xvdb"):
        domain.detach("xvdc")
    assert [disk.vdev for disk in host.domains["virt1"].config().disks] == ["xvdb"]
    stats = backend(virt).stats(DomainRef(domain.domid, domain.uuid))
    assert stats.memory_kib > 0
    domain.destroy()


def test_what_libvirt_says_of_the_host(virt: Host, host: Host) -> None:
    found = virt.libvirt.capabilities()
    assert (found.arch, found.iommu) == ("x86_64", False)
    assert found.cpu_model
    assert {"xen", "xenpvh", "hvm"} <= {guest.os_type for guest in found.guests}
    able = virt.libvirt.domain_capabilities(machine="xenfv")
    assert (able.domain_type, able.machine, able.arch) == ("xen", "xenfv", "x86_64")
    assert {"disk", "hostdev"} <= able.devices
    assert (able.max_vcpus or 0) >= 128
    assert virt.libvirt.compare_cpu("<cpu><arch>x86_64</arch><model>qemu64</model></cpu>") in CpuComparison
    cpu = "<cpu><arch>x86_64</arch><model>Nehalem</model></cpu>"
    assert "<model" in virt.libvirt.baseline_cpu([cpu, cpu])
    with pytest.raises(pyxen.InvalidArgument):
        virt.libvirt.baseline_cpu(["<cpu"])
    for call in (virt.libvirt.networks, virt.libvirt.pools, lambda: virt.libvirt.volumes("default")):
        with pytest.raises(UnsupportedFeature, match=r"libvirt \(Xen\) cannot do this"):
            call()
    with pytest.raises(UnsupportedFeature):
        host.libvirt.capabilities()


def test_a_definition_is_changed(virt: Host, tiny: MakeConfig) -> None:
    kept = virt.define(tiny("pv", name="virt1", memory=16, maxmem=32, vcpus=2))
    disk = Disk(str(GUESTS / "tiny-hvm.img"), vdev="xvdb", readonly=True)
    try:
        virt.libvirt.attach(kept, disk, config=True)
        with pytest.raises(pyxen.DeviceExists):
            virt.libvirt.attach("virt1", disk, config=True)
        assert "xvdb" in virt.libvirt.xml(kept, config=True)
        domain = virt.start("virt1")
        assert [one.vdev for one in domain.config().disks] == ["xvdb"]
        virt.libvirt.detach(domain, "xvdb", config=True)
        assert "xvdb" in virt.libvirt.xml(domain)
        assert "xvdb" not in virt.libvirt.xml(domain, config=True)
        virt.libvirt.set_memory(domain, 12 * 1024, live=True, config=True)
        assert ">12288</currentMemory>" in virt.libvirt.xml(domain, config=True)
        virt.libvirt.set_vcpus(domain, 1, config=True)
        assert "current='1'" in virt.libvirt.xml(domain, config=True)
        assert virt.libvirt.job(domain) is None
        virt.libvirt.set_metadata(domain, "http://example.com/", "<owner>me</owner>", live=True)
        assert virt.libvirt.metadata(domain, "http://example.com/") == "<owner>me</owner>"
        assert virt.libvirt.metadata(domain, "http://example.com/", config=True) is None
        with pytest.raises(UnsupportedFeature):
            virt.libvirt.addresses(domain, "arp")
        domain.destroy()
        with pytest.raises(InvalidState):
            virt.libvirt.set_memory(kept, 12 * 1024, live=True)
    finally:
        virt.undefine("virt1")


def test_a_managed_save(virt: Host, host: Host, tiny: MakeConfig) -> None:
    kept = virt.define(tiny("pv", name="virt1", cmdline="willing"))
    domain = virt.start(kept.uuid)
    ready(host.domains[kept.name])
    try:
        with ThreadPoolExecutor() as pool:
            save = pool.submit(virt.libvirt.managed_save, domain, timeout=120)
            wait_until(lambda: (job := virt.libvirt.job(domain)) is not None and job.elapsed_ms > 0)
            with pytest.raises(UnsupportedFeature, match="xenlight:///"):
                virt.libvirt.abort_job(domain)
            save.result(120)
        assert virt.libvirt.job(kept) is None
        assert kept.name not in xl_domids()
        assert virt.libvirt.has_managed_save(kept)
        with pytest.raises(InvalidState, match="remove_managed_save"):
            virt.undefine(kept.uuid)
        again = virt.start(kept.uuid)
        assert not virt.libvirt.has_managed_save(kept)
        assert xl_domids()[kept.name] == again.domid
        again.destroy()
    finally:
        virt.libvirt.remove_managed_save(kept)
        virt.undefine(kept.uuid)


def test_each_toolstack_has_its_domains(virt: Host, host: Host, tiny: MakeConfig) -> None:
    ours = host.create(tiny(name="ours"))
    assert names(virt) == {"Domain-0"}
    with pytest.raises(DomainNotFound):
        backend(virt).domain_info(DomainRef(ours.domid, ours.uuid))
    theirs = virt.create(tiny(name="theirs"))
    with virt.events(DomainDestroyed) as events:
        assert {"ours", "theirs"} <= names(host)
        host.domains["theirs"].destroy()
        event = events.get(20)
        assert event is not None
        assert event.uuid == theirs.uuid
        wait_until(lambda: names(virt) == {"Domain-0"}, 20)
    ours.destroy()


def test_another_host_that_does_not_let_us_in() -> None:
    subprocess.run(["lab-sshd"], check=True, capture_output=True, timeout=120)
    with pyxen.connect("xen+ssh://root@localhost/system") as virt:
        assert names(virt) == {"Domain-0"}
    with pytest.raises(NotPrivileged, match="nobody@localhost"):
        pyxen.connect("xen+ssh://nobody@localhost/system?no_tty=1")


def test_a_daemon_that_hangs(virt: Host, host: Host, tiny: MakeConfig) -> None:
    virt.create(tiny(name="before")).destroy()  # opens the connection for work
    os.kill(daemon(), signal.SIGSTOP)
    try:
        begun = time.monotonic()
        with pytest.raises(OperationTimeout, match="destroys it as soon as"):
            virt.create(tiny(name="late"), timeout=0.5)
        assert time.monotonic() - begun < 3
    finally:
        os.kill(daemon(), signal.SIGCONT)
    wait_until(lambda: names(virt) == {"Domain-0"}, 20)
    wait_until(lambda: names(host) <= {"Domain-0"}, 20)


def test_a_daemon_that_is_killed_in_a_call(virt: Host, tiny: MakeConfig) -> None:
    virt.create(tiny(name="before")).destroy()
    os.kill(daemon(), signal.SIGSTOP)  # so that the call is under way
    operation = backend(virt).create(tiny(name="never"), paused=False, timeout=30)
    threading.Timer(0.3, kill_daemon).start()
    with pytest.raises(ConnectFailed):
        operation.wait()
    wait_until(lambda: broken(virt), 60)  # a child of the daemon's may hold its sockets until keepalives go unanswered
    with pytest.raises(ConnectFailed, match="reconnects as soon as"):
        virt.create(tiny(name="never"))
    begin_daemon()
    wait_until(lambda: not broken(virt), 30)
    assert names(virt) == {"Domain-0"}


@dataclass
class Subject:
    """What a verb is tried on: a host behind the daemon, and a paused domain there."""

    virt: Host
    domain: Domain
    tiny: MakeConfig
    file: Path


VERBS: dict[str, Callable[[Subject], object]] = {
    "list": lambda s: s.virt.list(),
    "info": lambda s: s.domain.info(),
    "config": lambda s: s.domain.config(),
    "stats": lambda s: s.virt.stats(),
    "memory": lambda s: s.domain.memory(),
    "events": lambda s: s.virt.events().close(),
    "create": lambda s: s.virt.create(s.tiny(name="other"), paused=True, timeout=20),
    "define": lambda s: s.virt.define(s.tiny(name="defined")),
    "unpause": lambda s: s.domain.unpause(),
    "set_memory": lambda s: s.domain.set_memory(s.domain.config().memory),
    "attach": lambda s: s.domain.attach(Vif(), timeout=20),
    "wait": lambda s: s.domain.wait("shutdown", timeout=1),
    "save": lambda s: s.domain.save(s.file, timeout=20),
    "destroy": lambda s: s.domain.destroy(timeout=20),
}
"""What the daemon is asked to do when it is killed or stopped."""

SHORT = ("list", "create", "destroy")
"""Verbs in which it is killed in every run: each takes the time that a daemon needs to begin."""

ENDED = 90.0
"""Seconds in which each of them ends: a daemon whose children hold its sockets is missed by its keepalives."""


@pytest.fixture
def subject(virt: Host, tiny: MakeConfig, tmp_path: Path) -> Iterator[Subject]:
    found = Subject(virt, virt.create(tiny(name="virt1"), paused=True), tiny, tmp_path / "saved")
    yield found
    wait_until(lambda: not broken(virt), 60)
    for domain in virt.guests:
        domain.destroy(timeout=60)
    for kept in virt.defined():
        virt.undefine(kept.name)
    wait_until(lambda: names(virt) == {"Domain-0"}, 30)


def ends_well(subject: Subject, verb: str, *, meanwhile: Callable[[], None]) -> None:
    """Stop the daemon, begin a verb, let something happen to the daemon; the verb ends with a result or an error."""
    os.kill(daemon(), signal.SIGSTOP)
    with ThreadPoolExecutor(1) as pool:
        begun = pool.submit(VERBS[verb], subject)
        try:
            time.sleep(0.5)
        finally:
            meanwhile()
        error = begun.exception(ENDED)
    assert error is None or isinstance(error, pyxen.Error), repr(error)


@pytest.mark.parametrize("verb", VERBS)
def test_a_daemon_that_stops_and_goes_on_in_a_verb(subject: Subject, verb: str) -> None:
    pid = daemon()
    ends_well(subject, verb, meanwhile=lambda: os.kill(pid, signal.SIGCONT))
    assert not broken(subject.virt)


@pytest.mark.parametrize(
    "verb", [pytest.param(verb, marks=() if verb in SHORT else pytest.mark.long) for verb in VERBS]
)
def test_a_daemon_that_is_killed_in_a_verb(subject: Subject, verb: str) -> None:
    def die() -> None:
        kill_daemon()
        begin_daemon()

    ends_well(subject, verb, meanwhile=die)


def broken(host: Host) -> bool:
    try:
        host.list()
    except ConnectFailed:
        return True
    return False


def test_events_go_on_after_a_new_daemon_has_come(virt: Host, tiny: MakeConfig) -> None:
    stays = virt.create(tiny(name="stays"))
    with virt.events() as events:
        kill_daemon()
        with pytest.raises(ConnectFailed, match=r"libvirtd.*run"):
            pyxen.connect(URI)
        assert events.get(0.5) is None
        begin_daemon()
        lost = events.get(30)
        assert isinstance(lost, EventsLost)
        assert lost.count is None
        assert stays.info().name == "stays"
        domain = virt.create(tiny(name="virt1"))
        created = events.get(10)
        assert isinstance(created, DomainCreated)
        assert created.uuid == domain.uuid
        domain.destroy()
        assert isinstance(events.get(10), DomainDestroyed)
    stays.destroy()


def test_closing_stops_what_runs(tiny: MakeConfig) -> None:
    with pyxen.connect(URI) as virt:
        domain = virt.create(tiny(name="virt1"), paused=True)
        waiting = backend(virt).wait(DomainRef(domain.domid, domain.uuid), {DomainState.SHUTDOWN}, timeout=None)
        domain.destroy()
        assert waiting.wait() is None
        domain = virt.create(tiny(name="virt1"), paused=True)
        waiting = backend(virt).wait(DomainRef(domain.domid, domain.uuid), {DomainState.SHUTDOWN}, timeout=None)
    with pytest.raises(OperationCancelled, match="closed"):
        waiting.wait()
    with pyxen.connect(URI) as virt:
        virt.domains["virt1"].destroy()
