"""Packages for dom0 that the lab's image does not have: Debian's, unpacked beside what is there, and PyPI's.

``python -m tests.outside.packages RELEASE FOLDER NAME…`` fetches those of PyPI for the Python of a release's dom0.
"""

from __future__ import annotations

import hashlib
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from lab import Lab, apt, releases
from lab.releases import Release
from tests.oracle import debian

__all__ = ["UNPACK_SECONDS", "fetch_from_pypi", "folder_of_modules", "put_packages"]

UNPACK_SECONDS = 1500.0
"""How long it takes at most to fetch them, and to unpack them here and there."""

FETCH_SECONDS = 600.0
"""How long pip may take."""

_ARCHIVE = "files.tgz"

Words = Sequence[str | Path]


def put_packages(dom0: Lab, name: str, packages: Sequence[str], chosen: Callable[[Path], Words], *more: str) -> None:
    """Unpack packages, and all they depend on, in dom0. No script of theirs is run, and no file is replaced.

    Args:
        dom0: The host.
        name: What the cache calls them.
        packages: Their names.
        chosen: What of the folder with their files is wanted, as arguments of tar.
        *more: What else they are made of, so that the cache has it anew when that changes.
    """
    recipe = hashlib.sha256(" ".join([_ARCHIVE, dom0.release.suite, *packages, *more]).encode()).hexdigest()

    def make(content: Path) -> None:
        with TemporaryDirectory(ignore_cleanup_errors=True) as folder:  # who is not root cannot remove all
            tree = Path(folder, "tree")
            apt.unpack(dom0.release.suite, [*packages], tree, Path(folder, "mmdebstrap.log"))
            debian.run("tar", "-czf", content / _ARCHIVE, *chosen(tree))

    debian.set_up(name, recipe, make)
    dom0.put(debian.cached(name, recipe) / _ARCHIVE, f"/srv/{_ARCHIVE}")
    unpack = ["tar", "-C", "/", "--skip-old-files", "--keep-directory-symlink", "-xzf", f"/srv/{_ARCHIVE}"]
    dom0.run(unpack, check=True, timeout=UNPACK_SECONDS)


def fetch_from_pypi(release: Release, folder: Path, *names: str) -> None:
    """Fetch packages of PyPI, and all they depend on, for the Python of a release's dom0.

    Args:
        release: The release.
        folder: Where their modules go.
        *names: What pip is told.
    """
    made_for = ["--python-version", release.python, "--only-binary", ":all:"]
    pip = [sys.executable, "-m", "pip", "install", "-q", "--upgrade", "--no-compile", *made_for]
    subprocess.run([*pip, "--target", folder, *names], check=True, timeout=FETCH_SECONDS)


def folder_of_modules(release: Release) -> str:
    """Return where a release's dom0 looks for modules first."""
    return f"/usr/local/lib/python{release.python}/dist-packages"


if __name__ == "__main__":
    fetch_from_pypi(releases.find(sys.argv[1]), Path(sys.argv[2]), *sys.argv[3:])
