"""Domains are made, run and end."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from uuid import UUID, uuid4

import pytest

from pyxen import (
    CpuSet,
    DeviceModel,
    Disk,
    Domain,
    DomainConfig,
    DomainExists,
    DomainNotFound,
    DomainState,
    DomainType,
    FileMissing,
    Host,
    InvalidArgument,
    InvalidState,
    NotEnoughMemory,
    NotFound,
    OperationTimeout,
    ShutdownReason,
    UnsupportedFeature,
    UsbDev,
    ValidationError,
    Vif,
)
from pyxen.backends.base import DomainRef
from pyxen.features import Feature
from tests.backends.differences import backend_of, differs
from tests.backends.hosts import Guests
from tests.backends.support import SECONDS, Guest, Make, goes_on, supporting

ALIVE = {DomainState.RUNNING, DomainState.BLOCKED}


def test_create_and_destroy(host: Host, make: Make) -> None:
    domain = make("web1")
    assert domain.info().state in ALIVE
    domain.destroy()
    assert domain not in host.domains
    assert host.domains.get("web1") is None


def test_domids_are_not_reused_soon(make: Make) -> None:
    first = make("web1")
    first.destroy()
    assert make("web1").domid != first.domid


def test_pause_and_unpause(host: Host, make: Make) -> None:
    domain = make("web1")
    with supporting(host, Feature.PAUSE):
        domain.pause()
        assert domain.info().state is DomainState.PAUSED
        domain.unpause()
        assert domain.info().state in ALIVE


def test_pauses_are_counted(host: Host, make: Make) -> None:
    if differs(host, "pausing"):
        return
    domain = make("web1", paused=True)
    with supporting(host, Feature.PAUSE):
        domain.pause()
        domain.unpause()
        assert domain.info().state is DomainState.PAUSED
        domain.unpause()
        assert domain.info().state in ALIVE
        with pytest.raises(InvalidState, match=r"web1 is .*, not paused"):
            domain.unpause()
        assert domain.info().state in ALIVE


def test_a_domain_that_is_left_paused(host: Host, make: Make) -> None:
    domain = make("web1", paused=True)
    assert domain.info().state is DomainState.PAUSED
    with pytest.raises(InvalidState, match="unpause it first") as caught:
        domain.shutdown()
    assert (caught.value.operation, caught.value.domid) == ("shutdown", domain.domid)
    with supporting(host, Feature.REBOOT), pytest.raises(InvalidState, match="unpause it first"):
        domain.reboot()
    with supporting(host, Feature.PAUSE):
        domain.unpause()
        assert domain.info().state in ALIVE


def test_a_check_of_what_can_be_created(host: Host, make: Make, config: Make, folder: str) -> None:
    with supporting(host, Feature.CHECK_CREATE):
        before = host.list()
        checked = host.check_create(config("web1", cpus="all"))
        assert (checked.name, checked.cpus) == ("web1", CpuSet(cpu.number for cpu in host.topology().cpus))
        assert [info.domid for info in host.list()] == [info.domid for info in before]
        with pytest.raises(FileMissing, match="no-such-disk"):
            host.check_create(config("web1", disks=[Disk(f"{folder}/no-such-disk", vdev="xvda", format="qcow2")]))
        with pytest.raises(FileMissing, match="no-such-kernel"):
            host.check_create(config("web1").replace(kernel=f"{folder}/no-such-kernel"))
        with pytest.raises(InvalidArgument, match="no-such-pool"):
            host.check_create(config("web1", pool="no-such-pool"))
        with pytest.raises(NotFound, match=r"no bridge nosuchbr0[\s\S]*iface nosuchbr0 inet dhcp"):
            host.check_create(config("web1", vifs=[Vif(bridge="nosuchbr0")]))
        with pytest.raises(NotEnoughMemory):
            host.check_create(config("web1", memory=1 << 20, maxmem=1 << 20))
        free = host.info().free_memory_kib // 1024
        with pytest.raises(NotEnoughMemory):
            host.check_create(config("web1", memory=free, maxmem=free), autoballoon=False)
        target = host.domains[0].info().memory_kib
        host.check_create(config("web1", memory=free, maxmem=free), autoballoon=True)  # dom0 could give up the little
        assert host.domains[0].info().memory_kib == target
        with pytest.raises(ValidationError, match="maxmem"):
            host.check_create(config("web1", memory=64, maxmem=32))
        domain = make("web1", paused=True)
        with pytest.raises(DomainExists, match="web1"):
            host.check_create(config("web1"))
        with pytest.raises(DomainExists, match=str(domain.uuid)):
            host.check_create(config("web2", uuid=domain.uuid))
        assert [info.domid for info in host.list()] == [*(info.domid for info in before), domain.domid]


def test_a_name_that_is_taken(host: Host, make: Make, config: Make) -> None:
    first = make("web1", paused=True)
    with pytest.raises(DomainExists, match="web1") as caught:
        host.create(config("web1"))
    assert caught.value.operation == "create"
    assert [info.uuid for info in host.list() if info.name == "web1"] == [first.uuid]


def test_a_uuid_that_is_taken(host: Host, make: Make, config: Make) -> None:
    uuid = uuid4()
    make("web1", uuid=uuid, paused=True)
    with pytest.raises(DomainExists, match=str(uuid)):
        host.create(config("web2", uuid=uuid))
    assert host.domains.get("web2") is None


def test_a_uuid_is_given_once(host: Host, config: Make) -> None:
    uuid = uuid4()
    begun = [host.begin.create(config(name, uuid=uuid), paused=True) for name in ("web1", "web2")]
    ends = [operation.exception() for operation in begun]
    [made] = [operation.result() for operation, end in zip(begun, ends, strict=True) if end is None]
    assert [type(end) for end in ends if end is not None] == [DomainExists]
    assert [info.domid for info in host.list() if info.uuid == uuid] == [made.domid]
    made.destroy()


def test_a_configuration_that_cannot_be(host: Host, config: Make) -> None:
    with pytest.raises(ValidationError, match="maxmem"):
        host.create(config("web1", memory=64, maxmem=32))
    assert host.domains.get("web1") is None


@pytest.mark.parametrize(
    ("kind", "settings", "says"),
    [
        ("pv", {"memory": 3}, "memory: 3 MiB is too little; PV guests need at least 4 MiB"),
        ("pvh", {"memory": 1}, "memory: 1 MiB is too little; PVH guests need at least 2 MiB"),
        ("pvh", {"memory": 8.25}, "memory: 8.25 is not a whole number of MiB, .*: round it up to 9"),
        ("pvh", {"memory": 8, "maxmem": 16.5}, "maxmem: 16.5 is not a whole number"),
        ("hvm", {"memory": 9}, "memory: 9 MiB is too little; .* at least 10 MiB, 8 of them for the graphics card"),
        ("hvm", {"memory": 12, "videoram": 16}, "at least 18 MiB, 16 of them"),
        ("hvm", {"memory": 32.5}, "memory: 32.5 is not a whole number"),
    ],
)
def test_memory_that_xen_does_not_build(host: Host, kind: str, settings: dict[str, Any], says: str) -> None:
    kernel: dict[str, Any] = {} if kind == "hvm" else {"kernel": "/k"}
    with pytest.raises(ValidationError, match=says) as caught:
        host.create(DomainConfig("web1", type=DomainType(kind), **kernel, **settings))
    assert caught.value.path in settings
    assert host.domains.get("web1") is None


@pytest.mark.parametrize(
    ("kind", "settings", "says"),
    [
        ("pvh", {"vcpus": 129}, "vcpus=129: PVH guests can have 128 vCPUs at most"),
        ("hvm", {"maxvcpus": 129}, "maxvcpus=129: HVM guests can have 128 vCPUs at most"),
        ("pv", {"vcpus": 1025}, "vcpus=1025: PV guests can have 1024 vCPUs at most: .* more with set_vcpus"),
    ],
)
def test_more_vcpus_than_xen_gives(host: Host, kind: str, settings: dict[str, Any], says: str) -> None:
    kernel: dict[str, Any] = {} if kind == "hvm" else {"kernel": "/k"}
    with pytest.raises(UnsupportedFeature, match=says) as caught:
        host.create(DomainConfig("web1", type=DomainType(kind), memory=64, **kernel, **settings))
    assert caught.value.feature == says.partition("=")[0]
    assert host.domains.get("web1") is None


def test_a_kernel_that_is_missing(host: Host, config: Make) -> None:
    if differs(host, "files"):
        return
    with pytest.raises(FileMissing, match="/no/such/kernel") as caught:
        host.create(config("web1", kernel="/no/such/kernel"))
    assert caught.value.filename == "/no/such/kernel"
    assert (caught.value.operation, caught.value.domain) == ("create", "web1")
    assert host.domains.get("web1") is None


@pytest.mark.parametrize(
    "settings",
    [
        *({key: "/no/such/file"} for key in ("acpi_firmware", "smbios_firmware", "bios_path_override")),
        {"firmware_override": "/no/such/file"},
        {"device_model": DeviceModel(path="/no/such/file")},
    ],
    ids=repr,
)
def test_a_firmware_or_a_device_model_that_is_missing(host: Host, config: Make, settings: dict[str, Any]) -> None:
    if backend_of(host).startswith("libvirt"):
        return  # its XML has no such settings
    with pytest.raises(FileMissing, match="/no/such/file") as caught:
        host.create(config("web1", type="hvm", memory=32, kernel=None, **settings))
    assert (caught.value.filename, caught.value.domain) == ("/no/such/file", "web1")
    assert host.domains.get("web1") is None


def test_a_program_that_is_missing(host: Host, config: Make, make: Make) -> None:
    if differs(host, "files"):
        return
    script = Vif(script="/no/such/file")
    for settings in ({"kernel": None, "bootloader": "/no/such/file"}, {"vifs": [script]}):
        with pytest.raises(FileMissing, match="/no/such/file") as caught:
            host.create(config("web1", **settings))
        assert caught.value.filename == "/no/such/file"
        assert host.domains.get("web1") is None
    domain = make("web1")
    with supporting(host, Feature.ATTACH), pytest.raises(FileMissing, match="/no/such/file"):
        domain.attach(script)
    assert not len(domain.vifs)


def test_a_usb_device_that_the_host_lacks(host: Host, config: Make) -> None:
    if backend_of(host).startswith("libvirt"):
        return  # it says so in words of its own
    wanted = config("web1", type="hvm", memory=32, kernel=None, usbdevs=[UsbDev(hostbus=7, hostaddr=99)])
    with pytest.raises(NotFound, match="no USB device 99 on bus 7"):
        host.create(wanted)
    with pytest.raises(NotFound, match="no USB device 99 on bus 7"):
        host.check_create(wanted)
    assert host.domains.get("web1") is None


def test_more_memory_than_there_is(host: Host, config: Make) -> None:
    if differs(host, "memory"):
        return
    free = host.info().free_memory_kib
    with pytest.raises(NotEnoughMemory, match="MiB free"):
        host.create(config("web1", memory=1 << 20))
    assert host.info().free_memory_kib >= free
    assert host.domains.get("web1") is None


@pytest.mark.parametrize("reason", [ShutdownReason.POWEROFF, ShutdownReason.REBOOT, ShutdownReason.CRASH])
def test_how_a_guest_ends(host: Host, make: Make, guests: Guests, reason: ShutdownReason) -> None:
    settings = {"on_poweroff": "preserve", "on_reboot": "preserve", "on_crash": "preserve"}
    domain = make("web1", cmdline=reason.name.lower(), **settings)
    if not guests.ends:
        return
    info = domain.wait(timeout=SECONDS)
    assert info is not None
    assert domain.wait(timeout=SECONDS) is not None  # it has ended already
    if reason is ShutdownReason.REBOOT and differs(host, "reboot"):
        assert info.shutdown_reason is ShutdownReason.POWEROFF
        return
    assert info.shutdown_reason is reason
    assert info.state is (DomainState.CRASHED if reason is ShutdownReason.CRASH else DomainState.SHUTDOWN)
    with pytest.raises(InvalidState, match="destroy it"):
        domain.shutdown()


def test_a_soft_reset_is_for_hvm_guests(host: Host, make: Make) -> None:
    domain = make("web1")
    with supporting(host, Feature.SOFT_RESET):
        if host.supports(Feature.SOFT_RESET):
            with pytest.raises(UnsupportedFeature, match="only HVM guests"):
                domain.soft_reset()
        else:
            domain.soft_reset()


def test_shutdown(host: Host, willing: Guest) -> None:
    domain = willing()
    domain.shutdown(timeout=120)
    assert domain not in host.domains


@pytest.mark.needs(Feature.SUSPEND, Feature.SYSRQ)
def test_a_crash_is_waited_for_after_a_suspend(linux: Guest) -> None:
    domain = linux()
    waiting = domain.begin.wait("crashed", timeout=SECONDS)
    domain.suspend(timeout=SECONDS)
    domain.resume()
    goes_on(domain)
    domain.send_sysrq("c")
    info = waiting.result(SECONDS)
    assert info is None or info.state is DomainState.CRASHED  # libvirt's daemon may destroy it


def test_reboot(host: Host, willing: Guest) -> None:
    domain = willing()
    with supporting(host, Feature.REBOOT):
        domain.reboot(timeout=SECONDS)
        if differs(host, "reboot"):
            return
        info = domain.wait(timeout=120)
        assert info is not None
        assert info.shutdown_reason is ShutdownReason.REBOOT


def test_a_reboot_is_waited_for(host: Host, willing: Guest) -> None:
    domain = willing()
    with supporting(host, Feature.REBOOT):
        domain.reboot(wait=True, timeout=120)
        if differs(host, "reboot"):
            return
        assert domain.info().shutdown_reason is ShutdownReason.REBOOT


def test_a_guest_that_does_not_listen(host: Host, make: Make) -> None:
    if differs(host, "deaf"):
        return
    domain = make("web1", cmdline="ignore")
    with pytest.raises(OperationTimeout, match="may still shut down") as caught:
        domain.shutdown(timeout=0.3)
    assert isinstance(caught.value, TimeoutError)
    with supporting(host, Feature.REBOOT), pytest.raises(OperationTimeout):
        domain.reboot(wait=True, timeout=0.3)
    assert domain.info().state in ALIVE
    with supporting(host, Feature.SUSPEND, Feature.XENSTORE):
        with pytest.raises(OperationTimeout):
            domain.suspend(timeout=0.3)
        assert host.xenstore.read(f"{domain.xenstore_path}/control/shutdown") == ""  # nobody asks for it any more


def test_a_guest_that_is_destroyed_instead_of_suspended(host: Host, make: Make) -> None:
    if differs(host, "deaf"):
        return
    domain = make("web1", cmdline="ignore")
    with supporting(host, Feature.SUSPEND):
        suspending = domain.begin.suspend(timeout=SECONDS)
        domain.destroy()
        with pytest.raises(DomainNotFound):
            suspending.result(SECONDS)


def test_wait_for_a_state(make: Make) -> None:
    domain = make("web1", paused=True)
    info = domain.wait("paused", timeout=SECONDS)
    assert info is not None
    assert info.state is DomainState.PAUSED
    with pytest.raises(OperationTimeout):
        domain.wait(timeout=0.1)
    with pytest.raises(ValueError, match="asleep"):
        domain.wait("asleep")
    waiting = domain.begin.wait()
    domain.destroy()
    assert waiting.result(SECONDS) is None


SPARED: dict[str, tuple[Feature | None, Callable[[Domain, str], object]]] = {
    "destroy": (None, lambda dom0, _: dom0.destroy()),
    "shutdown": (None, lambda dom0, _: dom0.shutdown()),
    "pause": (Feature.PAUSE, lambda dom0, _: dom0.pause()),
    "unpause": (Feature.PAUSE, lambda dom0, _: dom0.unpause()),
    "reboot": (Feature.REBOOT, lambda dom0, _: dom0.reboot()),
    "suspend": (Feature.SUSPEND, lambda dom0, _: dom0.suspend()),
    "resume": (Feature.SUSPEND, lambda dom0, _: dom0.resume()),
    "save": (Feature.SAVE, lambda dom0, folder: dom0.save(f"{folder}/save")),
    "core_dump": (Feature.CORE_DUMP, lambda dom0, folder: dom0.core_dump(f"{folder}/core")),
    "migrate": (Feature.MIGRATE, lambda dom0, _: dom0.migrate("xen+ssh://root@nowhere/system")),
    "migrate_over": (Feature.MIGRATE_OVER, lambda dom0, _: dom0.migrate_over(0, 1)),
    "remus": (Feature.REMUS, lambda dom0, _: dom0.remus("root@nowhere")),
    "soft_reset": (Feature.SOFT_RESET, lambda dom0, _: dom0.soft_reset()),
    "preserve": (Feature.PRESERVE, lambda dom0, _: dom0.preserve("-old")),
    "send_trigger": (Feature.TRIGGER, lambda dom0, _: dom0.send_trigger("nmi")),
    "send_sysrq": (Feature.SYSRQ, lambda dom0, _: dom0.send_sysrq("b")),
}
"""The verbs that would end, stop or move a domain, each with the feature that it needs."""


@pytest.mark.parametrize("verb", SPARED)
def test_dom0_is_spared(host: Host, folder: str, verb: str) -> None:
    before = next((info for info in host.list() if info.domid == 0), None)
    if before is None:
        assert backend_of(host) == "libvirt-test"  # the one host that has no dom0; a handle can mean it all the same
        dom0 = Domain(host._backend, host._calls, DomainRef(0, UUID(int=0)))
    else:
        dom0 = host.domains[0]
    needs, call = SPARED[verb]
    with supporting(host, *([] if needs is None else [needs])):
        if needs is not None and not host.supports(needs):
            call(dom0, folder)
        else:
            with pytest.raises(InvalidState, match="domain 0 is dom0, which runs the host") as caught:
                call(dom0, folder)
            assert (caught.value.operation, caught.value.domid) == (verb.removesuffix("_over"), 0)
    if before is None:
        return
    after = dom0.info()
    assert (after.name, after.uuid, after.shutdown_reason) == (before.name, before.uuid, None)
    assert after.state is not DomainState.PAUSED


def test_rename(host: Host, make: Make) -> None:
    domain = make("web1")
    make("web2", paused=True)
    with supporting(host, Feature.RENAME):
        domain.rename("web3")
        assert domain.info().name == "web3"
        assert domain.config().name == "web3"
        assert host.domains["web3"] == domain
        with pytest.raises(DomainExists):
            domain.rename("web2")
        for bad in ("", "a/b", "12"):
            with pytest.raises(ValidationError):
                domain.rename(bad)
        domain.rename("web3")


def test_preserve(host: Host, make: Make) -> None:
    domain = make("web1", cmdline="crash", on_crash="preserve")
    with supporting(host, Feature.PRESERVE):
        with pytest.raises(InvalidState, match="has not ended"):
            make("web2").preserve("-old")
        domain.wait(timeout=SECONDS)
        if host.supports(Feature.USERDATA):
            domain.set_userdata("mine", b"of the guest")
        old = domain.preserve("-old")
        assert old.info().name == "web1-old"
        if host.supports(Feature.USERDATA):
            assert old.userdata("mine") == b"of the guest"
        assert old.uuid != domain.uuid
        assert domain not in host.domains
        make("web1", uuid=domain.uuid, paused=True)


def test_the_configuration(make: Make, config: Make) -> None:
    given = config("web1", vcpus=1, maxvcpus=2, maxmem=16, on_crash="preserve")
    domain = make("web1", vcpus=1, maxvcpus=2, maxmem=16, on_crash="preserve", paused=True)
    found = domain.config()
    assert found.uuid == domain.uuid
    for field in ("name", "type", "kernel", "memory", "maxmem", "vcpus", "maxvcpus", "on_crash"):
        assert getattr(found, field) == getattr(given, field)


def test_the_configuration_makes_another_domain(host: Host, make: Make) -> None:
    first = make("web1")
    found = first.config().replace(name="web2", uuid=None)
    first.destroy()
    second = host.create(found)
    assert second.info().name == "web2"
    assert second.uuid != first.uuid
