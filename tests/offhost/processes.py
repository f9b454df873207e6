"""The processes in which these tests run.

What is preloaded must be there when a process begins, and another release's libxl needs another C library. So the
pytest that was called runs none of these tests itself: for each release it begins another one, with the stub preloaded
and by the release's loader, gives it the tests that were chosen, and reports what that reports. Where one ends in the
middle of a test, that test has failed, and another one goes on with the rest: a test can end its own process only.
"""

from __future__ import annotations

import json
import os
import select
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import pytest

from tests.offhost.host import FOLDER
from tests.offhost.setup import REPOSITORY, Release, SetupFailed, release

__all__ = [
    "inside",
    "pytest_collection_modifyitems",
    "pytest_runtest_protocol",
    "pytest_runtestloop",
    "pytest_sessionfinish",
    "pytest_timeout_set_timer",
]

_INSIDE = "PYXEN_OFFHOST_RELEASE"
_REPORTS = "PYXEN_OFFHOST_REPORTS"  # descriptor that reports go to
_NO_LIMIT = 24 * 3600.0  # seconds that stand for no limit
_LONGER = 30.0  # seconds that it has beyond its own limit for a test, which is pytest's
_HERE = Path(__file__).parent

_CHILDREN = pytest.StashKey[dict[str, "_Child"]]()
_ITEMS = pytest.StashKey[dict[str, list[str]]]()
_FOUND = pytest.StashKey[dict[str, Release | SetupFailed]]()


def inside() -> str | None:
    """Return the release that this process is on; None in the pytest that was called."""
    return os.environ.get(_INSIDE)


def _release_of(item: pytest.Item) -> str | None:
    """Return the release that a test of this folder is for; None for tests of other folders."""
    if not item.path.is_relative_to(_HERE) or not isinstance(item, pytest.Function):
        return None
    callspec: Any = getattr(item, "callspec", None)
    return callspec.params["xen"] if callspec is not None else None


def _patience() -> float:
    """Return how many seconds a test may take: pytest's own limit, which ``PYTEST_TIMEOUT`` can change, and a bit."""
    limit = float(os.environ.get("PYTEST_TIMEOUT") or 300)
    return (limit or _NO_LIMIT) + _LONGER


# In the pytest that was called.


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Sort the tests by their releases, in the order of the releases; those of other folders stay where they are."""
    if inside() or _ITEMS in config.stash:
        return
    own = [item for item in items if _release_of(item) is not None]
    ordered = iter(sorted(own, key=lambda item: str(_release_of(item))))
    items[:] = [item if _release_of(item) is None else next(ordered) for item in items]
    config.stash[_ITEMS] = {}
    config.stash[_CHILDREN] = {}


def pytest_runtestloop(session: pytest.Session) -> None:
    """Set up the releases of the tests: to fetch and compile what is missing may take longer than a test may."""
    if inside() or session.config.option.collectonly:
        return
    found: dict[str, Release | SetupFailed] = {}
    session.config.stash[_FOUND] = found
    for name in sorted({name for item in session.items if (name := _release_of(item)) is not None}):
        try:
            found[name] = release(name)
        except SetupFailed as error:
            found[name] = error  # each of its tests says so


def pytest_runtest_protocol(item: pytest.Item) -> bool | None:
    """Let a test of this folder be run by the process of its release."""
    name = _release_of(item)
    if name is None or inside():
        return None
    children = item.config.stash[_CHILDREN]
    item.ihook.pytest_runtest_logstart(nodeid=item.nodeid, location=item.location)
    child = children.get(name)
    if child is not None and child.ended:
        child.close()
    if child is None or child.ended:
        rest = [other.nodeid for other in _rest(item) if _release_of(other) == name]
        child = children[name] = _Child(name, item.config.stash[_FOUND][name], rest)
    for report in child.reports(item):
        item.ihook.pytest_runtest_logreport(report=report)
    item.ihook.pytest_runtest_logfinish(nodeid=item.nodeid, location=item.location)
    return True


@pytest.hookimpl(optionalhook=True)
def pytest_timeout_set_timer(item: pytest.Item) -> bool | None:
    """Leave the limit of a test to its own process: pytest-timeout would end the whole run here, a moment before."""
    return None if inside() or _release_of(item) is None else True


def _rest(item: pytest.Item) -> list[pytest.Item]:
    return item.session.items[item.session.items.index(item) :]


def pytest_sessionfinish(session: pytest.Session) -> None:
    """End the processes."""
    for child in session.config.stash.get(_CHILDREN, {}).values():
        child.close()


class _Child:
    """A pytest on a release, which runs tests one after the other, each when it is asked to report it."""

    def __init__(self, name: str, found: Release | SetupFailed, tests: list[str]) -> None:
        self.ended = False
        self._complaint = ""
        self._unread = b""
        self._lines = -1  # descriptor that its reports come from
        self._output: IO[str] = tempfile.TemporaryFile("w+")  # noqa: SIM115 (closed by `close`)
        self._process: subprocess.Popen[bytes] | None = None
        self._go: IO[bytes] | None = None
        if isinstance(found, SetupFailed):
            self.ended = True
            self._complaint = f"Xen {name} cannot be pretended here: {found}"
        else:
            self._begin(found, tests)

    def _begin(self, found: Release, tests: list[str]) -> None:
        here, there = os.pipe()
        self._folder = tempfile.mkdtemp(prefix="offhost-", dir="/tmp")  # short, for the sockets' sake
        listing = Path(self._folder, "tests.txt")
        listing.write_text("\n".join(tests))
        self._process = subprocess.Popen(
            [found.python, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "tests.offhost.reporting",
             "--rootdir", str(REPOSITORY), f"@{listing}"],
            cwd=REPOSITORY,
            env={
                **os.environ, _INSIDE: found.name, _REPORTS: str(there), FOLDER: self._folder,
                "LD_PRELOAD": found.preload,
            },
            stdin=subprocess.PIPE, stdout=self._output, stderr=self._output, pass_fds=[there],
        )  # fmt: skip
        os.close(there)
        self._go = self._process.stdin
        self._lines = here

    def reports(self, item: pytest.Item) -> Iterator[pytest.TestReport]:
        """Let it run a test, and return what it reports of it: set-up, call, tear-down."""
        if not self.ended and self._go is not None:
            try:
                self._go.write(b"go\n")
                self._go.flush()
            except BrokenPipeError:
                self.ended = True
        while not self.ended:
            line = self._line()
            if line is None:
                self.ended = True
                break
            data = json.loads(line)
            if data.get("finished"):
                return
            yield item.config.hook.pytest_report_from_serializable(config=item.config, data=data)
        yield pytest.TestReport(item.nodeid, item.location, {}, "failed", self._obituary(), "call")

    def _line(self) -> bytes | None:
        """Return its next report; None where it has ended, and where it takes too long, so that it is ended."""
        patience = _patience()
        end = time.monotonic() + patience
        while b"\n" not in self._unread:
            ready, _, _ = select.select([self._lines], [], [], max(end - time.monotonic(), 0))
            data = os.read(self._lines, 1 << 16) if ready else b""
            if not ready and self._process is not None:
                self._complaint = f"it did nothing for {patience:.0f} s, and was killed; "
                self._process.kill()
            if not data:
                return None
            self._unread += data
        line, self._unread = self._unread.split(b"\n", 1)
        return line

    def _obituary(self) -> str:
        if self._process is None:
            return self._complaint
        status = self._process.wait()
        how = f"by {signal.Signals(-status).name}" if status < 0 else f"with status {status}"
        self._output.seek(0)
        return f"{self._complaint}the test's process has ended {how}; its last words:\n{self._output.read()[-4000:]}"

    def close(self) -> None:
        """End it. Calling it again does nothing."""
        if self._output.closed:
            return
        if self._process is not None and self._go is not None:
            self._go.close()
            try:
                self._process.wait(10)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
            os.close(self._lines)
            shutil.rmtree(self._folder)
        self._output.close()
