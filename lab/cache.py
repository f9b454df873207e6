"""Where the lab keeps what it made, outside the repository, and how two builds stay out of each other's way."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from lab import tools

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

HERE = Path(__file__).resolve().parent
REPOSITORY = HERE.parent


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
    """Hold an exclusive lock on a file; the kernel gives it up when this process ends, however it ends."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def remove(path: Path) -> None:
    """Remove a file or a whole tree, with root's help where the tree is root's."""
    if path.is_dir() and path.stat().st_uid != os.geteuid():
        subprocess.run(tools.as_root(["rm", "-rf", "--one-file-system", str(path)]), check=True)
    elif path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def made(kind: Path, key: str, make: Callable[[Path], None]) -> Path:
    """The folder ``kind/key``, made by `make` if it is not there yet.

    It is made in a folder beside it and renamed when complete, so an interrupted build leaves nothing that looks
    finished; others that want the same wait for it. Folders of other keys are removed after a success.

    Args:
        kind: The folder that holds all versions of this thing.
        key: The hash of what goes into it.
        make: Fills the (empty) folder that it is given.
    """
    final = kind / key
    if final.is_dir():
        return final
    with locked(kind.with_suffix(".lock")):
        if final.is_dir():
            return final
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
            if old != final:
                remove(old)
    return final
