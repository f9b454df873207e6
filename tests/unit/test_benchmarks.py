"""The benchmarks' tables, and the contender that not every machine can have."""

from __future__ import annotations

import io
import os
import tarfile
from pathlib import Path
from typing import Any, ClassVar

import pytest

from benchmarks import go_binding, report
from lab import BuildFailed, Lab, buildroot, releases
from tests.oracle import debian
from tests.oracle.debian import SetupFailed

ROUNDS = 4
CONTENDERS = ("first", "second", "later", "c", "xl")
NOTE = "Xen's own Go binding is left out: ./list.go:9:2: undefined: nonsense"


def answers(*more: str) -> list[Any]:
    """Return answers of the benchmarks, in which each contender takes a second and `more` ones take two."""
    fast, slow = [1.0] * ROUNDS, [2.0] * ROUNDS
    lists = [{"domains": 50, "times": {**dict.fromkeys(CONTENDERS, fast), **dict.fromkeys(more, slow)}}]
    stats = [{"domains": 300, "times": dict.fromkeys(("all", "each", "xentop"), fast)}]

    def parts(*names: str, seconds: float = 1.0) -> dict[str, list[list[float]]]:
        return dict.fromkeys(names, [[seconds, seconds]] * ROUNDS)

    pool = {
        "take": parts("create", "take", "create, with a vif", "take, with a vif"),
        "clone": parts("clone", "xl"),
    }
    ways = {"list": parts("xenlight", "libvirt", "bare", "virsh", "xl")}
    command = dict.fromkeys(("xl", "pyxen", "module", "json", "python"), fast)
    return [
        lists,
        stats,
        {**parts("pyxen", "c", "xl"), **parts(*more, seconds=2.0)},
        parts("one", "at_once", "workers", "xl", "xl_at_once"),
        dict.fromkeys(("xenstored", "event", "xl"), fast),
        {"pyxen": 1024.0, "xl": 2048.0},
        pool,
        {"disk": parts("pyxen", "xl"), "vif": parts("pyxen", "xl")},
        ways,
        command,
    ]


def rows(text: str, heading: str) -> list[list[str]]:
    """Return the cells of the first table below a heading."""
    lines = text[text.index(heading) :].splitlines()
    first = next(number for number, line in enumerate(lines) if line.startswith("|"))
    found = []
    for line in lines[first:]:
        if not line.startswith("|"):
            break
        found.append([cell.strip() for cell in line.strip("|").split("|")])
    return found


@pytest.mark.parametrize("heading", ["`Host.list()`", "Create and destroy"])
def test_the_tables_have_columns_of_go_where_it_was_measured(heading: str) -> None:
    text, _ = report.tables(*answers("go"), go={"host_list": "of 4.20", "create_destroy": "of 4.20"})
    head, line, *body = rows(text, f"## {heading}")
    at = head.index("Go")
    assert len({len(each) for each in (head, line, *body)}) == 1
    assert all(each[at].endswith(" ms") for each in body)
    assert [each[at + 1] for each in body] == ["2.00 (2.00 to 2.00)"] * len(body)
    assert text.count("of 4.20") == 2


@pytest.mark.parametrize("heading", ["`Host.list()`", "Create and destroy"])
def test_the_tables_say_why_go_was_not_measured(heading: str) -> None:
    text, _ = report.tables(*answers(), go=dict.fromkeys(go_binding.PARTS, NOTE))
    assert not any("Go" in cell for cell in rows(text, f"## {heading}")[0])
    assert f"\n\n{NOTE}\n\n" in text[text.index(f"## {heading}") :].partition("|")[0]


def test_versions_are_in_debians_order() -> None:
    assert debian.newest_first(["4.17.5+72-1", "4.17.7~rc1-1", "4.17.7+13-0+deb12u1", "4.9.2-1"]) == [
        "4.17.7+13-0+deb12u1", "4.17.7~rc1-1", "4.17.5+72-1", "4.9.2-1",
    ]  # fmt: skip


class Archive:
    """A Debian archive that lists sources of xen and hands out some of them."""

    lists: ClassVar = {"trixie": ["4.20.4-1"], "bookworm": ["4.17.7-1", "4.17.5-1"]}
    has: ClassVar[dict[str, Path]]

    def __init__(self, codename: str, folder: Path) -> None:
        self._codename = codename
        folder.mkdir(parents=True)

    def versions(self, name: str) -> list[str]:
        assert name == "xen"
        return self.lists[self._codename]

    def upstream(self, name: str) -> Path:
        version = name.partition("=")[2]
        if version not in self.has:
            raise SetupFailed(f"E: Failed to fetch http://mirror.invalid/xen_{version}.orig.tar.xz  404  Not Found")
        return self.has[version]


class Dom0(Lab):
    """A machine that is not started; it only notes what would be put into it."""

    def __init__(self) -> None:
        super().__init__()
        self.there: list[str] = []

    def put(self, source: str | os.PathLike[str], destination: str) -> None:
        assert Path(source).is_file()
        self.there.append(destination)


@pytest.fixture
def archive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Path]:
    """What the archive hands out, by version; the cache is empty."""
    monkeypatch.setenv("PYXEN_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(go_binding, "Sources", Archive)
    monkeypatch.setattr(Archive, "has", {}, raising=False)
    return Archive.has


def tar(path: Path, *names: str) -> Path:
    """Write a tar file with these files; each has its name as its content."""
    with tarfile.open(path, "w:xz") as archive:
        for name in names:
            member = tarfile.TarInfo(name)
            member.size = len(name)
            archive.addfile(member, io.BytesIO(name.encode()))
    return path


def test_the_binding_is_of_the_newest_source_that_the_archive_hands_out(
    archive: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = "xen-4.17.5/tools/golang/xenlight"
    names = [f"{place}/{name}" for name in ("xenlight.go", "types.gen.go", "go.mod", "README.md")]
    archive["4.17.5-1"] = tar(tmp_path / "xen.tar.xz", *names, "xen-4.17.5/xen/other.go")
    compiled: list[list[str]] = []

    def compile_go(_: releases.Release, __: Path, out: Path, modules: dict[str, Path]) -> None:
        out.write_text("program")
        compiled.extend(sorted(path.name for path in folder.iterdir()) for folder in modules.values())

    monkeypatch.setattr(buildroot, "compile_go", compile_go)
    dom0 = Dom0()
    assert go_binding.put(dom0) == (
        "Go has Xen's own binding, `tools/golang/xenlight`, of Debian's source of xen 4.17.5-1."
    )
    assert compiled == [["go.mod", "types.gen.go", "xenlight.go"]] * 2
    assert dom0.there == ["/root/bench/go/create_destroy", "/root/bench/go/list"]


def test_an_archive_without_the_source_leaves_the_binding_out(
    archive: dict[str, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    assert archive == {}
    dom0 = Dom0()
    assert go_binding.put(dom0) == (
        "Xen's own Go binding is left out: "
        "Debian's archive does not hand out the source of xen 4.20.4-1, 4.17.7-1, 4.17.5-1."
    )
    assert dom0.there == []
    assert "left out" in capsys.readouterr().err


def test_a_source_without_the_binding_leaves_it_out(archive: dict[str, Path], tmp_path: Path) -> None:
    archive["4.20.4-1"] = tar(tmp_path / "xen.tar.xz", "xen-4.20.4/xen/other.go")
    assert go_binding.put(Dom0()).endswith("xen.tar.xz has no tools/golang/xenlight")


def test_the_reason_has_the_compilers_words_and_no_place_of_this_machine(
    archive: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    archive["4.20.4-1"] = tar(tmp_path / "xen.tar.xz", "xen-4.20.4/tools/golang/xenlight/go.mod")

    def fails(*_: object) -> None:
        raise BuildFailed("compiling list.go failed: `chroot /a/root`\n./list.go:9:2: undefined: nonsense in /a/root/b")

    monkeypatch.setattr(buildroot, "compile_go", fails)
    assert go_binding.put(Dom0()) == NOTE + " in …"
    assert "chroot /a/root" in capsys.readouterr().err
