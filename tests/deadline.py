"""A deadline for a whole run of pytest: ``PYXEN_TEST_DEADLINE=SECONDS python3 -m pytest -p tests.deadline``.

After it the run ends in order. The test that runs fails, with its stack; no further test is begun; pytest prints its
summary and which tests were slow, as ever. A test that cannot even be made to fail, since it hangs in C, gets a minute:
then the stacks of all threads are printed, and what has failed so far, and the process ends.
"""

from __future__ import annotations

import faulthandler
import os
import signal
import sys
import threading
import time
from types import FrameType

import pytest

LATE_STATUS = 124
"""The exit status when a test could not be made to fail."""
GRACE_SECONDS = float(os.environ.get("PYXEN_TEST_GRACE", "60"))
"""What a test that hangs in C gets; another figure is for the test of this."""

_stderr = os.dup(2)  # pytest, which is about to begin, takes the other away


class Deadline:
    """What ends the run; a plugin of pytest.

    Args:
        config: Of the run.
        seconds: The time from now.
    """

    def __init__(self, config: pytest.Config, seconds: float) -> None:
        self._config = config
        self._seconds = seconds
        self._end = time.monotonic() + seconds
        self._running = ""
        self._over = threading.Event()
        signal.signal(signal.SIGUSR2, self._fail)
        threading.Thread(target=self._watch, name="deadline", daemon=True).start()

    @property
    def _message(self) -> str:
        return f"the run's {self._seconds:.0f} s are over (PYXEN_TEST_DEADLINE)"

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        """Remember which test runs."""
        self._running = nodeid

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_setup(self) -> None:
        """Let no test pass the deadline by beginning in the moment when it comes."""
        if time.monotonic() >= self._end:
            pytest.fail(self._message)

    @pytest.hookimpl(trylast=True)
    def pytest_runtest_logfinish(self, nodeid: str) -> None:
        """Begin no further test when the time is over."""
        self._running = ""
        session = self._config.pluginmanager.get_plugin("session")
        if isinstance(session, pytest.Session) and time.monotonic() >= self._end:
            session.shouldfail = f"{self._message}; the last test was {nodeid}"

    def pytest_unconfigure(self) -> None:
        """Watch no more."""
        self._over.set()

    def _fail(self, _signal: int, _frame: FrameType | None) -> None:
        """Make the running test fail, in the main thread."""
        if self._running:
            pytest.fail(self._message)

    def _watch(self) -> None:
        if self._over.wait(max(0.0, self._end - time.monotonic())):
            return
        if self._running:
            signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGUSR2)
        if self._over.wait(GRACE_SECONDS):
            return
        self._give_up()

    def _give_up(self) -> None:
        """End the process, and say what is known."""
        reporter = self._config.pluginmanager.get_plugin("terminalreporter")
        stats = getattr(reporter, "stats", {})
        counts = ", ".join(f"{len(stats[kind])} {kind}" for kind in ("failed", "error", "passed") if kind in stats)
        lines = [f"{self._message}, and {self._running or 'the end of the run'} hangs; so far {counts or 'no test'}"]
        lines += [f"FAILED {report.nodeid}" for kind in ("failed", "error") for report in stats.get(kind, [])]
        os.write(_stderr, ("\n" + "\n".join(lines) + "\n").encode())
        faulthandler.dump_traceback(file=_stderr, all_threads=True)
        sys.stdout.flush()
        os._exit(LATE_STATUS)


def pytest_configure(config: pytest.Config) -> None:
    """Begin to count."""
    seconds = os.environ.get("PYXEN_TEST_DEADLINE")
    if seconds:
        config.pluginmanager.register(Deadline(config, float(seconds)), "pyxen-deadline")
