"""Processes that a verb needs are killed, or stopped for a while, in the middle of it."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from queue import Queue

import pytest

import pyxen
from pyxen import Brake, DeviceModel, DomainConfig, Outcome, Supervisor
from pyxen.errors import Error, OperationCancelled, OperationTimeout
from tests.offhost.device_model import DeviceModels
from tests.offhost.host import OffHost, children, until
from tests.offhost.internals import expect_quick_guests
from tests.offhost.sweep import BOUND, VERBS, Configure, Fault, Sweep, bounded
from tests.offhost.sweep import Outcome as Returned
from tests.offhost.test_sweep import is_tried, numbers
from tests.offhost.world import How, Kind, Reason

CALLS = Fault(Kind.HYPERCALLS | Kind.REQUESTS, 0, stride=7)
"""What counts the calls of a verb."""

REQUESTS = Fault(Kind.REQUESTS, 0, stride=7)
"""What counts those at which a process can be stopped: in a hypercall it has the lock of the pretended hypervisor."""

LASTING = [name for name in VERBS if name not in {"connect", "list"}]
"""Verbs that are operations of libxl's."""


IN_THE_MIDDLE = 0.1
"""Seconds after which a verb that makes no call is taken to be in the middle: it waits for something else."""

LATE_NODE = re.compile(r"/local/domain/[1-9][0-9]*(/console(/tty)?)?")


def works(offhost: OffHost, host: pyxen.Host, config: DomainConfig) -> None:
    """See that a host can do what it could, and that nothing is left of what was there."""
    for info in host.list():
        if info.domid:
            host.domains[info.domid].destroy(timeout=20)
    host.create(config, timeout=20).destroy(timeout=20)
    assert offhost.left(BOUND) == []


def begun(offhost: OffHost, sweep: Sweep, verb: str) -> Callable[[], Returned]:
    """Begin a verb, and return what waits for its outcome, once it is in the middle: it has made a call."""
    mark = offhost.world.mark()
    outcome = bounded(lambda: VERBS[verb].act(sweep), begin := threading.Event())
    begin.set()
    end = time.monotonic() + IN_THE_MIDDLE
    while time.monotonic() < end and not offhost.world.calls_since(mark):
        time.sleep(0.001)
    return outcome


@pytest.mark.parametrize("verb", LASTING)
def test_xenstored_dies_and_comes_back(offhost: OffHost, config: Configure, verb: str) -> None:
    sweep = Sweep(offhost, config, VERBS[verb])
    with sweep.open():
        sweep.make()
        offhost.signal_xenstored(signal.SIGSTOP)  # so that it dies in the middle
        outcome = begun(offhost, sweep, verb)
        offhost.end_guests()
        offhost.restart_xenstored()
        found = outcome()
        assert not found.late, found.late
        assert found.error is None or isinstance(found.error, Error)
        for _ in range(2):  # the first may meet what is broken, and mends it
            found = bounded(sweep.put_away)()
            assert not found.late, found.late
        offhost.forgive(r"^/local/domain/0/device-model(/|$)")  # the type is lost too: libxl takes the guest for HVM
        works(offhost, sweep.host, config(name="after"))


@pytest.mark.parametrize("verb", LASTING)
def test_xenstored_stops_and_goes_on(offhost: OffHost, config: Configure, verb: str) -> None:
    sweep = Sweep(offhost, config, VERBS[verb])
    with sweep.open():
        sweep.make()
        offhost.signal_xenstored(signal.SIGSTOP)
        outcome = begun(offhost, sweep, verb)
        offhost.signal_xenstored(signal.SIGCONT)
        found = outcome()
        assert not found.late, found.late
        assert found.error is None or isinstance(found.error, OperationTimeout)
        effect = VERBS[verb].effect
        assert found.error is not None or effect is None or effect(sweep), "it succeeds without an effect"
        sweep.put_away()
        works(offhost, sweep.host, config(name="after"))


@pytest.mark.parametrize("verb", ["create", "create a PV guest with devices", "shutdown", "save", "destroy"])
def test_the_worker_dies(offhost: OffHost, config: Configure, verb: str) -> None:
    sweep = Sweep(offhost, config, VERBS[verb])
    before = children()
    with sweep.open():
        sweep.make()
        [worker] = children() - before
        offhost.signal_xenstored(signal.SIGSTOP)
        outcome = begun(offhost, sweep, verb)
        os.kill(worker, signal.SIGKILL)
        offhost.signal_xenstored(signal.SIGCONT)
        found = outcome()
        assert not found.late, found.late
        assert found.error is None or isinstance(found.error, Error)
        works(offhost, sweep.host, config(name="after"))


def test_the_worker_stops_and_goes_on(offhost: OffHost, config: Configure) -> None:
    sweep = Sweep(offhost, config, VERBS["create"])
    before = children()
    with sweep.open():
        [worker] = children() - before
        os.kill(worker, signal.SIGSTOP)
        begun = sweep.host.begin.create(config())
        begun.cancel()
        assert not begun.done()
        os.kill(worker, signal.SIGCONT)
        with pytest.raises(OperationCancelled):
            begun.result(BOUND)
        works(offhost, sweep.host, config(name="after"))


@pytest.mark.parametrize("verb", LASTING)
def test_the_worker_stops_and_goes_on_in_a_verb(offhost: OffHost, config: Configure, verb: str) -> None:
    sweep = Sweep(offhost, config, VERBS[verb])
    before = children()
    with sweep.open():
        sweep.make()
        [worker] = children() - before
        os.kill(worker, signal.SIGSTOP)
        outcome = begun(offhost, sweep, verb)
        os.kill(worker, signal.SIGCONT)
        found = outcome()
        assert not found.late, found.late
        assert found.error is None or isinstance(found.error, OperationTimeout)
        sweep.put_away()
        works(offhost, sweep.host, config(name="after"))


def test_xenconsoled_dies(offhost: OffHost, host: pyxen.Host, config: Configure) -> None:
    host.create(config()).destroy()
    offhost.end_xenconsoled()
    with pytest.raises(OperationTimeout):
        host.create(config(), timeout=1)
    offhost.start_xenconsoled()
    works(offhost, host, config(name="after"))


def runs(pid: int) -> bool:
    """Tell whether a process runs."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


PROGRAM = """
import sys, pyxen
from tests.offhost.internals import use_extension
from tests.offhost.setup import release
use_extension(release(sys.argv[2]))
sys.executable = str(release(sys.argv[2]).python)
config = pyxen.DomainConfig(name='web', type='pvh', kernel=sys.argv[1], memory=16)
host = pyxen.connect('xenlight:///', workers=int(sys.argv[3]))
host.create(config).destroy()
print('begin', flush=True)
sys.stdin.readline()
web = host.create(config)
web.set_userdata('note', b'x')
web.destroy()
print('end', flush=True)
sys.stdin.readline()
"""


@pytest.mark.parametrize(("requests", "workers"), [(1, 0), (20, 0), (60, 0), (110, 0), (1, 1), (60, 1), (110, 1)])
def test_the_process_dies(
    offhost: OffHost, host: pyxen.Host, config: Configure, kernels: dict[str, str], requests: int, workers: int
) -> None:
    host.create(config(name="first")).destroy()
    with offhost.python(PROGRAM, kernels["pvh"], offhost.release.name, str(workers)) as process:
        assert process.stdout is not None
        assert process.stdin is not None
        assert process.stdout.readline() == b"begin\n"
        count = offhost.world.count("xenstore.send") + requests
        process.stdin.write(b"go\n")
        process.stdin.flush()
        until(lambda: offhost.world.count("xenstore.send") >= count, "it does nothing")
        helpers = children(process.pid)
        process.kill()
    # The worker undoes what it was doing; what a process without workers was doing can be found.
    until(lambda: not any(runs(pid) for pid in helpers), "the worker does not end", BOUND)
    for domain in host.orphans():
        domain.destroy(timeout=20)
    # xenconsoled may write a terminal's node once more behind a worker that removes the domain.
    until(lambda: all(map(LATE_NODE.fullmatch, offhost.left(0))), "something is left", BOUND)
    offhost.forgive(f"^{LATE_NODE.pattern}$")
    works(offhost, host, config(name="after"))


ONE_VERB = """
import sys, pyxen
from pathlib import Path
from types import SimpleNamespace
from tests.offhost.internals import be_impatient, expect_quick_guests, use_extension
from tests.offhost.setup import release
release_name, workers, folder, verb, domid, pv, pvh = sys.argv[1:]
use_extension(release(release_name))
sys.executable = str(release(release_name).python)
be_impatient(SimpleNamespace(setattr=setattr))
expect_quick_guests(SimpleNamespace(setattr=setattr))
from tests.offhost.sweep import VERBS, Sweep
kernels = {'pv': pv, 'pvh': pvh}
def config(kind='pvh', **settings):
    settings = {'name': 'web', 'kernel': kernels[kind], 'memory': 16, **settings}
    return pyxen.DomainConfig(type=kind, **settings)
host = pyxen.connect('xenlight:///', workers=int(workers))
host.list()
sweep = Sweep(SimpleNamespace(folder=Path(folder)), config, VERBS[verb])
sweep.take_over(host, int(domid))
print('begin', flush=True)
sys.stdin.readline()
"""


def one_verb(offhost: OffHost, sweep: Sweep, verb: str, kernels: dict[str, str], workers: int) -> list[str]:
    """Return the arguments of a program that begins as `ONE_VERB`."""
    domid = next((info.domid for info in sweep.host.list() if info.domid), -1)
    return [
        offhost.release.name, str(workers), str(offhost.folder), verb, str(domid), kernels["pv"], kernels["pvh"],
    ]  # fmt: skip


@pytest.mark.parametrize("verb", VERBS)
def test_the_process_dies_in_a_verb(
    offhost: OffHost, config: Configure, kernels: dict[str, str], verb: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    expect_quick_guests(monkeypatch)
    sweep, place = Sweep(offhost, config, VERBS[verb], 0), list(VERBS).index(verb)
    if not is_tried(place, offhost.release.name):
        return
    with sweep.open():
        for nth in numbers(sweep.count(CALLS), CALLS, place):
            sweep.make()
            program = f"{ONE_VERB}VERBS[verb].act(sweep)\n"
            with offhost.python(program, *one_verb(offhost, sweep, verb, kernels, 0)) as process:
                assert process.stdout is not None
                assert process.stdin is not None
                assert process.stdout.readline() == b"begin\n"
                with offhost.world.sweeping(CALLS.kind, nth, 0, How.DIE) as swept:
                    process.stdin.write(b"go\n")
                    process.stdin.flush()
                    process.wait(BOUND)
            assert swept.pid, f"it makes no {nth} calls, but {swept.count}"
            for domain in sweep.host.orphans():
                domain.destroy(timeout=20)
            sweep.put_away()
            until(lambda: all(map(LATE_NODE.fullmatch, offhost.left(0))), f"call {nth}: more is left", BOUND)
            offhost.forgive(f"^{LATE_NODE.pattern}$")
            works(offhost, sweep.host, config(name="after"))


GOES_ON = """
try:
    VERBS[verb].act(sweep)
except pyxen.Error as error:
    print(type(error).__name__, flush=True)
else:
    print('done', flush=True)
with host:
    host.create(config(name='another'), timeout=20).destroy(timeout=20)
print('works', flush=True)
"""
"""The rest of a program that is stopped in the middle of a verb, and then goes on."""

STOPPED = 1.0
"""Seconds; longer than the patience of a program that is impatient."""

WAITING = (
    "create", "create a PV guest with devices", "attach a disk", "shutdown", "save", "receive a migration", "migrate",
    "replicate", "destroy",
)  # fmt: skip
"""Verbs that wait for others; the rest is tried when there is time."""


def is_stopped(pid: int) -> bool:
    """Tell whether a process is stopped, or one that it has begun."""
    with contextlib.suppress(FileNotFoundError):  # it has just ended
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        return state == "T" or any(map(is_stopped, children(pid)))
    return False


@pytest.mark.parametrize(
    "verb", [pytest.param(verb, marks=() if verb in WAITING else pytest.mark.long) for verb in VERBS]
)
def test_the_process_stops_in_a_verb_and_goes_on(
    offhost: OffHost, config: Configure, kernels: dict[str, str], verb: str
) -> None:
    sweep, place = Sweep(offhost, config, VERBS[verb]), list(VERBS).index(verb)
    if not is_tried(place, offhost.release.name):
        return
    with sweep.open():
        for nth in numbers(sweep.count(REQUESTS), REQUESTS, place):
            sweep.make()
            arguments = one_verb(offhost, sweep, verb, kernels, 1)
            with offhost.python(f"{ONE_VERB}{GOES_ON}", *arguments) as process:
                assert process.stdout is not None
                assert process.stdin is not None
                assert process.stdout.readline() == b"begin\n"
                with offhost.world.sweeping(REQUESTS.kind, nth, 0, How.STOP) as swept:
                    process.stdin.write(b"go\n")
                    process.stdin.flush()
                    until(lambda: is_stopped(process.pid), f"request {nth} does not stop it", BOUND)
                offhost.world.stop(process.pid)
                if swept.pid != process.pid:  # its worker's request: that one goes on without it
                    os.kill(swept.pid, signal.SIGCONT)
                time.sleep(STOPPED)
                process.send_signal(signal.SIGCONT)
                said, _ = process.communicate(timeout=BOUND)
            case = f"request {nth}, {swept.what}: {said.decode()}"
            assert process.returncode == 0, case
            assert said.endswith(b"\nworks\n"), case
            sweep.put_away()
            works(offhost, sweep.host, config(name="after"))


@contextlib.contextmanager
def supervised(offhost: OffHost, host: pyxen.Host, config: DomainConfig) -> Iterator[None]:
    """Have a supervisor; what happens in the context comes before a guest that reboots, which it brings back."""
    told: Queue[Outcome] = Queue()
    supervisor = Supervisor(host, on_outcome=told.put, brake=Brake(min_uptime=0))
    thread = threading.Thread(target=supervisor.run)
    thread.start()
    try:
        host.create(config.replace(name="first")).destroy()
        yield
        web = host.create(config.replace(on_reboot="restart"), timeout=20)
        offhost.shut_down(web.domid, Reason.REBOOT)
        outcome = told.get(timeout=BOUND)
        assert outcome.error is None
        until(lambda: [info.name for info in host.list()] == ["Domain-0", "web"], "it does not come back", BOUND)
    finally:
        supervisor.stop()
        thread.join(BOUND)
    assert not thread.is_alive()


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP])
def test_xenstored_under_a_supervisor(
    offhost: OffHost, host: pyxen.Host, config: Configure, number: signal.Signals
) -> None:
    with supervised(offhost, host, config()):
        offhost.signal_xenstored(number)
        time.sleep(0.1)
        if number == signal.SIGKILL:
            offhost.restart_xenstored()
        else:
            offhost.signal_xenstored(signal.SIGCONT)
    works(offhost, host, config(name="after"))


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP])
def test_the_worker_under_a_supervisor(offhost: OffHost, config: Configure, number: signal.Signals) -> None:
    before = children()
    with pyxen.connect("xenlight:///", workers=1) as host:
        with supervised(offhost, host, config()):
            [worker] = children() - before
            os.kill(worker, number)
            if number == signal.SIGSTOP:
                threading.Timer(0.5, os.kill, (worker, signal.SIGCONT)).start()
            else:
                until(lambda: worker not in children(), "nobody sees that it has ended")
        works(offhost, host, config(name="after"))


def test_xenconsoled_under_a_supervisor(offhost: OffHost, host: pyxen.Host, config: Configure) -> None:
    with supervised(offhost, host, config()):
        offhost.end_xenconsoled()
        offhost.start_xenconsoled()
        time.sleep(0.5)  # it does not see a domain whose console is made while it begins
    works(offhost, host, config(name="after"))


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP])
def test_qemu_under_a_supervisor(
    offhost: OffHost, host: pyxen.Host, tmp_path: Path, config: Configure, number: signal.Signals
) -> None:
    models = DeviceModels(tmp_path, offhost.release.python)
    web = DomainConfig("web", type="hvm", memory=16, device_model=DeviceModel(path=str(models.path)), vkb_device=False)
    told: Queue[Outcome] = Queue()
    with Supervisor(host, on_outcome=told.put, brake=Brake(min_uptime=0)) as supervisor:
        domain = host.create(web.replace(on_reboot="restart"), timeout=20)
        models.signal(number)
        offhost.shut_down(domain.domid, Reason.REBOOT)
        outcome = told.get(timeout=BOUND)
        assert outcome.error is None
        again = host.domains["web"]
        assert (again.uuid, again.domid != domain.domid) == (domain.uuid, True)
        supervisor.stop()
    models.signal(signal.SIGCONT)
    works(offhost, host, config(name="after"))
    until(lambda: not models.running(), "a device model is left", BOUND)


SUPERVISING = """
import sys, pyxen
from tests.offhost.internals import use_extension
from tests.offhost.setup import release
use_extension(release(sys.argv[1]))
sys.executable = str(release(sys.argv[1]).python)
with pyxen.connect('xenlight:///') as host:
    supervisor = pyxen.Supervisor(host, brake=pyxen.Brake(min_uptime=0))
    with supervisor:
        print('begin', flush=True)
        sys.stdin.readline()
"""


@pytest.mark.parametrize("requests", [0, 20, 60, 110])
def test_the_supervisor_dies(offhost: OffHost, host: pyxen.Host, config: Configure, requests: int) -> None:
    """Another one finds what the first was about to do, or has begun, and the guest is there once."""
    web = host.create(config(on_reboot="restart"), timeout=20)
    with offhost.python(SUPERVISING, offhost.release.name) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"begin\n"
        count = offhost.world.count("xenstore.send") + requests
        offhost.shut_down(web.domid, Reason.REBOOT)
        until(lambda: offhost.world.count("xenstore.send") >= count, "it does nothing", BOUND)
        helpers = children(process.pid)
        process.kill()
    until(lambda: not any(runs(pid) for pid in helpers), "the worker does not end", BOUND)
    for domain in host.orphans():
        domain.destroy(timeout=20)
    with Supervisor(host, brake=Brake(min_uptime=0)):
        until(lambda: all(info.shutdown_reason is None for info in host.list()), "it stays as it is", BOUND)
    assert len([info for info in host.list() if info.name == "web"]) <= 1
    until(lambda: not any("--" in str(info.name) for info in host.list()), "a guest has another name", BOUND)
    works(offhost, host, config(name="after"))


def test_the_supervisor_stops_and_goes_on(offhost: OffHost, host: pyxen.Host, config: Configure) -> None:
    web = host.create(config(on_reboot="restart"), timeout=20)
    with offhost.python(SUPERVISING, offhost.release.name) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"begin\n"
        process.send_signal(signal.SIGSTOP)
        offhost.shut_down(web.domid, Reason.REBOOT)
        host.list()
        process.send_signal(signal.SIGCONT)
        until(lambda: [info.domid for info in host.list()][1:] not in ([], [web.domid]), "it is not back", BOUND)
        process.communicate(b"end\n", timeout=BOUND)
    works(offhost, host, config(name="after"))
