"""The man pages: one for each command, which the programs that show them find nothing wrong with."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

from pyxen.cli.app import COMMANDS, GROUPS
from tools import man

LINTERS = {"groff": ["-man", "-ww", "-Tutf8", "-z"], "mandoc": ["-Tlint", "-Wwarning"]}
"""Programs that say what is wrong with a page, where they are installed."""

NO_DATE = re.compile(r"missing date")
"""A page has no date, so that it is the same each time that it is written."""


def test_a_page_a_command(tmp_path: Path) -> None:
    commands = sum(len(commands) for commands in COMMANDS.values())
    grouped = sum(len(commands) for _, commands in GROUPS.values())
    written = man.write(tmp_path)
    assert len({path.name for path in written}) == len(written) == 1 + commands + grouped
    for path in written:
        text = path.read_text()
        assert text.isascii(), path.name
        assert re.findall(r"^\.SH (.*)$", text, re.MULTILINE)[:3] == ["NAME", "SYNOPSIS", "DESCRIPTION"]
        requests = {line.split()[0] for line in text.splitlines() if line.startswith((".", "'"))}
        known = {r".\"", ".TH", ".SH", ".SS", ".PP", ".TP", ".IP", ".nf", ".fi", ".RS", ".RE", ".B", ".I", ".BR"}
        assert requests <= known, path.name
    for program, options in LINTERS.items():
        if found := shutil.which(program):
            done = subprocess.run([found, *options, *written], capture_output=True, text=True, check=False, timeout=120)
            said = [line for line in (done.stdout + done.stderr).splitlines() if not NO_DATE.search(line)]
            assert said == [], program


def test_a_page_says_what_help_says() -> None:
    page = man.pages()["pyxen-xenstore-ls.1"]
    assert r"pyxen\-xenstore\-ls \- show all nodes below a node" in page
    assert r"\fB\-f\fR, \fB\-\-full\fR" in page
