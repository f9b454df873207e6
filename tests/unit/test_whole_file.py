"""Files that are written whole: whatever lies there, and whenever the disk is full."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import struct
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import typer

from pyxen import DomainConfig, libvirtxml, libxljson, xlcfg
from pyxen._common import whole_file
from pyxen.cli.files import save
from tests.waiting import SECONDS, join

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
        [sys.executable, "-B", "-c", program], capture_output=True, text=True, check=False, timeout=SECONDS
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
    join(thread)
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


def _run(program: str, **how: Any) -> subprocess.CompletedProcess[str]:
    head = "import os, sys\nfrom tests.unit.test_whole_file import CONFIG, DUMPS\n"
    given = [sys.executable, "-B", "-c", head + program]
    return subprocess.run(given, stderr=subprocess.PIPE, text=True, check=False, timeout=SECONDS, **how)


@pytest.mark.parametrize("name", ["/dev/stdout", "/proc/self/fd/1", "/dev/fd/1", "/proc/thread-self/fd/1", "link"])
@pytest.mark.parametrize("kind", DUMPS)
def test_what_is_open_is_written_from_where_it_is(tmp_path: Path, name: str, kind: str) -> None:
    """The output of a program goes into a file; nothing of it is lost."""
    if name == "link":
        (tmp_path / "link").symlink_to("/dev/stdout")
    out = tmp_path / "out"
    path = str(tmp_path / name)  # an absolute name stays as it is
    program = f"print('before', flush=True)\nDUMPS[{kind!r}](CONFIG, {path!r})\nprint('afterwards')\n"
    with out.open("w") as file:
        done = _run(program, stdout=file)
    assert done.returncode == 0, done.stderr
    text = out.read_text()
    assert text.startswith("before\n")
    assert "web1" in text
    assert text.endswith("afterwards\n")


def test_what_is_open_needs_no_name(tmp_path: Path) -> None:
    ends = socket.socketpair()
    with ends[0], ends[1], (tmp_path / "file").open("w+b") as file:
        (tmp_path / "file").unlink()
        for fd in (file.fileno(), ends[0].fileno()):
            whole_file.write_whole(f"/dev/fd/{fd}", b"data")
        file.seek(0)
        assert (file.read(), ends[1].recv(9)) == (b"data", b"data")
    assert os.listdir(tmp_path) == []


@needs_root
def test_what_the_shell_of_another_user_has_opened_is_written(shared: Path) -> None:
    """As `sudo pyxen convert web1.xml -o /dev/stdout > /tmp/web1.cfg`."""
    out = shared / "out"
    with out.open("w") as file:
        os.chown(out, NOBODY, NOBODY)
        done = _run("DUMPS['xlcfg'](CONFIG, '/dev/stdout')", stdout=file)
    assert (done.returncode, "web1" in out.read_text()) == (0, True), done.stderr


def test_what_is_open_for_reading_only(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("precious")
    with (tmp_path / "file").open() as file:
        path = f"/dev/fd/{file.fileno()}"
        with pytest.raises(OSError, match="Bad file descriptor") as caught:
            whole_file.write_whole(path, b"data")
    assert caught.value.filename == path
    with pytest.raises(OSError, match=r"No such file|Bad file descriptor"):
        whole_file.write_whole("/dev/fd/999999", b"data")
    assert (tmp_path / "file").read_text() == "precious"


def test_what_another_process_has_open(tmp_path: Path) -> None:
    out = tmp_path / "out"
    with out.open("w") as file:
        sleeper = subprocess.Popen(["sleep", "60"], stdout=file)
    before = out.stat().st_ino
    try:
        whole_file.write_whole(f"/proc/{sleeper.pid}/fd/1", b"data")
    finally:
        sleeper.kill()
        sleeper.wait(30)
    assert (out.read_bytes(), out.stat().st_ino) == (b"data", before)


@needs_root
@pytest.mark.parametrize("whose", [NOBODY, 0])
def test_a_file_in_a_folder_that_is_not_writable(whose: int) -> None:
    """A user who may write this file only; what is written is shorter than what was there."""
    folder = _reachable_folder()
    try:
        file = folder / "web1.cfg"
        file.write_text("older\n" * 1000)
        os.chown(file, whose, NOBODY)
        file.chmod(0o660)
        before = file.stat()
        done = _as_nobody(file)
        assert done.returncode == 0, done.stderr
        after = file.stat()
        assert (after.st_ino, after.st_mode, after.st_uid) == (before.st_ino, before.st_mode, before.st_uid)
        assert file.read_text() == xlcfg.dumps(CONFIG)
        file.chmod(0o440)
        assert "Permission denied" in _as_nobody(file).stderr
    finally:
        shutil.rmtree(folder)


def _as_nobody(file: Path) -> subprocess.CompletedProcess[str]:
    """Write a file as another user than root."""
    return _run(f"os.setgroups([])\nos.setgid({NOBODY})\nos.setuid({NOBODY})\nDUMPS['xlcfg'](CONFIG, {str(file)!r})\n")


def _reachable_folder() -> Path:
    """Return a new folder that every user can reach; those of pytest are private."""
    folder = Path(tempfile.mkdtemp(prefix="pyxen-whole-"))
    folder.chmod(0o755)
    return folder


@needs_root
def test_the_owner_stays_where_only_root_could_give_the_file_away() -> None:
    folder = _reachable_folder()
    try:
        file = folder / "web1.cfg"
        file.touch()
        file.chmod(0o660)
        os.chown(file, 0, NOBODY)
        os.chown(folder, NOBODY, NOBODY)
        done = _as_nobody(file)
        assert done.returncode == 0, done.stderr
        assert (file.stat().st_uid, "web1" in file.read_text()) == (0, True)
        assert os.listdir(folder) == ["web1.cfg"]
    finally:
        shutil.rmtree(folder)


@needs_root
def test_a_file_that_is_mounted(tmp_path: Path) -> None:
    """As a container has files of its host."""
    source, mounted = tmp_path / "source", tmp_path / "mounted"
    source.write_text("older\n" * 1000)
    mounted.touch()
    with contextlib.ExitStack() as undo:
        if subprocess.run(
            ["mount", "--bind", source, mounted], capture_output=True, check=False, timeout=60
        ).returncode:
            pytest.skip("nothing can be mounted here")
        undo.callback(lambda: subprocess.run(["umount", "-l", mounted], check=True, timeout=60))
        xlcfg.dump(CONFIG, mounted)
    assert source.read_text() == xlcfg.dumps(CONFIG)
    assert sorted(os.listdir(tmp_path)) == ["mounted", "source"]


@pytest.mark.parametrize("code", sorted(whole_file._CANNOT_BE_REPLACED))
def test_what_cannot_be_replaced_is_written_in_place(
    dump: Dump, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(code, os.strerror(code))

    (tmp_path / "old").write_text("older\n" * 1000)
    before = (tmp_path / "old").stat().st_ino
    monkeypatch.setattr(os, "rename", refuse)
    dump(CONFIG, tmp_path / "old")
    with pytest.raises((OSError, typer.Exit)):
        dump(CONFIG, tmp_path / "new")
    assert os.listdir(tmp_path) == ["old"]
    assert (tmp_path / "old").stat().st_ino == before
    assert "older" not in (tmp_path / "old").read_text()


def test_a_second_name_stays(dump: Dump, tmp_path: Path) -> None:
    (tmp_path / "one").write_text("older\n" * 1000)
    os.link(tmp_path / "one", tmp_path / "other")
    dump(CONFIG, tmp_path / "one")
    assert (tmp_path / "one").samefile(tmp_path / "other")
    assert "web1" in (tmp_path / "other").read_text()
    assert "older" not in (tmp_path / "other").read_text()


def test_no_second_name_leads_elsewhere_from_where_everybody_writes(dump: Dump, tmp_path: Path, shared: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("precious")
    os.link(victim, shared / "web1.cfg")
    dump(CONFIG, shared / "web1.cfg")
    assert victim.read_text() == "precious"
    assert "web1" in (shared / "web1.cfg").read_text()


def _acl(user: int, permissions: int) -> bytes:
    """Return an access list as the kernel has it: the owner, one more user, the group, the mask, and others."""
    none = 0xFFFFFFFF
    entries = [(1, 6, none), (2, permissions, user), (4, 0, none), (16, permissions, none), (32, 0, none)]
    return struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *each) for each in entries)


def _set_or_skip(path: Path, attribute: str, value: bytes) -> None:
    try:
        os.setxattr(path, attribute, value)
    except OSError as error:
        pytest.skip(f"the file system has no {attribute}: {error.strerror}")


def test_attributes_and_access_lists_are_kept(dump: Dump, tmp_path: Path) -> None:
    old = tmp_path / "old"
    old.touch()
    _set_or_skip(old, "user.note", b"mine")
    _set_or_skip(old, "system.posix_acl_access", _acl(NOBODY, 4))
    before = {each: os.getxattr(old, each) for each in os.listxattr(old)}, old.stat().st_mode
    inode = old.stat().st_ino
    dump(CONFIG, old)
    assert ({each: os.getxattr(old, each) for each in os.listxattr(old)}, old.stat().st_mode) == before
    assert old.stat().st_ino != inode


def test_access_lists_of_folders_are_for_new_files(dump: Dump, tmp_path: Path) -> None:
    old, new, other = (tmp_path / name for name in ("old", "new", "other"))
    old.touch()
    old.chmod(0o640)
    _set_or_skip(tmp_path, "system.posix_acl_default", _acl(NOBODY, 4))
    other.touch()
    dump(CONFIG, new)
    dump(CONFIG, old)
    acl = "system.posix_acl_access"
    assert (os.getxattr(new, acl), new.stat().st_mode) == (os.getxattr(other, acl), other.stat().st_mode)
    assert (os.listxattr(old), old.stat().st_mode & 0o777) == ([], 0o640)
