"""Scenes about domains in each state: every verb, with good and bad arguments."""

from __future__ import annotations

from functools import partial
from typing import Final

from pyxen import Disk, Domain, Scheduler, Trigger
from pyxen.config.enum_names import DomainTypeName
from tests.differential.prober import Call, Prober, c

__all__ = ["dom0", "ended", "gone", "hvm", "paused", "running"]

_LOOKS: Final = (
    *map(c, ("info", "config", "vcpus", "scheduler", "stats", "endpoints", "uptime", "name", "domid", "uuid")),
    c("scheduler", vcpu=0),
    c("scheduler", vcpu=9),
    c("scheduler", vcpu=-1),
    c("config", defaults=True),
)

_STATES: Final = (
    c("wait", "nonsense"),
    c("wait", timeout=-1),
    c("wait", "running", "paused", "blocked", "shutdown", "crashed", timeout=30),
)

_NOTES: Final = (
    *(c("userdata", key) for key in ("mine", "", "../x", "a/b", "x" * 65, "xl", "libxl-json", "ä")),
    *(c("set_userdata", key, b"x") for key in ("", "../x", "a/b", "x" * 65, "xl", "libxl-json", "libvirt-xml")),
    c("set_userdata", "mine", b""),
)

_RESOURCES: Final = (
    *(c("set_memory", value) for value in (0, -1, 0.4 / 1024, 9.0, 1e9, float("nan"), float("inf"), "8", None)),
    *(c("set_maxmem", value) for value in (0, -1, 0.4 / 1024, 1.0, float("nan"), "8", None)),
    *(c("set_vcpus", value) for value in (0, -1, 2, 1000, 10**9, 1.5, "1", None)),
    c("pin_vcpu", 0),
    c("pin_vcpu", None, "0", force=True),
    *(c("pin_vcpu", vcpu, "0") for vcpu in (1, -1, 99, "0", 1.5)),
    *(c("pin_vcpu", 0, cpus) for cpus in ("99", "", "x", "nodes:7", [], [-1], 0, "0-99")),
    *(c("pin_vcpu", 0, cpus_soft=cpus) for cpus in ("99", "", "x", "nodes:7")),
    *(c("set_scheduler", Scheduler(kind=kind)) for kind in ("credit", "rtds", "null")),
    *(c("set_scheduler", Scheduler(weight=weight)) for weight in (0, 65536)),
    c("set_scheduler", Scheduler(cap=5000)),
    c("set_scheduler", Scheduler(period=1000)),
    c("set_scheduler", Scheduler(budget=1000)),
    c("set_scheduler", Scheduler()),
    c("set_scheduler", Scheduler(weight=256), vcpu=0),
    c("set_scheduler", Scheduler(weight=256), vcpu=9),
    c("set_scheduler", Scheduler(weight=256), vcpu="all"),
    *(c("set_cpupool", pool) for pool in ("nowhere", "", 99, -1)),
)

_NAMES: Final = (*(c("rename", name) for name in ("", "a/b", "Domain-0", "a\nb", "7", "a\0")),)

_FILES: Final = (
    c("save", "/nowhere/file"),
    c("core_dump", "/nowhere/file"),
    c("save", "/"),
    c("core_dump", "/"),
    c("save", ""),
)

_ENDINGS: Final = (
    c("resume"),
    c("preserve", "-old"),
    c("preserve", "/"),
    c("soft_reset"),
)

_KEYS: Final = (
    *(c("send_sysrq", key) for key in ("", "ss", "é", "\n")),
    *(c("send_trigger", "nmi", vcpu=vcpu) for vcpu in (9, -1)),
    c("send_trigger", "nonsense"),
)


_TRIGGERS: Final = tuple(c("send_trigger", trigger) for trigger in Trigger if trigger is not Trigger.NMI)


def _preserved(domain: Domain) -> str | None:
    return domain.preserve("-kept").info().name


def _refusals(prober: Prober, domain: Domain, as_: str) -> None:
    prober.ask(domain, *_LOOKS, *_STATES, *_NOTES, as_=as_)
    prober.do(domain, *_RESOURCES, *_NAMES, *_FILES, *_ENDINGS, *_KEYS, as_=as_)
    prober.ask(domain, *_LOOKS, as_=as_)


def _changes(domain: Domain) -> list[Call]:
    name = domain.info().name
    return [
        c("set_userdata", "mine", b"x\0y"),
        c("userdata", "mine"),
        c("set_userdata", "mine", b"other"),
        c("userdata", "mine"),
        c("set_userdata", "mine", None),
        c("userdata", "mine"),
        c("set_memory", 6),
        c("set_memory", 6),
        c("info"),
        c("config"),
        c("set_memory", 8),
        c("set_maxmem", 10),
        c("info"),
        c("config"),
        c("set_memory", 9),
        c("info"),
        c("set_memory", 8),
        c("set_maxmem", 8),
        c("info"),
        c("config"),
        c("set_vcpus", 1),
        c("vcpus"),
        c("pin_vcpu", 0, "0"),
        c("pin_vcpu", None, "0", "0"),
        c("vcpus"),
        c("set_scheduler", Scheduler(weight=512)),
        c("scheduler"),
        c("set_scheduler", Scheduler(cap=50)),
        c("scheduler"),
        c("config"),
        c("set_scheduler", Scheduler(weight=256, cap=0)),
        c("set_cpupool", "Pool-0"),
        c("set_cpupool", 0),
        c("send_sysrq", "s"),
        c("rename", name),
        c("rename", "renamed"),
        c("name"),
        c("info"),
        c("config"),
        c("rename", name),
    ]


def paused(prober: Prober) -> None:
    """Domains that were created paused, and how pauses count."""
    domain = prober.create(prober.tiny("still-pvh", "pvh"), paused=True)
    _refusals(prober, domain, "pvh")
    calls = (c("shutdown"), c("reboot"), c("suspend"), c("save", "/var/tmp/never"))
    prober.do(domain, *calls, *_changes(domain), as_="pvh")
    prober.do(domain, c("pause"), c("info"), c("unpause"), c("info"), as_="pvh")
    prober.probe("pvh.unpause() for good", domain.unpause)
    prober.await_rest(domain)
    prober.do(domain, c("info"), c("unpause"), c("pause"), c("info"), c("destroy"), as_="pvh")
    prober.await_gone(domain.domid)
    prober.do(domain, c("info"), c("destroy"), as_="pvh")


def running(prober: Prober) -> None:
    """Guests that idle, and never answer."""
    domain = prober.create(prober.tiny("idle-pv", "pv", cmdline="ignore"))
    _refusals(prober, domain, "pv")
    prober.do(domain, *_changes(domain), *_TRIGGERS, as_="pv")
    for verb in ("shutdown", "reboot", "suspend"):
        prober.do(domain, c(verb, timeout=0.1), c("info"), as_="pv")
    prober.do(domain, c("shutdown", wait=False, timeout=0.1), c("shutdown", fallback=True, timeout=0.1), as_="pv")
    prober.do(domain, c("wait", timeout=0.05), c("wait", "paused", timeout=0), as_="pv")
    prober.do(domain, c("pause"), c("info"), c("unpause"), c("unpause"), as_="pv")
    prober.do(domain, c("destroy"), as_="pv")
    prober.await_gone(domain.domid)


def ended(prober: Prober) -> None:
    """Guests that have shut down or crashed."""
    several: list[tuple[DomainTypeName, str]] = [("pvh", "poweroff"), ("pv", "reboot"), ("pvh", "crash")]
    for kind, word in several:
        domain = prober.create(prober.tiny(f"{word}-{kind}", kind, cmdline=word))
        as_ = f"{kind} {word}"
        prober.ask(domain, *_LOOKS, *_STATES, as_=as_)
        calls = (c("shutdown"), c("reboot"), c("suspend"), c("save", "/var/tmp/never"), c("resume"), c("soft_reset"))
        prober.do(domain, *calls, c("pause"), c("info"), c("unpause"), c("unpause"), as_=as_)
        if word != "reboot":
            prober.do(domain, *_changes(domain), as_=as_)
        kept = prober.probe(f"{as_}.preserve()", partial(_preserved, domain))
        assert kept == f"{word}-{kind}-kept"
        prober.do(domain, c("info"), c("destroy"), c("preserve", "-x"), as_=as_)
        other = prober.host.domains[domain.domid]
        prober.ask(other, c("name"), as_=f"{as_} kept")
        prober.do(other, c("destroy"), as_=f"{as_} kept")
        prober.await_gone(domain.domid)


def gone(prober: Prober) -> None:
    """A domain that was destroyed."""
    domain = prober.create(prober.tiny("brief"), paused=True)
    prober.do(domain, c("destroy"))
    prober.await_gone(domain.domid)
    _refusals(prober, domain, "gone")
    calls = [c("shutdown"), c("reboot"), c("suspend"), c("pause"), c("unpause"), c("destroy"), c("console")]
    calls += [
        c("send_trigger", "nmi"),
        c("send_sysrq", "s"),
        c("set_memory", 8),
        c("set_vcpus", 1),
        c("detach", "xvda"),
    ]
    calls += [c("pin_vcpu", 0, "0"), c("set_userdata", "a", b"b"), c("set_cpupool", 0), c("rename", "other")]
    calls += [c("eject_cdrom", "hda"), c("insert_cdrom", "hda", "/x"), c("wait"), c("wait", "running", timeout=0)]
    prober.do(domain, *calls, as_="gone")
    prober.ask(prober.host, c("create", prober.tiny("again", domid=domain.domid)))


def dom0(prober: Prober) -> None:
    """What is spared to dom0."""
    domain = prober.host.domains[0]
    verbs = ("pause", "unpause", "destroy", "shutdown", "reboot", "suspend", "resume", "soft_reset")
    prober.do(domain, *map(c, verbs), c("preserve", "x"), c("save", "/var/tmp/never"), as_="dom0")
    prober.do(domain, c("core_dump", "/var/tmp/never"), *_NAMES, c("set_memory", 0), c("set_vcpus", 0), as_="dom0")
    prober.ask(domain, *_LOOKS, *_NOTES, c("console"), as_="dom0")


def hvm(prober: Prober) -> None:
    """An HVM guest without PV drivers."""
    folder = prober.world.folder
    disk = Disk(f"{prober.world.kernels['hvm']}", vdev="hda")
    drive = Disk(f"{folder}/disc.iso", vdev="hdc", cdrom=True)
    config = prober.tiny("full", "hvm", memory=32, disks=[disk, drive], boot="c")
    domain = prober.create(config)
    prober.do(domain, *_LOOKS, as_="hvm")
    nodes = (f"{domain.xenstore_path}/memory/{name}" for name in ("target", "videoram", "static-max"))
    prober.ask(prober.host.xenstore, *(c("read", node) for node in nodes))
    prober.do(domain, *map(c, ("shutdown", "reboot", "console")), as_="hvm")
    prober.do(
        domain,
        c("eject_cdrom", "hdc"),
        c("config"),
        c("eject_cdrom", "hdc"),
        c("insert_cdrom", "hdc", f"{folder}/disc.iso"),
        c("config"),
        c("insert_cdrom", "hdc", f"{folder}/sub"),
        c("insert_cdrom", "hdc", "/nowhere/disc"),
        c("insert_cdrom", "hdb", f"{folder}/disc.iso"),
        c("insert_cdrom", "hda", f"{folder}/disc.iso"),
        c("insert_cdrom", "nonsense", f"{folder}/disc.iso"),
        c("insert_cdrom", "hdc", ""),
        c("eject_cdrom", "hdb"),
        c("eject_cdrom", ""),
        *(c("send_trigger", trigger) for trigger in ("init", "reset", "sleep")),
        *(c("shutdown", fallback=True, timeout=0.1), c("suspend"), c("info"), c("shutdown"), c("soft_reset")),
        *(c("resume"), c("info"), c("destroy")),
        as_="hvm",
    )
    prober.await_gone(domain.domid)
