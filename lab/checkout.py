"""The working copy of pyxen as dom0 sees it: this repository in /root/pyxen, with the extension for its Xen and Python."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lab.cache import REPOSITORY

if TYPE_CHECKING:
    import tarfile
    from pathlib import Path

IN_DOM0 = "/root/pyxen"
_LEFT_OUT = {".git", ".venv", "build", "dist", "__pycache__", ".mypy_cache", ".pytest_cache", ".ruff_cache", ".hypothesis", "_build"}


def add_to(archive: tarfile.TarFile, extension: Path | None) -> None:
    """Add the repository, without what was built in it, and the extension to an archive."""

    def wanted(member: tarfile.TarInfo) -> tarfile.TarInfo | None:
        name = member.name.rpartition("/")[2]
        # A compiled extension in the checkout is for the host's own Xen and Python.
        return None if name in _LEFT_OUT or name.endswith((".so", ".egg-info")) else member

    archive.add(REPOSITORY, IN_DOM0, filter=wanted)
    if extension is not None:
        for module in sorted(extension.glob("*.so")):
            archive.add(module, f"{IN_DOM0}/src/pyxen/xenlight/{module.name}")
