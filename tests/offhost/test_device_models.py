"""The device model of an HVM guest dies or hangs: before a verb, and at each step that it takes in the middle of one.

One moment of each verb is tried on each release; ``make sweep`` tries them all on both.
"""

from __future__ import annotations

import os
import pickle
import re
import signal
import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

import pyxen
from pyxen import DeviceModel, Disk, Domain, DomainConfig, UsbCtrl, UsbDev, Vif
from pyxen.errors import InvalidState, NotFound, OperationFailed, QmpError
from pyxen.records.info import DomainState
from tests.offhost import moves
from tests.offhost.device_model import DeviceModels
from tests.offhost.host import OffHost, children, until
from tests.offhost.internals import fail_with_another_controller
from tests.offhost.setup import RELEASES
from tests.offhost.sweep import BOUND, bounded
from tests.offhost.test_sweep import GOLDEN, WHOLE

_TIMEOUT = 20.0  # seconds; libxl waits 10 for a device model that does not begin
_CALLBACK_IRQ = 0  # the parameter by which libxl knows that a guest has PV drivers


class Bench:
    """What a verb is tried on."""

    def __init__(self, offhost: OffHost, host: pyxen.Host, folder: Path) -> None:
        self.offhost = offhost
        self.host = host
        self.models = DeviceModels(folder, offhost.release.python)
        self.domain: Domain
        self.file = folder / "saved"
        self.disc = folder / "disc.iso"
        self.disc.write_bytes(bytes(1 << 16))
        self.ends: moves.Ends = ()
        self.sender: moves.Sender | None = None
        self._saved = b""
        self._config = config_of(self.models)

    def create(self) -> None:
        """Create the guest. It has no drive: libxl takes two seconds to remove what QEMU serves."""
        self.domain = self.host.create(self._config, timeout=_TIMEOUT)

    def with_drive(self) -> None:
        """Create the guest, with a drive for discs."""
        config = self._config.replace(disks=[Disk(None, vdev="hdc", cdrom=True)])
        self.domain = self.host.create(config, timeout=_TIMEOUT)

    def with_drivers(self) -> None:
        """Create the guest, with PV drivers, and let it do what it is asked."""
        self.create()
        self.offhost.world.set_param(self.domain.domid, _CALLBACK_IRQ, 1)
        self.offhost.guest(self.domain.domid).obey()

    def saved(self) -> None:
        """Have the file of a saved guest."""
        if not self._saved:
            self.create()
            self.domain.save(self.file, timeout=_TIMEOUT)
            self._saved = self.file.read_bytes()
            self.offhost.end_guests()
        self.file.write_bytes(self._saved)

    def sent(self) -> None:
        """Have the source of a migration."""
        self.saved()
        self.sender = moves.Sender(self._saved)

    def connected(self) -> None:
        """Have a guest, and a connection from this host to itself."""
        self.create()
        self.ends = socket.socketpair()

    def receive(self) -> None:
        """Receive what the source sends."""
        assert self.sender is not None
        fd = self.sender.end.fileno()
        operation = self.host.begin.receive_migration(fd, fd, timeout=_TIMEOUT)
        self.sender.end.close()
        operation.result()

    def attach(self) -> None:
        """Attach a disk that the device model serves."""
        self.domain.attach(Disk(str(self.disc), vdev="xvdb", backendtype="qdisk"), timeout=_TIMEOUT)

    def with_disk(self) -> None:
        """Create the guest, with a disk that the device model serves."""
        self.create()
        self.attach()

    def suspend_and_resume(self) -> None:
        """Do these two."""
        self.domain.suspend(timeout=_TIMEOUT)
        self.domain.resume()

    def pause_and_unpause(self) -> None:
        """Do these two."""
        self.domain.pause()
        self.domain.unpause()

    def put_away(self) -> None:
        """Destroy all domains, and see that nothing is left."""
        for end in self.ends:
            end.close()
        if self.sender is not None:
            self.sender.close()
        self.ends, self.sender = (), None
        for domain in self.host.guests:
            domain.destroy(timeout=_TIMEOUT)
        self.offhost.end_guests()
        self.file.unlink(missing_ok=True)
        until(lambda: not self.models.running(), "a device model is left", BOUND)
        assert self.offhost.left(BOUND) == []


@dataclass(frozen=True)
class Verb:
    """A verb, and what must be there before it."""

    act: Callable[[Bench], object]
    prepare: Callable[[Bench], None] = lambda _: None
    begins: bool = False
    """It makes a domain, and there is none where it fails."""


VERBS = {
    "create": Verb(Bench.create, begins=True),
    "restore": Verb(lambda b: b.host.restore(b.file, timeout=_TIMEOUT), Bench.saved, begins=True),
    "receive a migration": Verb(Bench.receive, Bench.sent, begins=True),
    "migrate": Verb(lambda b: moves.migrate(b.host, b.domain, b.ends, timeout=_TIMEOUT), Bench.connected),
    "save": Verb(lambda b: b.domain.save(b.file, timeout=_TIMEOUT), Bench.create),
    "suspend and resume": Verb(Bench.suspend_and_resume, Bench.create),
    "insert_cdrom": Verb(lambda b: b.domain.insert_cdrom("hdc", b.disc, timeout=_TIMEOUT), Bench.with_drive),
    "eject_cdrom": Verb(lambda b: b.domain.eject_cdrom("hdc", timeout=_TIMEOUT), Bench.with_drive),
    "attach a disk": Verb(Bench.attach, Bench.create),
    "detach a disk": Verb(lambda b: b.domain.detach("xvdb", timeout=_TIMEOUT), Bench.with_disk),
    "attach a vif": Verb(lambda b: b.domain.attach(Vif(bridge="xenbr0"), timeout=_TIMEOUT), Bench.create),
    "config": Verb(lambda b: b.domain.config(), Bench.create),
    "set_memory": Verb(lambda b: b.domain.set_memory(12), Bench.create),
    "endpoints": Verb(lambda b: b.domain.endpoints(), Bench.create),
    "rename": Verb(lambda b: b.domain.rename("shop"), Bench.create),
    "pause and unpause": Verb(Bench.pause_and_unpause, Bench.create),
    "shutdown": Verb(lambda b: b.domain.shutdown(timeout=_TIMEOUT), Bench.with_drivers),
    "destroy": Verb(lambda b: b.domain.destroy(timeout=_TIMEOUT), Bench.create),
}


def chosen(count: int, place: int, release: str, *, begins: bool) -> list[int]:
    """Return at which of a verb's steps it dies, 0 for before the verb: at all, or at one of them on each release."""
    if WHOLE:
        return list(range(count + 1))
    before = not begins and list(RELEASES)[place % len(RELEASES)] == release
    return [0 if before or not count else 1 + int(place * GOLDEN % 1 * count)]


@pytest.fixture
def bench(offhost: OffHost, host: pyxen.Host, tmp_path: Path) -> Iterator[Bench]:
    """A host for HVM guests; no device model outlives the test."""
    found = Bench(offhost, host, tmp_path)
    yield found
    found.models.signal(signal.SIGKILL)


@pytest.mark.parametrize("verb", VERBS)
def test_it_dies(offhost: OffHost, bench: Bench, verb: str) -> None:
    tried = VERBS[verb]
    tried.prepare(bench)
    bench.models.begin()
    tried.act(bench)
    steps = bench.models.steps()
    bench.put_away()
    place = list(VERBS).index(verb)
    for number in chosen(len(steps), place, offhost.release.name, begins=tried.begins):
        tried.prepare(bench)
        bench.models.begin(last=number)
        if number == 0:
            bench.models.signal(signal.SIGKILL)
        found = bounded(lambda: tried.act(bench))()
        case = f"{verb}: it dies at {steps[number - 1] if number else 'the beginning'}: {found.error!r}"
        assert not found.late, f"{case}\n{found.late}"
        look(bench, tried, found.error, case)
        bench.put_away()


QUICK = ("restore", "eject_cdrom", "attach a disk", "destroy")
"""Verbs that end some seconds after their QEMU has stopped; for the others libxl waits up to a minute."""


@pytest.mark.parametrize(
    "verb", [pytest.param(verb, marks=() if verb in QUICK else pytest.mark.long) for verb in VERBS]
)
def test_it_hangs(offhost: OffHost, bench: Bench, verb: str) -> None:
    tried = VERBS[verb]
    tried.prepare(bench)
    bench.models.begin()
    tried.act(bench)
    count = len(bench.models.steps())
    bench.put_away()
    place = list(VERBS).index(verb) + 1
    for number in chosen(count, place, offhost.release.name, begins=tried.begins):
        tried.prepare(bench)
        bench.models.begin(last=number, number=signal.SIGSTOP)
        if number == 0:
            bench.models.signal(signal.SIGSTOP)
        found = bounded(lambda: tried.act(bench))()
        assert not found.late, f"{verb}, step {number}\n{found.late}"
        assert found.error is None or isinstance(found.error, pyxen.Error)
        bench.models.signal(signal.SIGCONT)
        bench.put_away()


def test_the_configuration_of_a_guest_that_has_ended_needs_no_qemu(bench: Bench) -> None:
    bench.create()
    before = bench.domain.config()
    bench.models.signal(signal.SIGKILL)
    with pytest.raises(QmpError, match="QEMU has ended"):
        bench.domain.config()
    bench.offhost.world.crash(bench.domain.domid)
    assert bench.domain.config() == before
    bench.put_away()


@pytest.fixture
def models(offhost: OffHost, tmp_path: Path) -> Iterator[DeviceModels]:
    """Device models, none of which outlives the test."""
    found = DeviceModels(tmp_path, offhost.release.python)
    yield found
    found.signal(signal.SIGKILL)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGABRT])
def test_the_worker_ends_while_it_hangs(
    offhost: OffHost, models: DeviceModels, config: Callable[..., DomainConfig], number: int
) -> None:
    """What libxl has forked to begin it lives on, with the worker's descriptors."""
    before = children()
    with pyxen.connect(workers=1) as host:
        host.create(config(name="first")).destroy()
        [worker] = children() - before
        models.begin(last=1, number=signal.SIGSTOP)
        begun = host.begin.create(config_of(models))
        until(lambda: models.steps() == ["start"], "it does not begin", _TIMEOUT)
        os.kill(worker, number)
        with pytest.raises(OperationFailed, match="ended in the middle of it"):
            begun.result(_TIMEOUT)
        host.create(config(name="after"), timeout=_TIMEOUT).destroy(timeout=_TIMEOUT)
        assert [info.name for info in host.list() if info.domid] == []
        models.signal(signal.SIGCONT)
    until(lambda: not models.running(), "a device model is left", _TIMEOUT)
    assert offhost.left(_TIMEOUT) == []


KILLED = """
import pickle, sys, pyxen
from tests.offhost.internals import use_extension
from tests.offhost.setup import release
use_extension(release(sys.argv[1]))
pyxen.connect('xenlight:///', workers=0).create(pickle.loads(bytes.fromhex(sys.argv[2])))
"""


def test_the_process_is_killed_while_it_hangs(offhost: OffHost, host: pyxen.Host, models: DeviceModels) -> None:
    """What libxl has forked to begin it lives on, and what is left is found all the same."""
    models.begin(last=1, number=signal.SIGSTOP)
    given = pickle.dumps(config_of(models)).hex()
    with offhost.python(KILLED, offhost.release.name, given) as process:
        until(lambda: models.steps() == ["start"], "it does not begin", _TIMEOUT)
        assert host.orphans() == ()  # its process lives
        process.kill()
        process.wait(_TIMEOUT)
    [left] = [info for info in host.list() if info.domid]
    assert [orphan.domid for orphan in host.orphans()] == [left.domid]
    assert models.running()
    host.orphans()[0].destroy(timeout=_TIMEOUT)

    def have_gone_on() -> bool:
        models.signal(signal.SIGCONT)  # again: it says that it begins just before it stops
        return not models.running()

    until(have_gone_on, "a device model is left", _TIMEOUT)
    assert host.orphans() == ()
    assert offhost.left(_TIMEOUT) == []


def config_of(models: DeviceModels) -> DomainConfig:
    """Return the configuration of a guest with such a device model."""
    return DomainConfig(
        name="web", type="hvm", memory=16, device_model=DeviceModel(path=str(models.path)), vkb_device=False
    )


def look(bench: Bench, tried: Verb, error: BaseException | None, case: str) -> None:
    """See that an error says what is so."""
    if error is None:
        return
    states = [info.state for info in bench.host.list() if info.domid]
    assert isinstance(error, OperationFailed), case
    if tried.begins:
        assert states == [], case
        assert isinstance(error, QmpError), case
    else:
        assert len(states) == 1, case
        if error.operation != "resume":  # who resumes knows that it is suspended
            assert ("it is suspended" in str(error)) is (DomainState.SHUTDOWN in states), f"{case}: {states}"
    if not isinstance(error, pyxen.MigrationFailed):  # the destination's, whose error says why
        assert re.search("QEMU(, which would serve it,)? has ended", str(error)), case


@pytest.fixture
def usb_device(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> UsbDev:
    """A USB device of the host, as pyxen sees it; libxl sees none."""
    folder = tmp_path / "usb"
    (folder / "1-1").mkdir(parents=True)
    for name, text in {"busnum": "1", "devnum": "3", "idVendor": "1234", "bDeviceClass": "00"}.items():
        (folder / "1-1" / name).write_text(f"{text}\n")
    monkeypatch.setattr("pyxen.backends.xenlight.sysfs.USB_DEVICES", str(folder))
    return UsbDev(hostbus=1, hostaddr=3)


def test_a_usb_device_needs_a_controller_that_qemu_knows(
    offhost: OffHost, host: pyxen.Host, models: DeviceModels, usb_device: UsbDev
) -> None:
    domain = host.create(config_of(models), timeout=_TIMEOUT)
    before = offhost.things()
    with pytest.raises(InvalidState, match="no USB controller with a free port: attach a UsbCtrl first"):
        domain.attach(usb_device, timeout=_TIMEOUT)
    with pytest.raises(NotFound, match="no USB device"):
        domain.attach(UsbDev(hostbus=7, hostaddr=99), timeout=_TIMEOUT)
    assert not offhost.things() - before
    domain.attach(UsbCtrl(type="devicemodel"), timeout=_TIMEOUT)
    with pytest.raises(OperationFailed, match="failed"):  # by libxl
        domain.attach(usb_device, timeout=_TIMEOUT)
    domain.destroy()


def test_a_usb_device_that_is_not_attached_leaves_no_controller(
    host: pyxen.Host, models: DeviceModels, usb_device: UsbDev, monkeypatch: pytest.MonkeyPatch
) -> None:
    domain = host.create(config_of(models), timeout=_TIMEOUT)
    domain.attach(UsbCtrl(type="devicemodel"), timeout=_TIMEOUT)
    fail_with_another_controller(monkeypatch)
    with pytest.raises(OperationFailed):
        domain.attach(usb_device, timeout=_TIMEOUT)
    assert len([*domain.usbctrls]) == len(domain.config().usbctrls) == 1
    domain.destroy()


def test_a_disc_that_the_device_model_refuses(bench: Bench) -> None:
    """By then libxl has taken the old disc out, and xenstore has the new one."""
    bench.with_drive()
    bench.domain.insert_cdrom("hdc", bench.disc, timeout=_TIMEOUT)
    bench.models.refuse("blockdev-change-medium")
    with pytest.raises(QmpError, match="the guest may have no disc in hdc now, whatever is recorded: insert one again"):
        bench.domain.insert_cdrom("hdc", bench.disc, timeout=_TIMEOUT)
    bench.models.begin()
    bench.domain.insert_cdrom("hdc", bench.disc, timeout=_TIMEOUT)
    bench.put_away()
