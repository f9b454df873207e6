"""The table of libxl's functions and xl's subcommands has what the real headers and the real xl have."""

from __future__ import annotations

import re
import subprocess

from tests.oracle.setup import oracle
from tests.unit.test_headers import functions_in
from tools import libxl_table

HEADERS = ("libxl.h", "libxl_utils.h", "libxl_event.h")
OLDER_API = re.compile(r"_0x\d{6}$")


def test_the_functions_are_those_of_the_headers() -> None:
    said = libxl_table.table()
    include = oracle(said["release"]).tree / "usr" / "include"
    found = {name for header in HEADERS for name in functions_in((include / header).read_text())}
    public = {name for name in found if name.startswith("libxl_") and not OLDER_API.search(name)}
    assert set(said["functions"]) == {name for name in public if not libxl_table.PLUMBING.search(name)}


def test_the_subcommands_are_those_of_xl() -> None:
    said = libxl_table.table()
    real = oracle(said["release"])
    done = subprocess.run(real.command(real.xl, "help"), capture_output=True, text=True, check=True, timeout=60)
    assert said["subcommands"] == sorted(re.findall(r"^ ([a-z][a-z0-9-]*) ", done.stdout, re.MULTILINE))
