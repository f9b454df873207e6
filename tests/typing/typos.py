"""Typos of a user, one on each line that says so: type checkers must mark them all. It is checked, and never run."""

from __future__ import annotations

import pyxen
import pyxen.aio
from pyxen import Disk, Domain, DomainConfig, DomainShutdown, Host, Vif
from pyxen import DomainConfgi  # typo
from pyxen import Part  # typo
from pyxen.aio import Hots  # typo
from pyxen.xlcfg import laods  # typo
from pyxen.testing import FakeHots  # typo

pyxen.conect()  # typo
pyxen.DomainConfgi("web1")  # typo
pyxen.xlcfg.laod("web1.cfg")  # typo
pyxen.libvirtxml.dupms(DomainConfig("web1"))  # typo
pyxen.libxljson.laods("{}")  # typo
pyxen.aio.conect()  # typo
pyxen.testing.FakeHots()  # typo
pyxen.evnts  # typo
pyxen.convert("", "libvirtxml")  # typo
pyxen.xlcfg.loads("", on_loss="rise")  # typo

DomainConfig("web1", type="pvhh")  # typo
DomainConfig("web1", on_reboot="restrat")  # typo
DomainConfig("web1", on_crash="coredump")  # typo
DomainConfig("web1", vga="stdvag")  # typo
DomainConfig("web1", bios="uefi")  # typo
DomainConfig("web1", tsc_mode="natve")  # typo
DomainConfig("web1", memroy=64)  # typo
DomainConfig("web1").memroy  # typo
Disk("/a.img", vdev="xvda", format="qcow3")  # typo
Disk("/a.img", vdev="xvda", backendtype="qdsik")  # typo
Vif(type="ioemul")  # typo
Vif.from_xl("bridge=xenbr0", on_loss="rais")  # typo
Disk.from_xml("phy:/dev/vg0/web1,xvda,w")  # typo


def use(host: Host, domain: Domain) -> None:
    """Make mistakes with a host."""
    host.supports("evnts")  # typo
    domain.attach("phy:/dev/vg0/web1,xvda,w")  # typo
    host.creat(DomainConfig("web1"))  # typo
    host.create(DomainConfig("web1"), timout=5)  # typo
    host.list()[0].doimd  # typo
    host.list()[0].domain.destory()  # typo
    host.uptimes()[0].domain.destory()  # typo
    host.stats()[0].info.domain.destory()  # typo
    host.domains["web1"].info().domain.destory()  # typo
    host.apply(DomainConfig("web1")).domain.destory()  # typo
    pyxen.Sampler(host).sample()[0].stats.info.domain.destory()  # typo
    host.info().free_memory  # typo
    host.domains["web1"].destory()  # typo
    host.begin.creat(DomainConfig("web1"))  # typo
    domain.wait("shutdwon")  # typo
    domain.send_trigger("x")  # typo
    domain.begin.send_trigger("x")  # typo
    domain.begin.wait("shutdwon")  # typo
    domain.begin.save("/a").progress.percnt  # typo
    domain.disks.attach(Vif())  # typo
    domain.dsiks  # typo
    domain.disks["xvda"].backend_stat  # typo
    domain.vifs[0].config.vdev  # typo
    domain.pin_vcpu("every")  # typo
    host.events(DomainShutdwon)  # typo
    host.events(int)  # typo
    for event in host.events(DomainShutdown):
        event.reason  # typo: an EventsLost has none
        if isinstance(event, DomainShutdown):
            event.raeson  # typo
    for each in host.events():
        if each.domain is not None:
            each.domain.destory()  # typo
        each.domain.destroy()  # typo: an EventsLost has none
    try:
        domain.destroy()
    except pyxen.DomainNotFoundError:  # typo
        pass


async def decide(config: DomainConfig) -> bool:
    """Decide too late: nothing awaits it."""
    return config.name == "web1"


async def use_awaited(host: pyxen.aio.Host, domain: pyxen.aio.Domain) -> None:
    """Make mistakes with a host for asyncio."""
    host.supports("evnts")  # typo
    await host.creat(DomainConfig("web1"))  # typo
    await host.restore("/a", allow=decide)  # typo: it is async
    (await host.list())[0].doimd  # typo
    await domain.wait("shutdwon")  # typo
    await domain.send_trigger("x")  # typo
    (await domain.info()).stat  # typo
    (await host.list())[0].domain.destroy()  # typo: nothing awaits it
    await (await host.list())[0].domain.destory()  # typo
    (await host.stats())[0].info.domain.destroy()  # typo: nothing awaits it
    (await domain.info()).domain.destroy()  # typo: nothing awaits it
    async for each in host.events():
        if each.domain is not None:
            each.domain.destroy()  # typo: nothing awaits it
            await each.domain.destory()  # typo
    async for event in host.events(DomainShutdown):
        event.reason  # typo: an EventsLost has none
