"""This repository as dom0 sees it: in /root/pyxen, with the extension for its Xen and Python."""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING

from lab.cache import REPOSITORY

if TYPE_CHECKING:
    import tarfile
    from pathlib import Path

IN_DOM0 = "/root/pyxen"
_LEFT_OUT = {".git", ".venv", "build", "dist", "__pycache__", "_build"}
_LEFT_OUT |= {".mypy_cache", ".pytest_cache", ".ruff_cache", ".hypothesis"}


def add_to(archive: tarfile.TarFile, extension: Path | None, bytecode: Path) -> None:
    """Add the repository to an archive, without what was built in it.

    Args:
        archive: Where to add it.
        extension: The folder with the compiled extension, if there is one.
        bytecode: The folder with the compiled Python files and their sources, laid out as the repository.
    """
    _add(archive, str(REPOSITORY), IN_DOM0)
    # The sources there replace the checkout's, which may be newer by now.
    archive.add(bytecode, IN_DOM0)
    if extension is not None:
        for path in sorted(path for path in extension.iterdir() if path.is_file()):
            archive.add(path, f"{IN_DOM0}/src/pyxen/backends/xenlight/libxl/{path.name}")


def _add(archive: tarfile.TarFile, folder: str, name: str) -> None:
    for entry in sorted(os.scandir(folder), key=lambda entry: entry.name):
        # What is compiled in the checkout is for this machine's own Xen and Python.
        compiled = entry.name.endswith((".so", ".egg-info")) or entry.name.startswith("pyxen-worker-")
        if entry.name in _LEFT_OUT or compiled:
            continue
        # The checkout is being worked on: a file may go at any time.
        with contextlib.suppress(FileNotFoundError):
            archive.add(entry.path, f"{name}/{entry.name}", recursive=False)
            if entry.is_dir(follow_symlinks=False):
                _add(archive, entry.path, f"{name}/{entry.name}")
