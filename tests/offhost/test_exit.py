"""A program that closes nothing ends all the same, with the real libxl."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.offhost.host import OffHost
from tests.offhost.setup import REPOSITORY, Release

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
