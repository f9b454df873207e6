"""A sweep: each call that a verb makes fails once, and afterwards all is as it should be."""

from __future__ import annotations

import errno
import os
import re
import socket
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import Enum, auto
from pathlib import Path
from typing import Any

import pyxen
from pyxen import Disk, Domain, DomainConfig, DomainState, Scheduler, Vif
from tests.offhost import moves
from tests.offhost.host import OffHost, children, until
from tests.offhost.store import StoreError
from tests.offhost.world import How, Kind, Swept

__all__ = [
    "CALLED_OTHERWISE",
    "FAULTS",
    "NOT_SWEPT",
    "VERBS",
    "Fault",
    "Outcome",
    "Sweep",
    "Verb",
    "bounded",
    "descriptors",
    "forgive_what_libxl_leaves",
    "nothing_more",
]

BOUND = 100.0
"""Seconds in which every operation must have ended, on a busy machine; libxl's longest timeout is 60, for a QEMU."""
_PATIENT = 20.0  # seconds for a verb of which no call fails, on a busy machine
_TIMEOUT = 4.0  # seconds for one of which a call fails; libxl would wait 10 for a console that nobody was told of
_LEFT_OPEN = 16  # descriptors that libxl may keep for the next operation

_REMAINS = {
    # libxl looks for the files that it is to remove by Xen's list of domains, and with glob.
    ("unlink", "rmdir", "glob", "call 0.5", "call 1.6", "malloc", "calloc", "realloc"): r"^/var/lib/xen/userdata-",
    # libxl leaves what it could not write for as long as a domain has that uuid; `preserve` takes a new one back.
    ("open", "write", "fsync", "rename"): r"^/var/lib/xen/userdata-n",
    # Folders without devices. libxl removes those above a device as long as it can read them and finds them empty.
    ("request 1", "request 2", "request 10", "request 13"): r"^/local/domain/0/backend(/\w+)?$",
    # libxl does not notice that a guest gets no event channel to xenstored (EVTCHNOP_alloc_unbound), which then does
    # not tell xenconsoled that the guest has ended: xenconsoled keeps its channel until the next domain ends.
    ("call 3.6",): r"^event channel",
}
"""What libxl leaves, with no more than a line in its log, where a call fails by which it removes it: by the call."""

_GOES = re.compile(r"event channel|/var/lib/xen/userdata-|/vm/[-0-9a-f]+/memory$")
"""What goes with a domain."""

Configure = Callable[..., DomainConfig]


@dataclass(frozen=True)
class Fault:
    """Which calls fail, and how."""

    kind: Kind
    error: int
    how: How = How.FAIL
    stride: int = 1
    """Every so many of them is enough: there are thousands, and they are alike."""


FAULTS = {
    "hypercall": Fault(Kind.HYPERCALLS, errno.ENOMEM),
    "request refused for now": Fault(Kind.REQUESTS, errno.EAGAIN, How.DENY),
    "request refused": Fault(Kind.REQUESTS, errno.ENOSPC, How.DENY),
    "request not sent": Fault(Kind.REQUESTS, errno.EPIPE),
    "request half sent": Fault(Kind.REQUESTS, errno.EIO, How.TEAR),
    "connection cut": Fault(Kind.REQUESTS, errno.EPIPE, How.CUT),
    "file": Fault(Kind.FILES, errno.EIO),
    "descriptor, thread or process": Fault(Kind.RESOURCES, errno.EMFILE),
    # libxl ends its process without memory, by its design: so only the worker is tried.
    "memory of the worker": Fault(Kind.ALLOCATIONS, errno.ENOMEM, stride=11),
    "the worker is killed": Fault(Kind.HYPERCALLS | Kind.REQUESTS, 0, How.DIE, stride=5),
}


class Needs(Enum):
    """What a verb needs to be there."""

    NOTHING = auto()
    DOMAIN = auto()
    GUEST = auto()
    """A domain that does what it is asked."""
    PAUSED = auto()
    DISK = auto()
    VIF = auto()
    ENDED = auto()
    """A domain that has shut down."""
    FILE = auto()
    """A saved domain."""
    SENDER = auto()
    """The source of a migration, which sends a saved domain."""
    PARAMETERS = auto()
    """A Xen with a file system of its own, and a parameter in it."""
    POOL = auto()
    """A CPU pool named ``batch``."""
    ENDS = auto()
    """A domain that does what it is asked, and a connection from this host to itself."""


@dataclass(frozen=True)
class Verb:
    """A verb, and what it needs."""

    act: Callable[[Sweep], object]
    needs: Needs = Needs.NOTHING
    ends: bool = False
    """The domain that it needs is not as before when it has succeeded."""
    removes: bool = False
    """The domain that it needs is gone then."""
    effect: Callable[[Sweep], bool] | None = None
    """Tells whether it has done what it is for; None: that is not looked at."""


VERBS = {
    "connect": Verb(lambda _: pyxen.connect("xenlight:///").close()),
    "list": Verb(lambda s: s.host.list()),
    "create": Verb(lambda s: s.host.create(s.config("pvh"), timeout=s.timeout)),
    "create a PV guest with devices": Verb(
        lambda s: s.host.create(s.config("pv", disks=[s.disk], vifs=[s.vif]), timeout=s.timeout)
    ),
    "pause": Verb(lambda s: s.domain.pause(), Needs.DOMAIN),
    "unpause": Verb(lambda s: s.domain.unpause(), Needs.PAUSED),
    "rename": Verb(
        lambda s: s.domain.rename("shop"), Needs.DOMAIN, ends=True, effect=lambda s: s.node("name") == "shop"
    ),
    "set_userdata": Verb(lambda s: s.domain.set_userdata("note", b"x"), Needs.DOMAIN),
    "userdata": Verb(lambda s: s.domain.userdata("note"), Needs.DOMAIN),
    "config": Verb(lambda s: s.domain.config(), Needs.DOMAIN),
    "set_memory": Verb(
        lambda s: s.domain.set_memory(12), Needs.DOMAIN, effect=lambda s: s.node("memory/target") == str(12 << 10)
    ),
    "set_vcpus": Verb(
        lambda s: s.domain.set_vcpus(1), Needs.DOMAIN, effect=lambda s: s.node("cpu/1/availability") == "offline"
    ),
    "attach a disk": Verb(lambda s: s.domain.attach(s.disk, timeout=s.timeout), Needs.DOMAIN, ends=True),
    "attach a vif": Verb(lambda s: s.domain.attach(s.vif, timeout=s.timeout), Needs.DOMAIN, ends=True),
    "detach a disk": Verb(lambda s: s.domain.detach("xvda", timeout=s.timeout), Needs.DISK, ends=True),
    "detach a vif": Verb(lambda s: s.domain.detach(Vif(devid=0), timeout=s.timeout), Needs.VIF, ends=True),
    "shutdown": Verb(lambda s: s.domain.shutdown(timeout=s.timeout), Needs.GUEST, ends=True, removes=True),
    "reboot": Verb(lambda s: s.domain.reboot(wait=True, timeout=s.timeout), Needs.GUEST, ends=True),
    "suspend and resume": Verb(lambda s: s.suspend_and_resume(), Needs.GUEST),
    "save": Verb(lambda s: s.domain.save(s.path, timeout=s.timeout), Needs.GUEST, ends=True, removes=True),
    "restore": Verb(lambda s: s.host.restore(s.path, timeout=s.timeout), Needs.FILE),
    "receive a migration": Verb(lambda s: s.receive(), Needs.SENDER),
    "migrate": Verb(
        lambda s: moves.migrate(s.host, s.domain, s.ends, timeout=s.timeout), Needs.ENDS, ends=True, removes=True
    ),
    "replicate": Verb(lambda s: moves.replicate(s.host, s.domain, s.ends, timeout=s.timeout), Needs.ENDS),
    "replicate to nobody": Verb(lambda s: moves.replicate_to_nobody(s.domain, timeout=s.timeout), Needs.GUEST),
    "destroy": Verb(lambda s: s.domain.destroy(timeout=s.timeout), Needs.DOMAIN, ends=True, removes=True),
    "apply": Verb(lambda s: s.host.apply(s.config("pvh"), timeout=s.timeout)),
    "apply to a guest": Verb(
        lambda s: s.host.apply(s.config("pvh", vifs=[s.vif]), timeout=s.timeout), Needs.DOMAIN, ends=True
    ),
    "check_create": Verb(lambda s: s.host.check_create(s.config("pvh"), timeout=s.timeout)),
    "stats": Verb(lambda s: s.host.stats(), Needs.VIF),
    "orphans": Verb(lambda s: s.host.orphans(), Needs.DOMAIN),
    "events": Verb(lambda s: s.follow()),
    "set_maxmem": Verb(
        lambda s: s.domain.set_maxmem(32), Needs.DOMAIN, effect=lambda s: s.node("memory/static-max") == str(32 << 10)
    ),
    "memory": Verb(lambda s: s.domain.memory(), Needs.DOMAIN),
    "vcpus": Verb(lambda s: s.domain.vcpus(), Needs.DOMAIN),
    "pin_vcpu": Verb(lambda s: s.domain.pin_vcpu(0, {0}), Needs.DOMAIN),
    "set_scheduler": Verb(lambda s: s.domain.set_scheduler(Scheduler(weight=512)), Needs.DOMAIN),
    "set_cpupool": Verb(lambda s: s.domain.set_cpupool(0), Needs.DOMAIN),
    "set_node_affinity": Verb(lambda s: s.domain.set_node_affinity({0}), Needs.DOMAIN),
    "send_sysrq": Verb(
        lambda s: s.domain.send_sysrq("s"), Needs.DOMAIN, effect=lambda s: s.node("control/sysrq") == "s"
    ),
    "update_config": Verb(lambda s: s.domain.update_config(s.config("pvh", memory=20)), Needs.DOMAIN),
    "console": Verb(lambda s: s.domain.console().close(), Needs.DOMAIN),
    "console_stream": Verb(lambda s: s.domain.console_stream(timeout=s.timeout).close(), Needs.DOMAIN),
    "console_log": Verb(lambda s: s.domain.console_log(), Needs.DOMAIN),
    "endpoints": Verb(lambda s: s.domain.endpoints(), Needs.DOMAIN),
    "preserve": Verb(lambda s: s.domain.preserve("-old"), Needs.ENDED, ends=True, effect=lambda s: s.is_preserved()),
    "node_affinity": Verb(lambda s: s.domain.node_affinity(), Needs.DOMAIN),
    "scheduler": Verb(lambda s: s.domain.scheduler(), Needs.DOMAIN),
    "topology": Verb(lambda s: s.host.topology()),
    "log": Verb(lambda s: s.host.log()),
    "follow_log": Verb(lambda s: s.read_log()),
    "set_parameters": Verb(lambda s: s.host.set_parameters("loglvl=all"), Needs.PARAMETERS),
    "debug_keys": Verb(lambda s: s.host.debug_keys("q")),
    "save and go on": Verb(lambda s: s.save_and_go_on(), Needs.GUEST),
    "create a pool": Verb(lambda s: s.host.cpupools.create("batch"), effect=lambda s: s.pools() == ["Pool-0", "batch"]),
    "rename a pool": Verb(
        lambda s: s.host.cpupools[1].rename("night"), Needs.POOL, effect=lambda s: s.pools() == ["Pool-0", "night"]
    ),
    "destroy a pool": Verb(
        lambda s: s.host.cpupools[1].destroy(), Needs.POOL, effect=lambda s: s.pools() == ["Pool-0"]
    ),
    "save and pause": Verb(lambda s: s.save_and_pause(), Needs.GUEST, ends=True),
}


NO_CALLS = "it makes no call that could fail"
AS_OTHERS = "it makes the calls of another verb, or is a collection whose verbs are others'"
OF_LIBVIRT = "the backend has no such verb"
NOT_HERE = "the pretended hypervisor or its guests lack what it needs"

NOT_SWEPT = {
    **dict.fromkeys(("begin", "close", "uri", "supports", "vm", "domid", "uuid", "xenstore_path"), NO_CALLS),
    **dict.fromkeys(("pool", "clone", "wait", "wait_memory", "name", "uptime", "uptimes", "idle_times_ns"), AS_OTHERS),
    **dict.fromkeys(
        ("channels", "consoles", "disks", "p9s", "pcis", "pvcalls", "usbctrls", "usbdevs", "vdispls", "vfbs", "vifs"),
        AS_OTHERS,
    ),
    **dict.fromkeys(("virtios", "vkbs", "vsnds", "vtpms", "add_console", "migrate_over", "remus_over"), AS_OTHERS),
    **dict.fromkeys(("define", "defined", "defined_config", "set_autostart", "start", "undefine"), OF_LIBVIRT),
    **dict.fromkeys(("core_dump", "soft_reset", "devd", "monitor_command", "qmp", "insert_cdrom"), NOT_HERE),
    **dict.fromkeys(("eject_cdrom", "send_trigger"), NOT_HERE),
}
"""Verbs of hosts and domains that are not in `VERBS`, and why."""

CALLED_OTHERWISE = {
    "receive_migration": "receive a migration",
    "resume": "suspend and resume",
    "remus": "replicate",
    "info": "list",
}
"""What a verb is called in `VERBS`, if not by its name or with it as the first word."""


@dataclass(frozen=True)
class Outcome:
    """What a call has come to: its error, or none."""

    error: BaseException | None
    late: str = ""
    """Where it was when its time was over."""


def bounded(act: Callable[[], object], begin: threading.Event | None = None) -> Callable[[], Outcome]:
    """Make a call on a thread that is there already; what this returns waits for its outcome, for a time."""
    outcomes: list[Outcome] = []
    begin = begin or threading.Event()

    def run() -> None:
        begin.wait()
        try:
            act()
        except BaseException as error:  # noqa: BLE001 (that is what is looked at)
            outcomes.append(Outcome(error))
        else:
            outcomes.append(Outcome(None))

    thread = threading.Thread(target=run, name="bounded", daemon=True)
    thread.start()

    def outcome() -> Outcome:
        begin.set()
        thread.join(BOUND)
        if outcomes:
            return outcomes[0]
        frame = sys._current_frames().get(thread.ident or 0)
        return Outcome(None, "".join(traceback.format_stack(frame)) if frame else "it has just ended")

    return outcome


def descriptors() -> dict[int, str]:
    """Return what this process has open."""
    found = {}
    for name in os.listdir("/proc/self/fd"):
        try:
            found[int(name)] = os.readlink(f"/proc/self/fd/{name}")
        except OSError:
            continue  # listdir's own
    return found


def forgive_what_libxl_leaves(offhost: OffHost, swept: Swept) -> None:
    """Do not count what libxl leaves where the call failed that is said to have failed."""
    for calls, remains in _REMAINS.items():
        if any(f"{swept.what} ".startswith(f"{call} ") for call in calls):
            offhost.forgive(remains)


@contextmanager
def nothing_more() -> Iterator[None]:
    """See that what happens in the context leaves this process no descriptor, thread and child more than before."""
    before, processes = descriptors(), len(children())  # counted: what the host itself begins again is another one
    yield
    until(lambda: not _own_threads(), f"a thread is left: {_own_threads()}", BOUND)
    until(lambda: len(children()) <= processes, "a child is left", BOUND)
    try:
        until(lambda: len(descriptors()) <= len(before), "a descriptor is left open", BOUND)
    except TimeoutError as error:
        error.add_note(f"before {before}, now {descriptors()}")
        raise


def _own_threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith(("pyxen", "bounded"))]


class Sweep:
    """What a verb is tried on.

    Args:
        offhost: The pretended host.
        config: Makes configurations.
        verb: The verb.
        workers: How many processes make long calls.
    """

    def __init__(self, offhost: OffHost, config: Configure, verb: Verb, workers: int = 1) -> None:
        self.host: pyxen.Host
        self.domain: Domain
        self.path: Path = offhost.folder / "saved"
        self.disk: Disk = Disk(str(self._file("disk.img", bytes(1 << 16))), vdev="xvda", backendtype="phy")
        self.vif: Vif = Vif(bridge="xenbr0")
        self.timeout: float = _PATIENT
        self._offhost = offhost
        self._verb = verb
        self._workers = workers
        self._there = False
        self._saved = b""
        self._sender: moves.Sender | None = None
        self.ends: moves.Ends = ()
        self._kernels = {
            kind: str(self._file(f"kernel-{kind}", Path(config(kind).kernel or "").read_bytes()))
            for kind in ("pvh", "pv")
        }
        self._make_config = config
        self._most_open = 0

    def _file(self, name: str, data: bytes) -> Path:
        # In the host's folder: files elsewhere do not fail.
        path = self.path.parent / name
        path.write_bytes(data)
        return path

    def config(self, kind: str = "pvh", name: str = "web", **settings: Any) -> DomainConfig:
        """Return the configuration of a small guest."""
        return self._make_config(kind, name=name, vcpus=2, kernel=self._kernels[kind], **settings)

    @contextmanager
    def open(self) -> Iterator[None]:
        """Connect, and begin what is kept for later."""
        with nothing_more():
            with pyxen.connect("xenlight:///", workers=self._workers) as self.host:
                self.host.create(self.config()).destroy()
                if self._verb.needs in {Needs.FILE, Needs.SENDER}:
                    self._make(Needs.GUEST)
                    self.domain.save(self.path, timeout=20)
                    self._there, self._saved = False, self.path.read_bytes()
                self._most_open = len(descriptors()) + _LEFT_OPEN
                yield
            self._offhost.end_guests()

    def take_over(self, host: pyxen.Host, domid: int) -> None:
        """Be in another process, on what `make` has made in the first; a domid below 0: it has made no domain."""
        self.host, self._there = host, True
        if domid >= 0:
            self.domain = host.domains[domid]
        if self.path.exists():
            self._saved = self.path.read_bytes()
        self.make()

    def make(self) -> None:
        """See that what the verb needs is there."""
        self._make(self._verb.needs)

    def _make(self, needs: Needs) -> None:
        if needs is Needs.FILE:
            self.path.write_bytes(self._saved)
        elif needs is Needs.SENDER:
            self._sender = moves.Sender(self._saved)
        elif needs is Needs.ENDS:
            self.ends = socket.socketpair()
        elif needs is Needs.POOL and not self._there:
            self.host.cpupools.create("batch")
            self._there = True
        elif needs is Needs.PARAMETERS and not self._there:
            self._offhost.world.set_hypfs(there=True)
        if needs in {Needs.NOTHING, Needs.FILE, Needs.SENDER, Needs.PARAMETERS, Needs.POOL} or self._there:
            return
        self.domain = self.host.create(self.config())
        self._there = True
        if needs is Needs.PAUSED:
            self.domain.pause()
        elif needs in {Needs.GUEST, Needs.ENDS}:
            self._offhost.guest(self.domain.domid).obey()
        elif needs is Needs.ENDED:
            self._offhost.shut_down(self.domain.domid)
        elif needs is Needs.DISK:
            self.domain.attach(self.disk)
        elif needs is Needs.VIF:
            self.domain.attach(self.vif)

    def node(self, name: str) -> str | None:
        """Return what xenstore has of the domain; None if it has no such node."""
        return self._value(f"/local/domain/{self.domain.domid}/{name}")

    def _value(self, path: str) -> str | None:
        try:
            return self._offhost.store.read(path)
        except StoreError:
            return None

    def pools(self) -> list[str | None]:
        """Return the names of the CPU pools of which Xen or xenstore knows."""
        known = {info.number for info in self.host.cpupools.list()}
        known |= {int(number) for number in self._offhost.store.directory("/local/pool")}
        return [self._value(f"/local/pool/{number}/name") for number in sorted(known)]

    def is_preserved(self) -> bool:
        """Tell whether the domain has another name and uuid, in Xen and in xenstore."""
        uuid = self.host.domains[self.domain.domid].uuid
        named = (self.node("name"), self.node("vm"), self._value(f"/vm/{uuid}/uuid"))
        return uuid != self.domain.uuid and named == ("web-old", f"/vm/{uuid}", str(uuid))

    def suspend_and_resume(self) -> None:
        """Do these two, which leave the domain as it was."""
        self.domain.suspend(timeout=self.timeout)
        self.domain.resume()

    def save_and_go_on(self) -> None:
        """Save the domain, which runs afterwards."""
        self.domain.save(self.path, checkpoint=True, timeout=self.timeout)
        assert self.domain.info().is_running, "it is saved, and does not run, without an error"

    def save_and_pause(self) -> None:
        """Save the domain, which is paused afterwards."""
        self.domain.save(self.path, leave_paused=True, timeout=self.timeout)
        assert self.domain.info().state is DomainState.PAUSED, "it is saved, and not paused, without an error"

    def follow(self) -> None:
        """Subscribe to events."""
        with self.host.events():
            pass

    def read_log(self) -> None:
        """Read the first line of Xen's log as it is written."""
        with self.host.follow_log(whole=True) as lines:
            lines.get(self.timeout)

    def receive(self) -> None:
        """Receive what the sender sends."""
        assert self._sender is not None
        fd = self._sender.end.fileno()
        operation = self.host.begin.receive_migration(fd, fd, timeout=self.timeout)
        self._sender.end.close()
        operation.result()

    def count(self, fault: Fault) -> int:
        """Return how many calls the verb makes that may fail so."""
        self.timeout = _PATIENT
        self.make()
        outcome = bounded(lambda: self._verb.act(self))
        with self._offhost.world.sweeping(fault.kind, 0, fault.error, fault.how) as swept:
            error = outcome().error
        if error is not None:
            raise error
        assert self._verb.effect is None or self._verb.effect(self), "it has no effect"
        self.put_away()
        return swept.count

    def try_with(self, fault: Fault, nth: int) -> bool:
        """Let the nth call fail, and look at everything; return whether there was an nth call."""
        self.timeout = _TIMEOUT
        self.make()
        before = self._offhost.things()
        waiting = bounded(lambda: self._verb.act(self))
        with self._offhost.world.sweeping(fault.kind, nth, fault.error, fault.how) as swept:
            outcome = waiting()
        case = f"call {nth}, {swept.what}"
        assert not outcome.late, f"{case}: it does not end:\n{outcome.late}"
        assert outcome.error is None or isinstance(outcome.error, pyxen.Error), f"{case}: {outcome.error!r}"
        if outcome.error is not None:
            try:
                until(lambda: not self._more_than(before), f"{case}: {outcome.error}: more is left", BOUND)
            except TimeoutError as error:
                error.add_note(str(self._more_than(before)))
                raise
        elif self._verb.effect is not None:
            assert self._verb.effect(self), f"{case}: it succeeds without an effect"
        if outcome.error is None and self._verb.ends:
            stays = self._verb.removes and self.domain.domid in self._offhost.world.domids()
            assert not stays, f"{case}: it succeeds, and the domain is still there"
            self._there = False
        again = bounded(lambda: self.host.create(self.config(name="after"), timeout=20).destroy(timeout=20))()
        assert not again.late, f"{case}: afterwards the host hangs:\n{again.late}"
        assert again.error is None, f"{case}: {outcome.error}: afterwards the host does not work: {again.error}"
        self.put_away()
        forgive_what_libxl_leaves(self._offhost, swept)
        assert not self._offhost.left(BOUND), f"{case}: {outcome.error}: left {self._offhost.left(0)}"
        assert len(descriptors()) <= self._most_open, f"{case}: {descriptors()}"
        return bool(swept.pid)

    def _more_than(self, before: set[str]) -> list[str]:
        """Return what is there beside what was there; libxl's notes on a domain go with the domain."""
        more = self._offhost.things() - before
        return sorted(thing for thing in more if not _GOES.match(thing))

    def put_away(self) -> None:
        """Destroy all domains, and end what was begun for the verb."""
        for end in self.ends:
            end.close()
        if self._sender is not None:
            self._sender.close()
        self.ends, self._sender = (), None
        for info in self.host.list():
            if info.domid:
                self.host.domains[info.domid].destroy(timeout=20)
        for pool in self.host.cpupools.list()[1:]:
            self.host.cpupools[pool.number].destroy()
        self._there = False
        self._offhost.end_guests()
