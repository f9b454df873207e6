"""How the oracles come into the cache: from where the machine's packages come, and whole or not at all."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.oracle import debian
from tests.oracle.debian import Kind, SetupFailed, cached, set_up, sources_for
from tests.oracle.setup import set_up as set_up_oracle

RECIPE = "0123456789abcdef"
DEB822 = """\
# the machine's
Types: deb deb-src
URIs: http://mirror.invalid/debian
Suites: bookworm bookworm-updates
Components: main
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg

Types: deb
URIs: http://elsewhere.invalid/tool
Suites: bookworm
Components: main
"""
ONE_LINE = """\
deb [arch=amd64] http://mirror.invalid/debian bookworm main
deb-src http://mirror.invalid/debian bookworm main
deb http://elsewhere.invalid/tool bookworm main
"""


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder in place of the machine's apt sources, on Debian 12."""
    monkeypatch.setattr(debian, "SOURCES", tmp_path / "sources.list")
    monkeypatch.setattr(debian, "SOURCES_FOLDER", tmp_path / "sources.list.d")
    (tmp_path / "sources.list.d").mkdir()
    monkeypatch.setattr(debian, "host_codename", lambda: "bookworm")
    return tmp_path


@pytest.mark.parametrize("kind", ["deb", "deb-src"])
def test_sources_of_packages_need_not_be_asked_for_by_the_machine(machine: Path, kind: Kind) -> None:
    (machine / "sources.list.d" / "debian.sources").write_text(DEB822)
    stanza = DEB822.partition("\n\n")[0].replace("deb deb-src", kind).replace("bookworm", "trixie")
    assert sources_for("trixie", kind) == ("\n", stanza + "\n")


@pytest.mark.parametrize("kind", ["deb", "deb-src"])
def test_sources_in_one_line(machine: Path, kind: Kind) -> None:
    (machine / "sources.list").write_text(ONE_LINE)
    assert sources_for("trixie", kind) == (f"{kind} [arch=amd64] http://mirror.invalid/debian trixie main\n", "\n")


def test_a_machine_without_debian(machine: Path) -> None:
    assert not list(machine.glob("*.list"))
    with pytest.raises(SetupFailed, match="no apt source of Debian bookworm"):
        sources_for("trixie")


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of the test's own."""
    monkeypatch.setenv("PYXEN_CACHE", str(tmp_path))
    return tmp_path / "oracle"


def fill(folder: Path) -> None:
    (folder / "file").write_text("whole")


@pytest.mark.usefixtures("cache")
def test_what_is_not_set_up_names_the_command() -> None:
    with pytest.raises(SetupFailed, match=r"thing-1 is not set up: run `python3 -m tests\.oracle\.setup`"):
        cached("thing-1", RECIPE)


@pytest.mark.usefixtures("cache")
def test_it_is_made_once_for_a_recipe() -> None:
    made: list[Path] = []

    def make(folder: Path) -> None:
        made.append(folder)
        fill(folder)

    for recipe in (RECIPE, RECIPE, RECIPE[::-1]):
        set_up("thing-1", recipe, make)
    assert len(made) == 2
    assert [(cached("thing-1", recipe) / "file").read_text() for recipe in (RECIPE, RECIPE[::-1])] == ["whole"] * 2


def test_what_fails_halfway_leaves_nothing(cache: Path) -> None:
    def fail(folder: Path) -> None:
        fill(folder)
        raise SetupFailed("no network")

    with pytest.raises(SetupFailed, match="no network"):
        set_up("thing-1", RECIPE, fail)
    assert list(cache.iterdir()) == []


@pytest.mark.usefixtures("cache")
def test_another_process_may_make_it_meanwhile() -> None:
    def overtaken(folder: Path) -> None:
        set_up("thing-1", RECIPE, fill)
        (folder / "file").write_text("too late")

    set_up("thing-1", RECIPE, overtaken)
    assert (cached("thing-1", RECIPE) / "file").read_text() == "whole"


def test_what_nobody_used_for_long_goes(cache: Path) -> None:
    for recipe in ("a" * 12, "b" * 12):
        set_up("thing-1", recipe, fill)
    set_up("thing-1-documents", "c" * 12, fill)
    long_ago = time.time() - debian.KEPT - 1
    for folder in cache.iterdir():
        if not folder.name.endswith("b" * 12):
            os.utime(folder, (long_ago, long_ago))
    set_up("thing-1", RECIPE, fill)
    assert {folder.name for folder in cache.iterdir()} == {
        f"thing-1-{RECIPE[:12]}",
        f"thing-1-{'b' * 12}",
        f"thing-1-documents-{'c' * 12}",
    }


def test_a_program_that_does_not_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(debian, "_SECONDS", 0.2)
    with pytest.raises(SetupFailed, match=r"sleep 60 took longer than 0 s"):
        debian.run("sleep", "60")


def test_a_slow_set_up_of_pretended_hosts_is_no_slow_test(tmp_path: Path) -> None:
    """What tests/offhost lacks in the cache is compiled before the first test, whose time does not run meanwhile."""
    set_up_oracle("4.20")
    (tmp_path / "oracle").symlink_to(debian.cache_folder())
    compiler = tmp_path / "gcc"
    compiler.write_text("#!/bin/sh\nsleep 4\necho the disk is full\nexit 1\n")
    compiler.chmod(0o755)
    environment = {
        **os.environ,
        "PYXEN_CACHE": str(tmp_path),
        "PYTEST_TIMEOUT": "2",
        "PATH": f"{tmp_path}:{os.environ['PATH']}",
    }
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/offhost/test_life.py", "-k", "4.20"],
        cwd=Path(__file__).parents[2],
        env=environment,
        check=False,
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert done.returncode == pytest.ExitCode.TESTS_FAILED, done.stdout + done.stderr
    assert "cannot be pretended here" in done.stdout
    assert "the disk is full" in done.stdout
