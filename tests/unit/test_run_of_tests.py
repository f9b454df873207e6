"""What becomes of the parts of `make test` when it is ended."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.waiting import until
from tools.test import ROOT

LONG_PARTS = """
import signal
import sys
from pathlib import Path

from tools import test

SLEEPS = "import os, time; print(os.getpid(), flush=True); time.sleep(600)"
test.ROOT = Path(sys.argv[1])
test.parts = lambda: [
    test.Part(name, [[sys.executable, "-c", SLEEPS]] * 2, boots=name != "others") for name in ("one", "two", "others")
]
sys.argv[1:] = []
signal.signal(signal.SIGHUP, signal.SIG_DFL)  # nohup may have begun all this
sys.exit(test.main())
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_all_parts(tmp_path: Path, number: signal.Signals) -> None:
    logs = [tmp_path / f"build/test/{name}.log" for name in ("one", "two", "others")]
    with subprocess.Popen(
        [sys.executable, "-c", LONG_PARTS, str(tmp_path)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        until(lambda: all(log.exists() and log.read_text().strip() for log in logs), "all parts run")
        process.send_signal(number)
        said = process.communicate(timeout=120)[0]
    assert process.returncode == 128 + number
    assert f"ended by {number.name}" in said
    begun = [log.read_text().split() for log in logs]
    assert [len(pids) for pids in begun] == [1, 1, 1]  # the second command of none is begun
    for (pid,) in begun:
        with pytest.raises(ProcessLookupError):
            os.kill(int(pid), 0)
