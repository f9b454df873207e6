"""The cache, the tools and the sources of packages: the parts that need no machine."""

from __future__ import annotations

import os
import threading
import time
from typing import TYPE_CHECKING

import pytest

from lab import BuildFailed, LabError, MissingTools, apt, cache, tools
from lab.image import Image

if TYPE_CHECKING:
    from pathlib import Path


def test_the_key_follows_names_and_contents(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("one")
    key = cache.key_of(["text"], [tmp_path / "a"])
    assert cache.key_of(["text"], [tmp_path / "a"]) == key
    (tmp_path / "a").write_text("two")
    assert cache.key_of(["text"], [tmp_path / "a"]) != key
    assert cache.key_of(["other"], [tmp_path / "a"]) != cache.key_of(["text"], [tmp_path / "a"])


def test_the_cache_is_where_the_user_wants_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PYXEN_CACHE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache.root() == tmp_path / "xdg/pyxen/lab"
    monkeypatch.setenv("PYXEN_CACHE", str(tmp_path / "own"))
    assert cache.root() == tmp_path / "own/lab"


def test_what_was_interrupted_is_not_taken_for_finished(tmp_path: Path) -> None:
    def interrupted(work: Path) -> None:
        (work / "half").write_text("half")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        cache.made(tmp_path / "thing", "key", interrupted)
    assert list((tmp_path / "thing").iterdir()) == []
    made = cache.made(tmp_path / "thing", "key", lambda work: (work / "whole").touch())
    assert [path.name for path in made.iterdir()] == ["whole"]


def test_leftovers_and_older_versions_go(tmp_path: Path) -> None:
    (tmp_path / "thing/making-killed").mkdir(parents=True)
    old = cache.made(tmp_path / "thing", "old", lambda _: None)
    os.utime(old, (0, time.time() - cache.UNUSED_SECONDS - 60))
    cache.made(tmp_path / "thing", "of another checkout", lambda _: None)
    cache.made(tmp_path / "thing", "new", lambda _: None)
    assert {path.name for path in (tmp_path / "thing").iterdir()} == {"new", "of another checkout"}


def test_whoever_waits_for_a_build_does_so_with_a_bound(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(cache, "LOCK_SECONDS", 3.0)
    with (
        cache.locked(tmp_path / "thing.lock"),
        pytest.raises(LabError, match=rf"process {os.getpid()} has held .*thing.lock for 3 s"),
        cache.locked(tmp_path / "thing.lock"),
    ):
        pass
    assert f"waiting for process {os.getpid()}" in capsys.readouterr().err


def test_a_step_that_takes_too_long_is_ended() -> None:
    with pytest.raises(BuildFailed, match=r"resting took longer than 1 s: `.*sleep 60 \.\.\.` was ended"):
        tools.call(tools.as_root(["sleep", "60"], seconds=1), what="resting", seconds=1)


def test_two_builders_build_once(tmp_path: Path) -> None:
    built: list[Path] = []

    def slowly(work: Path) -> None:
        built.append(work)
        time.sleep(0.3)

    builders = [threading.Thread(target=cache.made, args=(tmp_path / "thing", "key", slowly)) for _ in range(4)]
    for builder in builders:
        builder.start()
    for builder in builders:
        builder.join(60)
    assert len(built) == 1


def test_missing_tools_are_named_with_one_line_to_install_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tools, "which", lambda program: None if program in ("qemu-img", "mmdebstrap") else "/bin/x")
    with pytest.raises(MissingTools, match=r"needs qemu-img, mmdebstrap.*\n.*install .* mmdebstrap qemu-utils$"):
        tools.require(tools.RUN_TOOLS, tools.BUILD_TOOLS)


def test_without_root_sudo_is_used_or_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    monkeypatch.setattr(tools, "which", lambda program: f"/bin/{program}")
    bounded = ["timeout", "--foreground", "--kill-after=10", "90", "/bin/rm", "x"]
    assert tools.as_root(["rm", "x"], seconds=90) == ["sudo", "--", *bounded]
    monkeypatch.setattr(tools, "which", lambda _: None)
    with pytest.raises(LabError, match="be root, or install sudo"):
        tools.as_root(["rm", "x"])


def test_a_failing_step_shows_the_end_of_its_output() -> None:
    with pytest.raises(BuildFailed, match=r"(?s)counting failed.*status 3.*\nreason"):
        tools.call(["sh", "-c", "echo reason; exit 3"], what="counting")


def test_the_archive_is_this_machines_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PYXEN_LAB_MIRROR", raising=False)
    lines = apt.sources("trixie")
    assert any(line.endswith(" trixie main") for line in lines)
    monkeypatch.setenv("PYXEN_LAB_MIRROR", "http://mirror.example/debian")
    assert [line.rpartition("] ")[2].removeprefix("deb ") for line in apt.sources("trixie")] == [
        "http://mirror.example/debian trixie main"
    ]


def test_a_machine_without_an_archive_is_told_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PYXEN_LAB_MIRROR", raising=False)
    monkeypatch.setattr(tools, "call", lambda *_, **__: "")
    with pytest.raises(BuildFailed, match="PYXEN_LAB_MIRROR"):
        apt.sources("trixie")


def test_two_builds_of_one_image_are_told_apart(tmp_path: Path) -> None:
    disk = tmp_path / "disk.img"
    disk.touch()
    image = Image(tmp_path, "key")
    first = image.build
    assert image.build == first
    os.utime(disk, (1, 1))
    assert image.build != first
