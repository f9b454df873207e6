"""The command on a running guest: its console, and what it does not do without being asked twice."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from pyxen.cli.status import ExitStatus
from tests.dialogue import Dialogue
from tests.xen.support import MakeDomain, runs, wait_until, xl_domids

pytestmark = pytest.mark.long

PYXEN = (sys.executable, "-m", "pyxen")
SECONDS = 180.0


def without_a_terminal(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*PYXEN, *arguments], check=False, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=SECONDS
    )


def test_a_console_and_the_key_that_leaves_it(running_linux: MakeDomain, folder: Path) -> None:
    guest = running_linux()
    wait_until(lambda: guest.endpoints().consoles != ())
    told: list[tuple[str, str]] = []
    console = Dialogue("console", f"{' '.join(PYXEN)} console {guest.domid}", dict(os.environ), folder, SECONDS)
    typed = ["~ # echo sum $((20 + 22))", "sum 42", "~ # cat /sys/hypervisor/guest_type", "PV", "~ # ^]"]
    console.play(typed, lambda _, expected, printed: told.append((expected, printed.strip())))
    assert told == [("sum 42", "sum 42"), ("PV", "PV")]
    assert runs(guest)
    guest.destroy()


@pytest.mark.parametrize(
    "verb", [("destroy",), ("trigger", "reset"), ("sysrq", "b")], ids=["destroy", "trigger", "sysrq"]
)
def test_what_needs_yes_without_a_terminal(willing: MakeDomain, verb: tuple[str, ...]) -> None:
    guest = willing()
    name, rest = guest.info().name, verb[1:]
    assert name is not None
    refused = without_a_terminal(verb[0], name, *rest)
    assert refused.returncode == ExitStatus.DECLINED
    assert "--yes" in refused.stderr
    assert xl_domids()[name] == guest.domid
    assert runs(guest)
    if verb == ("destroy",):
        done = without_a_terminal("destroy", "--yes", name)
        assert (done.returncode, done.stderr) == (ExitStatus.DONE, "")
        assert name not in xl_domids()
    else:
        guest.destroy()


def test_a_command_that_shows_no_help_does_not_load_what_help_needs() -> None:
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "pyxen", "info", "--json"],
        check=True,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=SECONDS,
    )
    assert '"xen_version"' in done.stdout
    assert " typer.main" in done.stderr
    assert "rich.markdown" not in done.stderr
