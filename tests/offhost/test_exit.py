"""A program that closes nothing ends all the same, with the real libxl."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
from typing import Any

import pytest

import pyxen.aio
from tests.offhost.conftest import Configure
from tests.offhost.host import OffHost
from tests.offhost.setup import REPOSITORY, Release
from tests.waiting import until

BEGINNING = """
import pyxen
from tests.offhost.internals import use_extension
from tests.offhost.setup import release
use_extension(release({release!r}))
"""

PROGRAMS = {
    "host": "xen = pyxen.connect()",
    "no workers": "xen = pyxen.connect(workers=0); xen.list()",
    "events": "xen = pyxen.connect(); events = xen.events()",
    "waiting": 'xen = pyxen.connect(); waiting = xen.domains[0].begin.wait("crashed")',
    "traceback": 'xen = pyxen.connect(); infos = xen.list(); raise ValueError("the end")',
}


@pytest.mark.parametrize("name", PROGRAMS)
def test_the_interpreter_ends(offhost: OffHost, xen: Release, name: str) -> None:  # noqa: ARG001 (must be there first)
    program = BEGINNING.format(release=xen.name) + PROGRAMS[name]
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=REPOSITORY, check=False, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == (1 if name == "traceback" else 0), done.stderr
    assert done.stderr == "" or "the end" in done.stderr


UNHEARD = """
import asyncio, gc, sys, time
import pyxen.aio
def creates():
    return [each for each in gc.get_objects() if type(each) is pyxen.Operation and each.verb == "create"]
async def main():
    global xen, task
    xen = await pyxen.aio.connect()
    task = asyncio.create_task(xen.create(pyxen.DomainConfig("web", type="pvh", kernel=sys.argv[1], memory=16)))
    await asyncio.sleep(0)
loop = asyncio.new_event_loop()
loop.run_until_complete(main())
end = time.monotonic() + 30
while not (creates() and all(each.done() for each in creates())):  # its task does not hear of it
    assert time.monotonic() < end, "it did not end in time"
    time.sleep(0.01)
task._log_destroy_pending = False  # asyncio would complain, rightly
"""


def test_what_no_task_hears_of_is_undone_at_the_end(
    offhost: OffHost, xen: Release, kernels: dict[str, str], host: pyxen.Host
) -> None:
    program = BEGINNING.format(release=xen.name) + UNHEARD
    command = [sys.executable, "-c", program, kernels["pvh"]]
    done = subprocess.run(command, cwd=REPOSITORY, check=False, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr, done.stdout) == (0, "", "")
    assert list(host.guests) == []
    assert not offhost.left()


def test_what_no_task_hears_of_is_undone_at_a_close(
    offhost: OffHost, host: pyxen.Host, config: Configure, monkeypatch: pytest.MonkeyPatch
) -> None:
    ended: set[tuple[str, Any]] = set()
    set_result = pyxen.Operation.set_result

    def noted(operation: pyxen.Operation[Any], result: Any) -> None:
        set_result(operation, result)
        ended.add((operation.verb, operation.subject))

    async def main() -> None:
        xen = await pyxen.aio.connect()
        tasks = [asyncio.create_task(xen.create(config("pvh", name=name))) for name in ("one", "two", "three")]
        await asyncio.sleep(0)
        wanted = {("create", name) for name in ("one", "two", "three")}
        until(lambda: wanted <= ended, "the creates end, and the loop is held up meanwhile")
        assert len(list(host.guests)) == 3
        for task in tasks[1:]:
            task.cancel()
        await xen.close()
        there = {guest.uuid for guest in host.guests}
        ends = await asyncio.gather(*tasks, return_exceptions=True)
        assert there == {end.uuid for end in ends if isinstance(end, pyxen.aio.Domain)}
        assert [type(end) for end in ends[1:]] == [asyncio.CancelledError] * 2
        assert isinstance(ends[0], pyxen.OperationCancelled | pyxen.aio.Domain)  # it may have heard just in time
        for guest in host.guests:
            guest.destroy()

    monkeypatch.setattr(pyxen.Operation, "set_result", noted)
    asyncio.run(main())
    assert not offhost.left()
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("pyxen-aio")]
