"""A program that closes nothing ends all the same, on every backend that needs no Xen."""

from __future__ import annotations

import gc
import subprocess
import sys
import threading
import time

import pytest

import pyxen
from pyxen.testing import FakeHost

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
    done = subprocess.run([sys.executable, "-c", program], check=False, capture_output=True, text=True, timeout=60)
    assert done.returncode == (1 if "traceback" in name or name == "exit" else 0), done.stderr
    assert "the end" in done.stderr if done.returncode else done.stderr == ""


def test_python_tells_of_it_when_it_is_asked() -> None:
    program = 'import pyxen; xen = pyxen.connect("memory:///")'
    command = [sys.executable, "-W", "default", "-c", program]
    done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=60)
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
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=60).stdout


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
