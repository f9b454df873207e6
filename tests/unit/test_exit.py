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
    assert done.returncode == (1 if name in {"traceback", "exit"} else 0), done.stderr
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
