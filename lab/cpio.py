"""Initramfs archives (the kernel's `newc` cpio format), written without root and without device nodes on disk."""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

_HEADER = "070701" + "%08X" * 13


@dataclass
class Archive:
    """An initramfs being put together; every file in it belongs to root."""

    _parts: list[bytes] = field(default_factory=list)
    _count: int = 0

    def folder(self, *names: str) -> None:
        """Add folders, parents first; names without a leading slash."""
        for name in names:
            self._add(name, stat.S_IFDIR | 0o755)

    def file(self, name: str, data: bytes, mode: int = 0o644) -> None:
        """Add a regular file."""
        self._add(name, stat.S_IFREG | mode, data)

    def link(self, name: str, target: str) -> None:
        """Add a symbolic link."""
        self._add(name, stat.S_IFLNK | 0o777, target.encode())

    def console(self) -> None:
        """Add /dev/console, which the kernel opens as process 1's standard streams."""
        self.folder("dev")
        self._add("dev/console", stat.S_IFCHR | 0o600, device=os.makedev(5, 1))

    def save(self, path: Path) -> None:
        """Write the archive."""
        self._add("TRAILER!!!", 0)
        path.write_bytes(b"".join(self._parts))

    def _add(self, name: str, mode: int, data: bytes = b"", device: int = 0) -> None:
        self._count += 1
        encoded = name.encode() + b"\0"
        fields = (self._count, mode, 0, 0, 1, 0, len(data), 0, 0, os.major(device), os.minor(device), len(encoded), 0)
        self._parts += [_padded((_HEADER % fields).encode() + encoded), _padded(data)]


def _padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % 4)
