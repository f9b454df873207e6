"""Counters of the disks that QEMU serves, asked for by QMP, QEMU's protocol for programs.

libxl gives each QEMU a socket for this purpose, the same that libxenstat uses. QEMU talks to one client at a time, so a
connection is held for one question only. A guest may have taken over its QEMU: nothing that it sends is trusted, and
every wait has a bound.
"""

from __future__ import annotations

import json
import selectors
import socket
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final, NamedTuple

__all__ = ["Counters", "QemuDisks", "qemu_disks"]

SOCKETS: Final = Path("/var/run/xen")
"""Where libxl puts the sockets."""

PATIENCE: Final = 1.0
"""Seconds that a QEMU has to answer."""

_XVD: Final = 202  # major number of Xen's own disks
_SECOND_IDE: Final = 22  # that of hdc and hdd

_LONGEST: Final = 1 << 20  # bytes of an answer; that of a QEMU with 100 disks is a fifth of this
_AT_ONCE: Final = 64  # QEMUs: a process may open 1024 files by default
_MOST: Final = 2**63  # a counter of QEMU is below this

_ANSWER: Final = "pyxen-blockstats"
_QUESTION: Final = b"".join(
    json.dumps(command).encode() + b"\n"
    for command in ({"execute": "qmp_capabilities"}, {"execute": "query-blockstats", "id": _ANSWER})
)


class Counters(NamedTuple):
    """What QEMU counts for a disk."""

    read_requests: int
    read_bytes: int
    write_requests: int
    write_bytes: int
    flush_requests: int
    discard_requests: int
    discard_bytes: int


_NAMES: Final = (
    "rd_operations",
    "rd_bytes",
    "wr_operations",
    "wr_bytes",
    "flush_operations",
    "unmap_operations",
    "unmap_bytes",
)
"""QEMU's names of the `Counters`."""


class QemuDisks:
    """The disks of one QEMU."""

    def __init__(self, disks: Iterable[tuple[str, str, Counters]]) -> None:
        self._disks = list(disks)

    def counters(self, vdev: str, devid: int) -> Counters | None:
        """Return the counters of a disk; None if QEMU does not have it.

        An HVM guest can use a disk as a PV device and as an emulated one, which QEMU counts apart: this is the sum.
        """
        emulated = _emulated_names(vdev, devid)
        found = [
            counters
            for node, device, counters in self._disks
            if device in emulated or (not device and node.rpartition("-")[0] == vdev)
        ]
        return Counters(*map(sum, zip(*found, strict=True))) if found else None


def _emulated_names(vdev: str, devid: int) -> set[str]:
    """Return the names that libxl and QEMU may give the emulated device of a disk."""
    if vdev.startswith("sd"):
        return {f"scsi0-hd{devid >> 4 & 0xF}"}
    if devid >> 28:
        number = devid >> 8 & 0xFFFFF
    elif devid >> 8 == _XVD:
        number = devid >> 4 & 0xF
    else:
        number = (2 if devid >> 8 == _SECOND_IDE else 0) + (devid >> 6 & 1)
    names = {f"ide-{devid}", f"ahcidisk-{number}"}
    return names | {f"ide{number // 2}-{kind}{number % 2}" for kind in ("hd", "cd")}


def qemu_disks(domids: Iterable[int]) -> dict[int, QemuDisks]:
    """Ask the QEMUs of several domains, many at the same time.

    Returns:
        The disks of each QEMU that gave a valid answer within `PATIENCE`.
    """
    waiting = list(domids)
    answers: dict[int, QemuDisks] = {}
    asked: set[_Inquiry] = set()
    with selectors.DefaultSelector() as selector:
        try:
            while waiting or asked:
                while waiting and len(asked) < _AT_ONCE:
                    asked.add(_Inquiry(waiting.pop(), selector))
                soonest = min(inquiry.end for inquiry in asked)
                for key, _ in selector.select(max(0.0, soonest - time.monotonic())):
                    key.data.receive()
                for inquiry in [inquiry for inquiry in asked if inquiry.over or time.monotonic() >= inquiry.end]:
                    if inquiry.disks is not None:
                        answers[inquiry.domid] = inquiry.disks
                    asked.remove(inquiry)
                    inquiry.close()
        finally:
            for inquiry in asked:
                inquiry.close()
    return answers


class _Inquiry:
    """A question to one QEMU.

    Attributes:
        domid: Its domain.
        end: The time after which it is not waited for.
        over: Whether there is nothing more to wait for.
        disks: Its answer; None if there is no valid one.
    """

    def __init__(self, domid: int, selector: selectors.BaseSelector) -> None:
        self.domid = domid
        self.end = time.monotonic() + PATIENCE
        self.over = False
        self.disks: QemuDisks | None = None
        self._buffer = bytearray()
        self._length = 0
        self._selector = selector
        self._channel = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        try:
            selector.register(self._channel, selectors.EVENT_READ, self)
        except BaseException:
            self._channel.close()
            raise
        try:
            self._channel.connect(str(SOCKETS / f"qmp-libxenstat-{domid}"))
            self.over = self._channel.send(_QUESTION) != len(_QUESTION)
        except OSError:  # there is no QEMU, or others wait for it already
            self.over = True

    def receive(self) -> None:
        """Take what QEMU sent."""
        try:
            data = self._channel.recv(65536)
        except OSError:
            data = b""
        self._length += len(data)
        self.over = not data or self._length > _LONGEST
        *lines, rest = (self._buffer + data).split(b"\n")
        self._buffer = rest
        for line in lines:
            if _ANSWER.encode() in line:
                self.disks = _disks(line)
                self.over = True

    def close(self) -> None:
        """Hang up, so that others can ask."""
        self._selector.unregister(self._channel)
        self._channel.close()


def _disks(line: bytes | bytearray) -> QemuDisks | None:
    """Return what an answer says; None if it is not valid."""
    try:
        answer = json.loads(line)
    except (ValueError, RecursionError):
        return None
    entries = answer.get("return") if isinstance(answer, dict) and answer.get("id") == _ANSWER else None
    if not isinstance(entries, list):
        return None
    disks = []
    for entry in entries:
        counters = _counters(entry.get("stats")) if isinstance(entry, dict) else None
        if counters is not None:
            disks.append((str(entry.get("node-name", "")), str(entry.get("device", "")), counters))
    return QemuDisks(disks)


def _counters(stats: Any) -> Counters | None:
    if not isinstance(stats, dict):
        return None
    values: list[Any] = [stats.get(name) for name in _NAMES]
    valid = all(type(value) is int and 0 <= value < _MOST for value in values)
    return Counters(*values) if valid else None
