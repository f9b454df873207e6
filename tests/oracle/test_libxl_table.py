"""The table of libxl's functions and xl's subcommands has what the real headers and the real xl have."""

from __future__ import annotations

import re
import subprocess

import pytest

from tests.oracle.setup import RELEASES, oracle
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


def _usage(release: str, subcommand: str) -> str:
    real = oracle(release)
    command = real.command(real.xl, "help", subcommand)
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout


def test_the_options_are_those_of_xl() -> None:
    said, found = libxl_table.table(), set[str]()
    for subcommand in said["subcommands"]:
        spellings: dict[str, list[str]] = {}
        for release in RELEASES:
            for option in libxl_table.options_in(_usage(release, subcommand)):
                spellings[option[0]] = option
        found |= {" ".join([subcommand, *option]) for option in spellings.values()}
    assert said["options"] == sorted(found)


def _refused(release: str, subcommand: str, option: str) -> bool:
    """Tell whether the real xl does not know an option, which it says before it does anything."""
    real = oracle(release)
    before = ["0"] if subcommand == "config-update" else []  # its domain comes first
    command = real.command(real.xl, subcommand, *before, option, "0")
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60, stdin=subprocess.DEVNULL)
    return bool(re.search(r"option .* not supported|unrecognized option|invalid option", done.stdout + done.stderr))


@pytest.mark.parametrize("release", RELEASES)
def test_what_help_does_not_show_is_taken_all_the_same(release: str) -> None:
    said = libxl_table.table()
    lines, unshown = map(str.split, said["options"]), said["unshown_options"]
    assert {f"{subcommand} {option}" for subcommand, *options in lines for option in options}.isdisjoint(unshown)
    for option, source in unshown.items():
        subcommand, *spellings = option.split()
        later = re.search(r"since (.*)", source)
        for spelling in spellings:
            assert _refused(release, subcommand, spelling) == bool(later and release < later[1]), option
    for subcommand in sorted({option.split()[0] for option in unshown}):
        assert _refused(release, subcommand, "-Z"), subcommand
        assert _refused(release, subcommand, "--nonsense"), subcommand


@pytest.mark.parametrize("release", RELEASES)
def test_what_xl_has_for_arm_alone(release: str) -> None:
    for subcommand in libxl_table.table()["unshown_subcommands"]:
        real = oracle(release)
        done = subprocess.run(
            real.command(real.xl, subcommand), capture_output=True, text=True, check=False, timeout=60
        )
        assert "command not implemented" in done.stderr, done


def test_libxl_cannot_fork_a_domain() -> None:
    for release in RELEASES:
        include = oracle(release).tree / "usr" / "include"
        assert not any("fork" in name and "vm" in name for name in functions_in((include / "libxl.h").read_text()))
    assert "fork-vm" not in libxl_table.table()["subcommands"]
