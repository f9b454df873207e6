"""Other toolstacks that act when a domain ends: xl runs a process for each domain that it starts, libvirt a daemon."""

from __future__ import annotations

import os
import re
import stat
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from pyxen._common.shortage import REMEDY, is_shortage, shortage
from pyxen.errors import NotReady, OperationFailed
from pyxen.records.info import DomainInfo

__all__ = ["Watchers", "is_here", "watcher_of"]

_XL: Final = "xl"
_LIBVIRT: Final = frozenset({"libvirtd", "virtxend"})
_STARTERS: Final = ("create", "restore", "migrate-receive")  # xl accepts any prefix of these, too

# The lines that xl writes to its log (its standard output) when it starts to watch a domain, and when it restarts it.
_NEWS: Final = re.compile(
    rb"^Waiting for domain .*\(domid (\d+)\) to die \[pid (\d+)\]\r?$|Rebooting now$", re.MULTILINE
)
_MOST: Final = 1 << 20  # bytes read from the end of a file

_TO_SAY: Final = 10.0  # seconds for an xl that is still creating a domain to write to its log which one it watches
_BETWEEN_LOOKS: Final = 0.1  # seconds
_LOOKS: Final = 2
_CANNOT_LOOK: Final = "cannot look who watches the domain"
_BEGINS: Final = "?"


@dataclass(frozen=True, slots=True)
class Watchers:
    """Finds the processes of other toolstacks that act when a domain ends.

    Only files and processes that belong to root count: anyone can name a process ``xl`` and write a line that looks
    like one of xl's. Only the log of an xl process, which it keeps open, says which domain the process watches.

    Attributes:
        proc: Where procfs is mounted.
        libvirt: Where libvirt keeps a file for each domain that it runs.
        uid: The user whose processes and logs count.
    """

    proc: str = "/proc"
    libvirt: str = "/run/libvirt/libxl"
    uid: int = 0

    def of(self, info: DomainInfo) -> str | None:
        """Return which process or daemon watches a domain, as text for people; None if none does.

        An xl process that is still creating a domain does not say yet which domain it will watch. This waits for such a
        process, for at most 10 seconds.

        Raises:
            NotReady: This process may have no more descriptors.
            OperationFailed: xl watches domains, and this process may not see which.
        """
        deadline = time.monotonic() + _TO_SAY
        # An xl that starts to watch hands over to a child, which one scan of all processes can miss: so scan twice.
        nobody = 0
        while nobody < _LOOKS and time.monotonic() < deadline:
            found = self._look(info.domid)
            if found not in {None, _BEGINS}:
                return found
            if found is None:
                nobody += 1
            else:
                nobody = 0
                time.sleep(_BETWEEN_LOOKS)
        runs = any(name in _LIBVIRT for _, name in self._processes())
        return "libvirt" if runs and self._is_libvirts(info) else None

    def _look(self, domid: int) -> str | None:
        """Return the xl process that watches a domain; `_BEGINS` if one is about to watch some domain."""
        xls = [pid for pid, name in self._processes() if name == _XL]
        watching = next((pid for pid in xls if domid in self._domids(pid)), None)
        if watching is not None:
            return f"xl (process {watching})"
        return _BEGINS if any(self._begins(pid) for pid in xls) else None

    def _processes(self) -> Iterator[tuple[int, str]]:
        with shortage(NotReady, _CANNOT_LOOK):
            entries = os.listdir(self.proc)
        for entry in entries:
            if (
                entry.isdecimal() and self._is_roots(entry) and self._read(f"{entry}/cmdline")
            ):  # the command line of an ended process is empty
                yield int(entry), self._read(f"{entry}/comm").decode(errors="replace").rstrip("\n")

    def _news(self, pid: int) -> list[int | None]:
        """Return the domids that an xl process started to watch, in order, and None for each restart of a domain."""
        found = [match.groups() for match in _NEWS.finditer(self._log(pid))]
        return [None if domid is None else int(domid) for domid, by in found if by in {None, str(pid).encode()}]

    def _domids(self, pid: int) -> set[int | None]:
        """Return the domids that an xl process watches or has watched; it preserved or ended the earlier domains."""
        return set(self._news(pid)) - {None}

    def _begins(self, pid: int) -> bool:
        """Tell whether an xl process is about to watch a domain, and has not said which one yet."""
        arguments = self._read(f"{pid}/cmdline").decode(errors="replace").split("\0")[1:]
        verb = next((argument for argument in arguments if argument and not argument.startswith("-")), None)
        if verb is None or not any(starter.startswith(verb) for starter in _STARTERS):
            return False
        options = "".join(word for word in arguments if word.startswith("-") and not word.startswith("--"))
        if "F" in options:  # xl in the foreground has no log
            return False
        return (self._news(pid) or [None])[-1] is None

    def _log(self, pid: int) -> bytes:
        try:
            target = os.readlink(f"{self.proc}/{pid}/fd/1")
        except PermissionError as error:  # whoever watches a domain must not count as nobody
            message = f"only root can see which domain xl (process {pid}) watches: run as root, or give leave="
            raise OperationFailed(message, operation="supervise") from error
        except OSError:
            return b""
        return self._read(f"{pid}/fd/1") if os.path.basename(target).startswith("xl-") else b""

    def _is_libvirts(self, info: DomainInfo) -> bool:
        if info.name is None or "/" in info.name or "\0" in info.name:
            return False
        return f"<uuid>{info.uuid}</uuid>".encode() in _end_of(f"{self.libvirt}/{info.name}.xml", self.uid)

    def _is_roots(self, entry: str) -> bool:
        try:
            return os.stat(f"{self.proc}/{entry}").st_uid == self.uid
        except OSError:  # the process is gone
            return False

    def _read(self, path: str) -> bytes:
        return _end_of(f"{self.proc}/{path}", self.uid)


def _end_of(path: str, uid: int) -> bytes:
    """Return the end of a regular file that a user owns; nothing for any other file. This never blocks."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    except OSError as error:  # the process is gone
        if is_shortage(error):  # whoever watches a domain must not count as nobody
            raise NotReady(f"{_CANNOT_LOOK}: {error}: {REMEDY}") from error
        return b""
    try:
        found = os.fstat(fd)
        if not stat.S_ISREG(found.st_mode) or found.st_uid != uid:
            return b""
        os.lseek(fd, max(0, found.st_size - _MOST), os.SEEK_SET)
        data = b""
        while len(data) < _MOST and (more := os.read(fd, _MOST - len(data))):
            data += more
    except OSError:
        return b""
    finally:
        os.close(fd)
    return data


def is_here(uri: str) -> bool:
    """Tell whether the host of a URI is this machine, so that its processes and files can be looked at."""
    return not urlsplit(uri).netloc


def watcher_of(info: DomainInfo) -> str | None:
    """Return the toolstack that already acts when this domain ends: an xl process or libvirt; None if neither does.

    It looks at the processes and files of this machine. xl in the foreground (``xl create -F``) cannot be detected, and
    is not reported.
    """
    return Watchers().of(info)
