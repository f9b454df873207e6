"""Files that are written whole: whatever lies there, and whenever the disk is full."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
import typer

from pyxen import DomainConfig, libvirtxml, libxljson, xlcfg
from pyxen._common import whole_file
from pyxen.cli.files import save

CONFIG = DomainConfig("web1", memory=512, kernel="/boot/vmlinuz")


def _save(config: DomainConfig, path: str | os.PathLike[str]) -> None:
    save(os.fspath(path), xlcfg.dumps(config), "", force=True)


DUMPS = {"xlcfg": xlcfg.dump, "libvirtxml": libvirtxml.dump, "libxljson": libxljson.dump, "pyxen convert": _save}
NOBODY = 65534
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can make files of other users")

Dump = Callable[[DomainConfig, Path], None]


@pytest.fixture(params=DUMPS)
def dump(request: pytest.FixtureRequest) -> Dump:
    found: Dump = DUMPS[request.param]
    return found


@pytest.fixture
def shared(tmp_path: Path) -> Path:
    """A folder where everybody writes."""
    folder = tmp_path / "shared"
    folder.mkdir()
    folder.chmod(0o1777)
    return folder


@needs_root
@pytest.mark.parametrize("kind", ["link", "file", "link to a file that is missing", "link on the way"])
def test_what_another_user_has_put_there(dump: Dump, tmp_path: Path, shared: Path, kind: str) -> None:
    victim = tmp_path / "victim"
    victim.write_text("precious")
    there = shared / "web1.cfg"
    if kind == "file":
        there.touch()
    elif kind == "link on the way":
        there.symlink_to(tmp_path)
    else:
        there.symlink_to(victim if kind == "link" else tmp_path / "new")
    os.lchown(there, NOBODY, NOBODY)
    before = sorted(os.listdir(shared))
    with pytest.raises((PermissionError, typer.Exit)):
        dump(CONFIG, there / "victim" if kind == "link on the way" else there)
    assert victim.read_text() == "precious"
    assert not (tmp_path / "new").exists()
    assert sorted(os.listdir(shared)) == before


@needs_root
def test_the_reason_is_said(tmp_path: Path, shared: Path) -> None:
    there = shared / "web1.cfg"
    there.symlink_to(tmp_path / "new")
    os.lchown(there, NOBODY, NOBODY)
    with pytest.raises(PermissionError, match=f"another user put {there} into a folder where everybody writes"):
        xlcfg.dump(CONFIG, there)


def test_ones_own_link_is_followed(dump: Dump, tmp_path: Path, shared: Path) -> None:
    file = tmp_path / "file"
    file.write_text("old")
    link = shared / "link"
    link.symlink_to(file)
    dump(CONFIG, link)
    assert link.is_symlink()
    assert "web1" in file.read_text()


@pytest.mark.parametrize("name", DUMPS)
def test_a_full_disk_leaves_the_old_file(tmp_path: Path, name: str) -> None:
    old = tmp_path / "old"
    old.write_text("precious")
    program = (
        "import resource, signal, sys\n"
        "from tests.unit.test_whole_file import CONFIG, DUMPS\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (4, 4))\n"
        f"DUMPS[{name!r}](CONFIG, {str(old)!r})\n"
    )
    done = subprocess.run(
        [sys.executable, "-B", "-c", program], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode != 0
    assert "File too large" in done.stderr or name == "pyxen convert"  # its message goes through typer
    assert old.read_text() == "precious"
    assert os.listdir(tmp_path) == ["old"]


def test_mode_and_owner_are_kept(dump: Dump, tmp_path: Path) -> None:
    old = tmp_path / "old"
    old.touch()
    old.chmod(0o604)
    if os.geteuid() == 0:
        os.chown(old, NOBODY, NOBODY)
    before = old.stat()
    dump(CONFIG, old)
    after = old.stat()
    assert (after.st_mode, after.st_uid, after.st_gid) == (before.st_mode, before.st_uid, before.st_gid)
    assert after.st_size > 0


@pytest.mark.parametrize("mask", [0o022, 0o077])
def test_a_new_file_has_the_mode_of_any_other(dump: Dump, tmp_path: Path, mask: int) -> None:
    before = os.umask(mask)
    try:
        dump(CONFIG, tmp_path / "new")
        (tmp_path / "other").touch()
    finally:
        os.umask(before)
    assert (tmp_path / "new").stat().st_mode == (tmp_path / "other").stat().st_mode


def test_what_is_no_file_is_written_as_it_is(dump: Dump, tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    read: list[str] = []
    thread = threading.Thread(target=lambda: read.append(pipe.read_text()))
    thread.start()
    dump(CONFIG, pipe)
    thread.join(30)
    assert "web1" in read[0]
    dump(CONFIG, Path(os.devnull))


def test_errors_are_those_of_the_system(tmp_path: Path) -> None:
    for path, error in ((tmp_path / "no" / "file", FileNotFoundError), (tmp_path, IsADirectoryError)):
        with pytest.raises(error) as caught:
            xlcfg.dump(CONFIG, path)
        assert caught.value.filename == str(path)
    with pytest.raises(ValueError, match="null"):
        xlcfg.dump(CONFIG, "a\0b")


def test_a_way_in_circles_is_no_endless_one(tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    assert whole_file.planted(str(tmp_path / "a")) is None
    with pytest.raises(OSError, match="symbolic links"):
        whole_file.write_whole(tmp_path / "a", b"")


def test_without_proc_a_new_file_is_private(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = open

    def no_proc(name: object, *args: object, **how: object) -> object:
        if name == "/proc/self/status":
            raise FileNotFoundError
        return real(name, *args, **how)  # type: ignore[call-overload]

    monkeypatch.setattr(whole_file, "open", no_proc, raising=False)
    with contextlib.suppress(FileNotFoundError):
        whole_file.write_whole(tmp_path / "new", b"x")
    assert (tmp_path / "new").stat().st_mode & 0o777 == 0o600
