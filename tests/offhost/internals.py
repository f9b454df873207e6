"""What these tests know of pyxen's insides; all of it stands here."""

from __future__ import annotations

import pyxen.xenlight
from tests.offhost.setup import Release

__all__ = ["use_extension"]


def use_extension(release: Release) -> None:
    """Let pyxen find the extension for a release beside those that are built in the repository."""
    folder = str(release.extension)
    if folder not in pyxen.xenlight.__path__:
        pyxen.xenlight.__path__.append(folder)
