"""Where the lab keeps what it made, outside the repository, and how two builds stay out of each other's way."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import shutil
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from lab import tools
from lab.errors import LabError
from lab.progress import say

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from typing import TextIO

HERE = Path(__file__).resolve().parent
REPOSITORY = HERE.parent
UNUSED_SECONDS = 86400.0
LOCK_SECONDS = 1800.0
"""How long another process may take for what we want too."""


def root() -> Path:
    """The lab's folder in the cache: ``$PYXEN_CACHE/lab``, else ``${XDG_CACHE_HOME:-~/.cache}/pyxen/lab``."""
    base = os.environ.get("PYXEN_CACHE")
    if not base:
        base = os.path.join(os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"), "pyxen")
    return Path(base).resolve() / "lab"


def key_of(texts: Iterable[str], files: Iterable[Path] = ()) -> str:
    """A short hash of some texts and of the names and contents of some files."""
    digest = hashlib.sha256()
    for text in texts:
        digest.update(b"\0text\0" + text.encode())
    for path in sorted(files):
        digest.update(b"\0file\0" + path.name.encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()[:12]


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold an exclusive lock on a file; the kernel gives it up when this process ends, however it ends.

    Raises:
        LabError: Another process held it for too long.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+") as file:
        _lock(file)
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield


def _lock(file: TextIO) -> None:
    begun = time.monotonic()
    told = False
    while True:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            pass
        else:
            return
        file.seek(0)
        who = f"process {file.read().strip() or '?'}"
        waited = time.monotonic() - begun
        if waited > LOCK_SECONDS:
            raise LabError(f"{who} has held {file.name} for {waited:.0f} s: see whether it hangs, and end it")
        if waited > 2 and not told:
            told = True
            say(f"waiting for {who}, which builds the same ({file.name})")
        time.sleep(0.1)


def remove(path: Path) -> None:
    """Remove a file or a whole tree, with root's help where the tree is root's."""
    if path.is_dir() and path.stat().st_uid != os.geteuid():
        tools.call(tools.as_root(["rm", "-rf", "--one-file-system", str(path)]), what=f"removing {path}")
    elif path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _used(folder: Path) -> Path:
    """Note that a folder was used now."""
    with contextlib.suppress(OSError):
        os.utime(folder)
    return folder


def made(kind: Path, key: str, make: Callable[[Path], None]) -> Path:
    """The folder ``kind/key``, made by `make` if it is not there yet.

    It is made in a folder beside it and renamed when complete, so an interrupted build leaves nothing that looks
    finished; others that want the same wait for it. After a success, folders of other keys are removed that nobody has
    used for a day.

    Args:
        kind: The folder that holds all versions of this thing.
        key: The hash of what goes into it.
        make: Fills the (empty) folder that it is given.
    """
    final = kind / key
    if final.is_dir():
        return _used(final)
    with locked(kind.with_suffix(".lock")):
        if final.is_dir():
            return _used(final)
        kind.mkdir(parents=True, exist_ok=True)
        for abandoned in kind.glob("making-*"):  # we hold the lock: whoever made it is gone
            remove(abandoned)
        work = Path(tempfile.mkdtemp(prefix="making-", dir=kind))
        try:
            work.chmod(0o755)
            make(work)
            work.rename(final)
        except BaseException:
            remove(work)
            raise
        for old in kind.iterdir():
            # What was used today may be another checkout's.
            if old != final and time.time() - old.stat().st_mtime > UNUSED_SECONDS:
                remove(old)
    return final
