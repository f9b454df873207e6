"""The guests of tests from outside; their files are in the lab's image."""

from __future__ import annotations

from typing import Final

from pyxen import DomainConfig
from tests import linux as guest

__all__ = ["LINUX", "TINY"]

_FOLDER: Final = "/usr/share/pyxen-guests"
TINY: Final = DomainConfig("tiny1", type="pvh", kernel=f"{_FOLDER}/tiny-pvh", memory=8)
LINUX: Final = DomainConfig("web1", type="pvh", **guest.LINUX)
