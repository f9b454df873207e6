"""A program that closes nothing ends all the same, on every backend that needs no Xen."""

from __future__ import annotations

import gc
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

import pyxen
from pyxen.testing import FakeHost
from tests.waiting import SECONDS

CONFIG = 'pyxen.DomainConfig("web1", kernel="/k", memory=64)'

PROGRAMS = {
    "memory": 'xen = pyxen.connect("memory:///")',
    "traceback": 'xen = pyxen.connect("memory:///"); raise ValueError("the end")',
    "exit": 'xen = pyxen.connect("memory:///"); raise SystemExit("the end")',
    "handles": f'xen = pyxen.connect("memory:///"); web = xen.create({CONFIG}); infos = xen.list()',
    "running": f'xen = pyxen.connect("memory:///"); web = xen.create({CONFIG}); waiting = web.begin.wait("crashed")',
    "events": 'xen = pyxen.connect("memory:///"); events = xen.events()',
    "console": f'xen = pyxen.connect("memory:///"); console = xen.create({CONFIG}).console()',
    "fake": "import pyxen.testing; fake = pyxen.testing.FakeHost()",
    "fake with real time": 'import pyxen.testing; fake = pyxen.testing.FakeHost(time="real")',
    "fake that outlives all modules": """
import sys, threading, pyxen.testing
sys.kept = list(sys.modules.values())
threading.kept = pyxen.testing.FakeHost()  # collected when the globals of its own module are gone
""",
    "fake that was closed and outlives all modules": """
import sys, threading, pyxen.testing
sys.kept = list(sys.modules.values())
with pyxen.testing.FakeHost() as threading.kept:
    pass
""",
    "cycle": 'xen = pyxen.connect("memory:///"); xen.itself = xen',
    "two": 'one, two = pyxen.connect("memory:///a"), pyxen.connect("memory:///b"); gone = one; del one',
    "libvirt": 'xen = pyxen.connect("test:///default"); xen.list(); events = xen.events()',
    "supervisor": 'xen = pyxen.connect("memory:///"); supervisor = pyxen.Supervisor(xen).__enter__()',
    "supervisor on a thread of the program": f"""
import threading
from pyxen.testing import FakeHost
fake, begun = FakeHost(time="real"), threading.Event()
supervisor = pyxen.Supervisor(fake, on_outcome=lambda outcome: begun.set(), leave=lambda info: None)
threading.Thread(target=supervisor.run, daemon=True).start()
fake.guest(fake.create({CONFIG})).crash()
begun.wait(30)
""",
    "supervisor of libvirt's": """
import contextlib
xen = pyxen.connect("test:///default")
stack = contextlib.ExitStack()
stack.enter_context(pyxen.Supervisor(xen))
""",
    "supervisor and a traceback": """
xen = pyxen.connect("memory:///")
supervisor = pyxen.Supervisor(xen).__enter__()
raise ValueError("the end")
""",
    "pool": f'xen = pyxen.connect("memory:///"); pool = xen.pool({CONFIG}, size=3); pool.take("web2")',
    "hosts": 'hosts = pyxen.Hosts({"a": "memory:///a", "b": "memory:///b"}); hosts.list()',
    "exporter": 'from pyxen.metrics import Exporter; exporter = Exporter("memory:///", port=0)',
    "aio": """
import asyncio
import pyxen.aio
async def main():
    global xen, events
    xen = await pyxen.aio.connect("memory:///")
    events = xen.events()
    await events.get(0)
asyncio.run(main())
""",
    "aio while it waits": f"""
import asyncio
import pyxen.aio
async def main():
    global xen, task
    xen = await pyxen.aio.connect("memory:///")
    web = await xen.create({CONFIG})
    task = asyncio.create_task(web.wait("crashed"))
    await asyncio.sleep(0.05)
asyncio.run(main())
""",
}


@pytest.mark.parametrize("name", PROGRAMS)
def test_the_interpreter_ends(name: str) -> None:
    program = f"import pyxen\n{PROGRAMS[name]}"
    done = subprocess.run([sys.executable, "-c", program], check=False, capture_output=True, text=True, timeout=SECONDS)
    assert done.returncode == (1 if "traceback" in name or name == "exit" else 0), done.stderr
    assert "the end" in done.stderr if done.returncode else done.stderr == ""


def test_python_tells_of_it_when_it_is_asked() -> None:
    program = 'import pyxen; xen = pyxen.connect("memory:///")'
    command = [sys.executable, "-W", "default", "-c", program]
    done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=SECONDS)
    assert "ResourceWarning: <Host memory:///> was never closed" in done.stderr


@pytest.mark.filterwarnings("ignore:.*never closed:ResourceWarning")
def test_a_host_that_is_collected_waits_for_nothing() -> None:
    fake = FakeHost()
    engine = fake._machine.engine
    collected = threading.Event()

    def collect(host: pyxen.Host) -> None:
        with engine.changed:  # as in the middle of an operation
            del host
            gc.collect()
        collected.set()

    hosts = [pyxen.connect(fake.uri)]
    thread = threading.Thread(target=lambda: collect(hosts.pop()), daemon=True)
    thread.start()
    assert collected.wait(30), "the collector stands still"
    end = time.monotonic() + 30
    while engine._users > 1:
        assert time.monotonic() < end, "it was not closed"
        time.sleep(0.001)
    fake.close()


def output_of(program: str) -> str:
    command = [sys.executable, "-c", program]
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=SECONDS).stdout


def test_a_closing_that_ctrl_c_has_interrupted_is_gone_on_with_at_exit() -> None:
    program = """
import pyxen
xen = pyxen.connect("memory:///")
close, calls = xen._backend.close, []
def interrupted():
    calls.append(len(calls))
    if len(calls) == 1:
        raise KeyboardInterrupt
    close()
    print("closed at", len(calls))
xen._backend.close = interrupted
try:
    xen.close()
except KeyboardInterrupt:
    print("interrupted", xen)
"""
    assert output_of(program).splitlines() == ["interrupted <Host memory:/// (closed)>", "closed at 2"]


def test_a_supervisor_that_is_not_left_finishes_what_it_has_begun() -> None:
    program = f"""
import threading, time
import pyxen
from pyxen.testing import FakeHost
fake, begun = FakeHost(time="real"), threading.Event()
def told(outcome):
    begun.set()
    time.sleep(0.5)  # it is not yet over when the program ends
    print("finished", outcome.action)
supervisor = pyxen.Supervisor(fake, on_outcome=told, leave=lambda info: None).__enter__()
fake.guest(fake.create({CONFIG})).crash()
begun.wait(30)
"""
    assert "finished" in output_of(program)


BESIDE = """
import atexit, threading, time, weakref
import pyxen
from pyxen.aio._calls import Calls

look = pyxen.connect("memory:///unheard")
atexit.register(lambda: print("left:", *sorted(guest.name for guest in look.guests)))  # after the other host is closed

BEGUN, begin = weakref.WeakSet(), Calls.begin  # they lead to the loop and its tasks
def noted(calls, call, answer):
    BEGUN.add(answer)
    begin(calls, call, answer)
Calls.begin = noted

def wait_until_all_has_ended():
    end = time.monotonic() + 30
    while not all(begun.done() and begun.result().done() for begun in BEGUN) or any(
        thread.name == "pyxen-aio-open" for thread in threading.enumerate()
    ):
        assert time.monotonic() < end, "it did not end in time"
        time.sleep(0.005)
"""
"""A module beside the program, which keeps no task: at its end, Python is to throw `GeneratorExit` into each."""

UNHEARD = """
import asyncio, sys
import beside
import pyxen.aio
from pyxen import DomainConfig, Vif

CONFIG = DomainConfig("web1", type="pvh", kernel="/k", memory=64)

async def connected():
    return await pyxen.aio.connect("memory:///")

async def main():
    global xen, task
    xen = await pyxen.aio.connect("memory:///unheard")
    web = await xen.create(CONFIG)
    {before}
    task = asyncio.create_task({call})
    await asyncio.sleep(0)

loop = asyncio.new_event_loop()
loop.run_until_complete(main())
beside.wait_until_all_has_ended()  # nobody tells the task
task._log_destroy_pending = False  # asyncio would complain, rightly
"""

SAVED = "await web.save(sys.argv[1], checkpoint=True)"

CALLS = {
    "create": ("", 'xen.create(CONFIG.replace(name="web2"))'),
    "restore": (SAVED, 'xen.restore(sys.argv[1], CONFIG.replace(name="web2"))'),
    "clone": (SAVED, "xen.clone(sys.argv[1], 2)"),
    "pool": ("", 'xen.pool(CONFIG.replace(name="web2"), size=1)'),
    "take": ('global pool; pool = await xen.pool(CONFIG.replace(name="web2"), size=1)', 'pool.take("web3")'),
    "attach": ("", 'web.attach(Vif(bridge="xenbr0"))'),
    "apply": ("", 'xen.apply(CONFIG.replace(name="web2"))'),
    "connect": ("", "connected()"),
    "console": ("", "web.console()"),
    "events": ("global events; events = xen.events()", "events.get()"),
    "watch": ('global watch; watch = xen.xenstore.watch("/local")', "watch.get()"),
}
"""Calls of asyncio, each with what comes before it."""


@pytest.mark.parametrize("name", CALLS)
def test_what_no_task_hears_of_is_undone(name: str, tmp_path: Path) -> None:
    """The loop ends first. When no thread can begin any more, Python throws `GeneratorExit` into the task."""
    before, call = CALLS[name]
    program = UNHEARD.replace("{before}", before).replace("{call}", call)
    (tmp_path / "beside.py").write_text(BESIDE)
    command = [sys.executable, "-c", program, f"{tmp_path}/saved"]
    done = subprocess.run(command, cwd=tmp_path, check=False, capture_output=True, text=True, timeout=SECONDS)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "left: web1\n"


BLOCKS = {
    "host": "",
    "pool": f"async with await xen.pool({CONFIG}, size=1): await forever()",
    "events": "async with xen.events(): await forever()",
    "watch": 'async with xen.xenstore.watch("/local"): await forever()',
    "console": f"async with (await xen.create({CONFIG})).console_stream(): await forever()",
    "hosts": 'async with pyxen.aio.Hosts({"b": "memory:///b"}) as hosts: await hosts.list(); await forever()',
}


@pytest.mark.parametrize("name", BLOCKS)
def test_a_block_that_is_never_left(name: str) -> None:
    program = f"""
import asyncio
import pyxen, pyxen.aio
begun, loop = asyncio.Event(), asyncio.new_event_loop()
async def forever():
    begun.set()
    await asyncio.sleep(3600)
async def main():
    async with pyxen.aio.connect("memory:///") as xen:
        {BLOCKS[name]}
        await forever()
task = loop.create_task(main())
task._log_destroy_pending = False  # asyncio would complain, rightly
loop.run_until_complete(begun.wait())
"""
    done = subprocess.run([sys.executable, "-c", program], check=False, capture_output=True, text=True, timeout=SECONDS)
    assert (done.returncode, done.stderr) == (0, "")


def test_what_runs_when_the_program_ends_is_stopped_and_undone() -> None:
    """Ctrl-C comes again and again, so that `asyncio.run` does not wait for its tasks."""
    program = f"""
import asyncio, atexit, contextlib, os, signal, threading, time
import pyxen, pyxen.aio
look = pyxen.connect("memory:///interrupted")
def show():
    for _ in range(4):  # a press may be late
        with contextlib.suppress(KeyboardInterrupt):
            presser.join(30)
            break
    print("left:", *[guest.name for guest in look.guests])
atexit.register(show)
async def main():
    xen = await pyxen.aio.connect("memory:///interrupted")
    tasks = [asyncio.create_task(xen.create({CONFIG}.replace(name=f"web{{number}}"))) for number in range(50)]
    def press():
        for _ in range(3):
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(0.002)
    global presser
    presser = threading.Thread(target=press, daemon=True)
    presser.start()
    await asyncio.sleep(3600)
asyncio.run(main())
"""
    done = subprocess.run([sys.executable, "-c", program], check=False, capture_output=True, text=True, timeout=SECONDS)
    assert "KeyboardInterrupt" in done.stderr
    assert done.stdout == "left:\n"


@pytest.mark.parametrize("closes", [True, False])
def test_a_function_of_a_transaction_that_never_returns(closes: bool) -> None:
    program = f"""
import asyncio, threading
import pyxen, pyxen.aio
from pyxen.aio import _calls
_calls._PATIENCE = 0.05
begun, forever = threading.Event(), threading.Event()
def hang(transaction):
    begun.set()
    forever.wait()
async def main():
    xen = await pyxen.aio.connect("memory:///")
    task = asyncio.create_task(xen.xenstore.transaction(hang))
    await asyncio.to_thread(begun.wait, 30)
    task.cancel()
    await asyncio.wait([task])
    if {closes}:
        await xen.close()
    print("over")
asyncio.run(main())
"""
    assert output_of(program) == "over\n"


LOOK = """
import atexit, gc, os, signal, sys, threading, time
import pyxen, pyxen.aio
look = pyxen.connect("memory:///ends")
left = lambda: sorted(guest.name for guest in look.guests)
atexit.register(lambda: print("left:", *left()))  # after the others are closed
CONFIG = pyxen.DomainConfig("web1", type="pvh", kernel="/k", memory=2)
def wait_for(count):
    end = time.monotonic() + 30
    while len(look.guests) < count:
        assert time.monotonic() < end, "the guests do not come"
        time.sleep(0.0005)
"""

COLLECTED = {
    "a pool": """
def main():
    xen = pyxen.connect("memory:///ends")
    pool = xen.pool(CONFIG, size=8)
    pool.wait(8)
main()
""",
    "a pool of asyncio": """
import asyncio
async def main():
    xen = await pyxen.aio.connect("memory:///ends")
    pool = await xen.pool(CONFIG, size=8)
    await pool.wait()
asyncio.run(main())
""",
    "a task of asyncio that was undone": """
import asyncio, weakref
import pyxen.aio._pending as pending
from pyxen.aio._calls import Calls
begun, begin, now = weakref.WeakSet(), Calls.begin, pending._GivingBack.now
def noted(calls, call, answer):
    begun.add(answer)
    begin(calls, call, answer)
Calls.begin = noted
web = look.create(CONFIG)
left = lambda: web.config().vifs
def slow(back, got):
    time.sleep(0.3)  # it is not yet over when the program ends
    now(back, got)
pending._GivingBack.now = slow
async def main():
    xen = await pyxen.aio.connect("memory:///ends")
    task = asyncio.create_task((await xen.domains.get("web1")).attach(pyxen.Vif(bridge="xenbr0")))
    task._log_destroy_pending = False  # asyncio would complain, rightly
    await asyncio.sleep(0)
    assert all(each.result(30).exception(30) is None for each in begun)
loop = asyncio.new_event_loop()
loop.run_until_complete(main())
loop.close()
del loop, main
gc.collect()
""",
}
"""Programs whose hosts are collected just before the end, each with what that has to undo."""


@pytest.mark.parametrize("name", COLLECTED)
def test_a_host_that_is_collected_at_the_end_is_closed_first(name: str) -> None:
    assert output_of(LOOK + COLLECTED[name]).splitlines()[-1] == "left:"


CLONED = {
    "begun": """
xen.begin.clone(sys.argv[1], 1000, name="c")
wait_for(20)
""",
    "a signal handler that exits": """
signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))  # as services do
def press():
    wait_for(20)
    os.kill(os.getpid(), signal.SIGTERM)
threading.Thread(target=press, daemon=True).start()
with xen:
    xen.clone(sys.argv[1], 1000, name="c")
""",
    "a signal handler that exits twice": """
import pyxen._copies.clone_operation as clone_operation
presses, destroy_all = [], clone_operation.destroy_all
def destroy_late(*arguments):
    end = time.monotonic() + 30
    while len(presses) < 2 and time.monotonic() < end:  # all is not yet undone when the second comes
        time.sleep(0.0005)
    return destroy_all(*arguments)
clone_operation.destroy_all = destroy_late
def handle(*_):
    presses.append(len(look.guests))
    sys.exit(0)
signal.signal(signal.SIGTERM, handle)
def press():
    wait_for(20)
    for count in (1, 2):
        os.kill(os.getpid(), signal.SIGTERM)
        while len(presses) < count:
            time.sleep(0.0005)
threading.Thread(target=press, daemon=True).start()
with xen:
    xen.clone(sys.argv[1], 1000, name="c")
""",
    "asyncio": """
import asyncio
async def main():
    global host
    host = await pyxen.aio.connect("memory:///ends")
    host.begin.clone(sys.argv[1], 1000, name="c")
    wait_for(20)
asyncio.run(main())
""",
}


@pytest.mark.parametrize("name", CLONED)
def test_clones_in_progress_are_undone(name: str, tmp_path: Path) -> None:
    program = f'{LOOK}\nxen = pyxen.connect("memory:///ends")\nxen.create(CONFIG).save(sys.argv[1]){CLONED[name]}'
    command = [sys.executable, "-c", program, f"{tmp_path}/saved"]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=SECONDS)
    assert (done.returncode, done.stderr, done.stdout) == (0, "", "left:\n")


AT_THE_END = """
import asyncio
import pyxen.aio._pending as pending
from pyxen.aio._calls import Calls
waits, may_go_on, now = threading.Event(), threading.Event(), pending._GivingBack.now
begun, begin = [], Calls.begin
def noted(calls, call, answer):
    begun.append(answer)
    begin(calls, call, answer)
Calls.begin = noted
def slow(back, got):
    waits.set()
    may_go_on.wait(30)
    now(back, got)
pending._GivingBack.now = slow
presses = []
def handle(*_):
    presses.append(None)
    raise KeyboardInterrupt
signal.signal(signal.SIGINT, handle)
def press():
    waits.wait(30)
    for count in range(PRESSES):
        os.kill(os.getpid(), signal.SIGINT)
        while len(presses) <= count:
            time.sleep(0.005)
    if PRESSES == 1:
        may_go_on.set()
threading.Thread(target=press, daemon=True).start()
async def main():
    global xen, task
    xen = await pyxen.aio.connect("memory:///ends")
    task = asyncio.create_task(xen.create(CONFIG))
    await asyncio.sleep(0)
    begun[0].result(30).exception(30)  # the task does not hear of it
loop = asyncio.new_event_loop()
loop.run_until_complete(main())
task._log_destroy_pending = False  # asyncio would complain, rightly
"""


@pytest.mark.parametrize(("presses", "left"), [(1, "left:"), (2, "left: web1")])
def test_ctrl_c_at_the_end_waits_for_the_undoing_and_a_second_one_gives_it_up(presses: int, left: str) -> None:
    program = LOOK + AT_THE_END.replace("PRESSES", str(presses))
    done = subprocess.run([sys.executable, "-c", program], check=False, capture_output=True, text=True, timeout=SECONDS)
    assert "KeyboardInterrupt" in done.stderr
    assert ("may not be undone" in done.stderr) == (presses == 2)
    assert done.stdout.splitlines()[-1] == left
