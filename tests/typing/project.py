"""A user's project: what type checkers make of it is asserted with each call. It is checked, and never run."""

from __future__ import annotations

import dataclasses
import uuid
from collections.abc import Sequence
from io import FileIO
from typing import Any, assert_type

import pyxen
import pyxen.testing
from pyxen import (
    Brake,
    CpuSet,
    Disk,
    Domain,
    DomainConfig,
    DomainCreated,
    DomainDestroyed,
    DomainEvent,
    DomainInfo,
    DomainRates,
    DomainShutdown,
    DomainState,
    DomainStats,
    DomainType,
    DomainUptime,
    Event,
    EventReader,
    EventsLost,
    Feature,
    Host,
    HostCapability,
    HostInfo,
    HypfsEntry,
    LiveDevice,
    Loss,
    NodeChange,
    NodePermissions,
    Operation,
    Outcome,
    Pci,
    Progress,
    RemusOptions,
    Supervisor,
    Trigger,
    Vif,
    Vnc,
    XenstoreTransaction,
)


def configurations() -> list[DomainConfig]:
    """Say what is wanted, in all the ways there are."""
    web = DomainConfig(
        "web1",
        type="pvh",
        kernel="/boot/vmlinuz",
        memory=512,
        vcpus=2,
        cpus="0-3,^1",
        on_reboot="restart",
        on_crash="coredump-destroy",
        disks=[Disk("/dev/vg0/web1", vdev="xvda", format="raw")],
        vifs=[Vif(bridge="xenbr0", mac="00:16:3e:00:00:01")],
    )
    assert_type(web.type, DomainType)
    assert_type(web.uuid, uuid.UUID | None)
    assert_type(web.disks, tuple[Disk, ...])
    assert_type(web.memory, float | None)
    assert_type(web.effective_maxvcpus, int)
    bigger = dataclasses.replace(web, memory=1024, type=DomainType.PV)
    assert_type(bigger, DomainConfig)
    assert_type(web.replace(name="web2"), DomainConfig)
    desktop = DomainConfig(
        "desktop", type="hvm", vga="stdvga", hdtype="ahci", bios="ovmf", vnc=Vnc(enable=True), tsc_mode="native"
    )
    assert_type(DomainConfig.from_dict(desktop.to_dict()), DomainConfig)
    return [web, bigger, desktop]


def spellings(text: str) -> str:
    """Translate a configuration."""
    config = pyxen.xlcfg.loads(text)
    assert_type(config, DomainConfig)
    assert_type(pyxen.xlcfg.dumps(config), str)
    assert_type(pyxen.libvirtxml.loads(pyxen.libvirtxml.dumps(config)), DomainConfig)
    assert_type(pyxen.libxljson.loads(pyxen.libxljson.dumps(config)), DomainConfig)
    assert_type(pyxen.convert(text, "libvirt-xml"), tuple[str, tuple[Loss, ...]])
    for diagnostic in pyxen.xlcfg.lint(text):
        print(diagnostic)
    return pyxen.xlcfg.dumps(config, on_loss="ignore")


def look(host: Host) -> None:
    """Look at a host."""
    assert_type(host.info(), HostInfo)
    assert_type(host.info().free_memory_kib, int)
    assert_type(host.info().capabilities, frozenset[HostCapability] | None)
    assert_type(host.info().xen_version_info >= (4, 18), bool)
    assert_type(host.topology().cpus[0].core, int | None)
    assert_type(host.idle_times_ns(), dict[int, int])
    infos = host.list()
    assert_type(infos, list[DomainInfo[Domain]])
    for info in infos:
        assert_type(info.domain, Domain)
        assert_type(info.state, DomainState)
        assert_type(info.name, str | None)
        assert_type(info.uuid, uuid.UUID)
    assert_type(host.uptimes(), list[DomainUptime[Domain]])
    assert_type(host.stats(), tuple[DomainStats[Domain], ...])
    assert_type(host.stats()[0].info.domain, Domain)
    assert_type(dataclasses.replace(infos[0], name="web2"), DomainInfo[Domain])
    assert_type(host.log(), str)
    for line in host.follow_log(timeout=1):
        assert_type(line, str)
    assert_type(host.hypfs["/params/loglvl"], str | int | bool | bytes)
    assert_type(host.hypfs.list("/params"), tuple[HypfsEntry, ...])
    host.hypfs["/params/loglvl"] = "all"
    assert_type(host.flask.label(infos[0]), str)
    assert_type(host.psr.get(host.domains["web1"], "l3"), int)
    assert_type(host.supports("events"), bool)
    assert_type(host.supports(Feature.SAVE), bool)
    assert_type(host.domains["web1"], Domain)
    assert_type(host.domains.get(7), Domain | None)
    for domain in host.domains:
        assert_type(domain, Domain)
        assert_type(domain.name, str | None)
    assert_type(host.orphans(), tuple[Domain, ...])
    assert_type(host.defined(), Sequence[pyxen.DefinedDomain])


def either(infos: Sequence[DomainInfo], by_name: dict[str | None, DomainInfo]) -> list[DomainInfo]:
    """Take what either API returns: what has no parameter says nothing of the handle."""
    for info in infos:
        assert_type(info.domain, Any)
        info.domain.destroy()
    return [*infos, *by_name.values()]


def on_end(end: DomainShutdown | DomainInfo) -> None:
    """Take what either API tells."""
    end.domain.destroy()


def passes(host: Host) -> None:
    """Give what a host returns to those who take either."""
    infos: list[DomainInfo] = host.list()
    either(host.list(), {info.name: info for info in host.list()})
    on_end(infos[0])
    by_domid: dict[int, DomainInfo[Domain]] = {info.domid: info for info in host.list()}
    assert_type(by_domid[1].domain, Domain)
    events: EventReader[Event] = host.events()
    ends: EventReader[DomainShutdown[Domain] | EventsLost] = host.events(DomainShutdown)
    for end in ends:
        if isinstance(end, DomainShutdown):
            assert_type(end.domain, Domain)
            on_end(end)
    kinds: tuple[type[Event], ...] = (DomainShutdown, DomainCreated)
    events = host.events(*kinds)
    events.close()


def applied(host: Host, config: DomainConfig) -> None:
    """Bring a domain to a configuration."""
    done = host.apply(config)
    assert_type(done, pyxen.Applied[Domain])
    assert_type(done.domain, Domain | Any)
    assert_type(done.domain.info(), DomainInfo[Domain] | Any)
    assert_type(host.begin.apply(config), Operation[pyxen.Applied[Domain]])


def saved(operation: Operation[None]) -> None:
    """Say what has become of a save."""
    print(operation.verb, operation.exception())


def refused(error: pyxen.LossyConversion | pyxen.ApplyFailed) -> None:
    """Look at what an error says."""
    if isinstance(error, pyxen.ApplyFailed):
        assert_type(error.done, tuple[pyxen.ApplyStep, ...])
        assert_type(error.failed, pyxen.ApplyStep | None)
    else:
        assert_type(error.losses, tuple[Loss, ...])


def run(host: Host, config: DomainConfig) -> None:
    """Create a domain, and do this and that to it."""
    web = host.create(config, timeout=60)
    assert_type(web, Domain)
    with host.pool(config, size=2) as pool:
        assert_type(pool, pyxen.Pool)
        assert_type(pool.take("web2"), Domain)
        assert_type(pool.begin.take("web3").result(), Domain)
    assert_type(host.clone("/srv/web1.save", 2), list[Domain])
    assert_type(web.wait("shutdown", "crashed", timeout=5), DomainInfo[Domain] | None)
    assert_type(web.wait(DomainState.PAUSED), DomainInfo[Domain] | None)
    assert_type(web.info(), DomainInfo[Domain])
    assert_type(web.uptime().domain, Domain)
    web.begin.save("/srv/web1.save").add_done_callback(saved)
    web.send_trigger("power")
    web.send_trigger(Trigger.NMI, vcpu=1)
    disk = web.attach(Disk("/srv/data.qcow2", vdev="xvdb", format="qcow2"))
    assert_type(disk, Disk)
    web.detach(disk, force=True)
    assert_type(Disk.from_xl("phy:/dev/vg0/web1,xvda,w"), Disk)
    assert_type(web.attach(Vif.from_xl("bridge=xenbr0", on_loss="raise")), Vif)
    assert_type(disk.to_xl(), str)
    assert_type(web.disks["xvdb"], LiveDevice[Disk])
    assert_type(web.disks["xvdb"].config, Disk)
    assert_type(web.disks["xvdb"].frontend_state, pyxen.DeviceState | None)
    assert_type(web.vifs.get(0), LiveDevice[Vif] | None)
    assert_type(web.vifs.list(), Sequence[LiveDevice[Vif]])
    assert_type(web.disks.attach(disk), Disk)
    assert_type(web.disks.begin.attach(disk), Operation[Disk])
    for live in web.pcis:
        assert_type(live.config, Pci)
        web.pcis.detach(live)
    assert_type("xvdb" in web.disks, bool)
    web.pin_vcpu("all", CpuSet("0-3"))
    web.pin_vcpu(0, [1, 2])
    assert_type(web.config(), DomainConfig)
    assert_type(web.console(), FileIO)
    assert_type(web.userdata("tool"), bytes | None)
    assert_type(web.stats(), DomainStats[Domain])
    assert_type(web.stats().disks, tuple[pyxen.DiskStats, ...])
    assert_type(pyxen.Sampler(host).sample(), tuple[DomainRates[Domain], ...])
    assert_type(web.preserve("-old"), Domain)
    assert_type(web.wait("unpaused", "shutdown"), DomainInfo[Domain] | None)
    assert_type(web.xenstore_path, str)
    web.remus(["ssh", "host2"], RemusOptions(interval=0.1))
    try:
        web.shutdown(timeout=60)
    except pyxen.OperationTimeout as late:
        assert_type(late.log, tuple[str, ...])
        web.destroy()


def begin(host: Host, config: DomainConfig) -> None:
    """Begin what takes time."""
    creating = host.begin.create(config)
    assert_type(creating, Operation[Domain])
    assert_type(creating.result(), Domain)
    progress = creating.progress
    assert_type(progress, Progress | None)
    if progress is not None:
        assert_type(progress.percent, int)
        what, percent = progress
        assert_type(what, str)
        assert_type(percent, int)
    assert_type(creating.result().begin.save("/srv/web1.save"), Operation[None])
    assert_type(creating.result().begin.wait("crashed"), Operation[DomainInfo | None])
    assert_type(creating.cancel(), bool)


def watch(host: Host) -> None:
    """Watch a host."""
    with host.events() as everything:
        assert_type(everything, EventReader[Event[Domain]])
        assert_type(everything.get(1.0), Event[Domain] | None)
        for each in everything:
            assert_type(each.domain, Domain | None)
            match each:
                case DomainEvent(name="web1"):
                    each.domain.destroy()
                case EventsLost(count=lost):
                    assert_type(each.domain, None)
                    assert_type(lost, int | None)
                case _:
                    pass
    with host.events(DomainShutdown) as shutdowns:
        for event in shutdowns:
            assert_type(event, DomainShutdown | EventsLost)
            if isinstance(event, DomainShutdown):
                print(event.name, event.reason, event.domid + 1)
            else:
                assert_type(event.count, int | None)
    with host.events(DomainCreated, DomainDestroyed, domain="web1") as lives:
        for life in lives:
            assert_type(life, DomainCreated | DomainDestroyed | EventsLost)
    with Supervisor(host, brake=Brake(first_delay=1.0), on_outcome=outcome):
        pass


def outcome(told: Outcome) -> None:
    """Note what the supervisor did."""
    print(told)


async def awaited(config: DomainConfig) -> None:
    """Do the same with asyncio."""
    async with pyxen.aio.connect("memory:///") as xen:
        assert_type(xen, pyxen.aio.Host)
        web = await xen.create(config)
        assert_type(web, pyxen.aio.Domain)
        assert_type(await pyxen.aio.storage.volume_groups(), tuple[pyxen.aio.storage.VolumeGroupInfo, ...])
        assert_type(await web.info(), DomainInfo[pyxen.aio.Domain])
        assert_type(await web.stats(), DomainStats[pyxen.aio.Domain])
        assert_type(await xen.list(), list[DomainInfo[pyxen.aio.Domain]])
        assert_type(await xen.uptimes(), list[DomainUptime[pyxen.aio.Domain]])
        assert_type(await xen.stats(), tuple[DomainStats[pyxen.aio.Domain], ...])
        assert_type(await pyxen.aio.Sampler(xen).sample(), tuple[DomainRates[pyxen.aio.Domain], ...])
        assert_type(await xen.apply(config), pyxen.Applied[pyxen.aio.Domain])
        await (await xen.list())[0].domain.destroy()
        either(await xen.list(), {})
        assert_type(await xen.domains.get("web1"), pyxen.aio.Domain | None)
        assert_type(await xen.domains["web1"], pyxen.aio.Domain)
        assert_type(await web.attach(Vif(bridge="xenbr0")), Vif)
        assert_type(await web.wait("shutdown"), DomainInfo[pyxen.aio.Domain] | None)
        assert_type(await xen.begin.create(config), pyxen.aio.Domain)
        async with await xen.pool(config) as pool:
            assert_type(await pool.take("web2"), pyxen.aio.Domain)
        assert_type(await xen.clone("/srv/web1.save", 2), list[pyxen.aio.Domain])
        async with xen.events(DomainShutdown) as events:
            async for event in events:
                assert_type(event, DomainShutdown | EventsLost)
        async for each in xen.events():
            assert_type(each.domain, pyxen.aio.Domain | None)
        async for domain in xen.domains:
            assert_type(domain, pyxen.aio.Domain)
        assert_type(await xen.guests["web1"], pyxen.aio.Domain)
        assert_type(await web.disks["xvda"], LiveDevice[Disk])
        assert_type(await web.disks.attach(Disk("/srv/a.img", vdev="xvdb")), Disk)
        async for vif in web.vifs:
            assert_type(vif, LiveDevice[Vif])
        assert_type(await xen.vm(web.uuid).wait_start(after=web, timeout=5), pyxen.aio.Domain)
        assert_type(await xen.xenstore.read_many(["/a"]), dict[str, str | None])
        assert_type(await xen.xenstore.transaction(lambda transaction: transaction.read_bytes("/a")), bytes)
        async with xen.xenstore.watch("/a", timeout=5) as changes:
            async for change in changes:
                assert_type(change, NodeChange)
        reader = xen.events(DomainCreated, DomainDestroyed)
        assert_type(await reader.get(1), DomainCreated | DomainDestroyed | EventsLost | None)


def xenstore(host: Host) -> None:
    store = host.xenstore
    assert_type(store.read("/a"), str)
    assert_type(store.list("/a"), list[str])
    assert_type(store.transaction(count), int)
    store.set_permissions("/a", NodePermissions(0, "read", {5: "both"}))
    assert_type(store.permissions("/a"), NodePermissions)
    with store.watch("/a", "/b") as changes:
        assert_type(changes.get(1), NodeChange | None)
    assert_type(host.guests["web1"], Domain)
    assert_type(host.vm("0b3f1a4e-8e0f-4d1c-9f5b-2f1d6c1b8a77").get(), Domain | None)


def count(transaction: XenstoreTransaction) -> int:
    transaction.write("/a", "1")
    return len(transaction.list("/"))


def tested() -> None:
    """Test it."""
    with pyxen.testing.FakeHost() as fake:
        assert_type(fake, pyxen.testing.FakeHost)


def main() -> None:
    """Run all of it."""
    with pyxen.connect() as xen:
        assert_type(xen, Host)
        look(xen)
        for config in configurations():
            run(xen, config)
