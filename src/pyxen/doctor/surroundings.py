"""The machine that is examined: its files, processes and programs, read with a bound of size."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Mapping
from typing import Final

from pyxen._common.programs import Output, find_program, run_program
from pyxen._common.shortage import REMEDY, is_shortage
from pyxen._durations import timeout_of
from pyxen.backends.xenlight.libxl import loader
from pyxen.errors import Error, OperationFailed
from pyxen.host import Host

__all__ = ["Surroundings"]

_MOST: Final = 4 << 20
"""Bytes that are read of a file; the largest is grub.cfg."""

_MOST_PROCESSES: Final = 100_000
"""Processes that are looked at."""


class Surroundings:
    """The machine that is examined, or a folder that is taken for one.

    Args:
        root: The folder that is taken for the root of the machine. Programs are looked for, and run, below it.
        connect: Opens the host, to ask Xen itself; by default this machine's through libxl, and nothing for another
            `root`.
        releases: The Xen releases for which the extension is built; by default those of this installation.
        timeout: Seconds for each program.
    """

    def __init__(
        self,
        root: str | os.PathLike[str] = "/",
        *,
        connect: Callable[[], Host] | None = None,
        releases: tuple[str, ...] | None = None,
        timeout: float = 20.0,
    ) -> None:
        self.root = os.fspath(root)
        self.is_real = self.root == "/"
        self.connect = _open_this_host if connect is None and self.is_real else connect
        self.releases = _built_releases() if releases is None else releases
        self.timeout = timeout_of(timeout, operation="examine")

    def path(self, path: str) -> str:
        """Return where an absolute path of the machine is."""
        return path if self.is_real else os.path.join(self.root, path.lstrip("/"))

    def read(self, path: str) -> str | None:
        """Return the content of a file; None if it cannot be read. A pipe or a device is not opened."""
        try:
            fd = os.open(self.path(path), os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        except (OSError, ValueError) as error:
            _check(error)
            return None
        try:
            if not stat.S_ISREG(os.fstat(fd).st_mode):
                return None
            data = b""
            while len(data) < _MOST and (more := os.read(fd, _MOST - len(data))):
                data += more
        except OSError:
            return None
        finally:
            os.close(fd)
        return data.decode("utf-8", "replace")

    def first(self, *paths: str) -> str | None:
        """Return the first of these paths that exists; None if none does."""
        return next((path for path in paths if self.exists(path)), None)

    def exists(self, path: str) -> bool:
        """Tell whether a path exists."""
        return os.path.exists(self.path(path))

    def may_use(self, path: str) -> bool:
        """Tell whether this user may read and write a file."""
        return os.access(self.path(path), os.R_OK | os.W_OK, effective_ids=True)

    def names(self, folder: str) -> list[str]:
        """Return the sorted names in a folder; none if it cannot be read."""
        try:
            return sorted(os.listdir(self.path(folder)))
        except (OSError, ValueError) as error:
            _check(error)
            return []

    def free_kib(self, path: str) -> int | None:
        """Return the space that is free for this user on the file system of a path, in KiB; None if unknown."""
        try:
            found = os.statvfs(self.path(path))
        except OSError:
            return None
        return found.f_bavail * found.f_frsize // 1024

    def program(self, name: str) -> str | None:
        """Return where a program is, as a path of the machine; None if it is not installed."""
        found = find_program(name, self.root)
        return found if found is None or self.is_real else "/" + os.path.relpath(found, self.root)

    def run(self, *command: str, package: str) -> Output:
        """Run a program; see `run_program` for its errors."""
        return run_program(command, verb="doctor", package=package, timeout=self.timeout, root=self.root)

    def processes(self) -> Mapping[str, int]:
        """Return the names of the processes, as the kernel has them (15 characters), each with a pid."""
        found: dict[str, int] = {}
        pids = [name for name in self.names("/proc") if name.isascii() and name.isdecimal()]
        for pid in pids[:_MOST_PROCESSES]:
            name = self.read(f"/proc/{pid}/comm")
            if name is not None:
                found.setdefault(name.strip(), int(pid))
        return found

    def runs_script(self, pid: int, name: str) -> bool:
        """Tell whether a process is an interpreter that runs a script of that name."""
        words = (self.read(f"/proc/{pid}/cmdline") or "").split("\0")[:3]
        return any(os.path.basename(word) == name for word in words)

    def can_load(self, release: str | None) -> str | None:
        """Return why the extension cannot be loaded; None if it can, or if this is not the real machine."""
        if not self.is_real:
            return None
        try:
            loader.load(release)
        except Exception as error:  # noqa: BLE001 (whatever a broken library raises is what is reported)
            return str(error)
        return None

    def cannot_work(self, release: str | None) -> str | None:
        """Return why the extension's workers do not start; None if they do, or for a pretended host."""
        if not self.is_real:
            return None
        program = loader.worker_program(loader.load(release))
        if self.program(program) is None:
            return f"{program} is missing, or cannot be executed."
        try:
            done = self.run(program, package="python3-pyxen")
        except Error as error:
            return str(error)
        # It says that it is not meant to be run by hand.
        return None if done.status == os.EX_USAGE else f"{program}: {done.stderr.strip() or f'status {done.status}'}"


def _check(error: OSError | ValueError) -> None:
    """Raise `OperationFailed` for a shortage, which says nothing of the machine."""
    if isinstance(error, OSError) and is_shortage(error):
        raise OperationFailed(f"cannot look at this machine: {error}: {REMEDY}") from error


def _open_this_host() -> Host:
    from pyxen.connection import connect

    return connect("xenlight:///", workers=0)


def _built_releases() -> tuple[str, ...]:
    try:
        return tuple(loader.built_releases())
    except OSError:  # this user may not look into pyxen's own folder
        return ()
