"""The pages of docs/guide, played in dom0 in the order in which they are read."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

import pyxen
from tests.scene import Scene
from tests.screen import look

GUIDE = Path(__file__).resolve().parents[2] / "docs" / "guide"
ELSEWHERE = ("tutorial", "images")
"""Pages that need no Xen: tests/unit and tests/oracle play them."""


def pages() -> list[str]:
    """Return the names of the pages, as the contents have them."""
    contents = (GUIDE / "index.md").read_text().split("```")[1]
    return [name for name in re.findall(r"^([\w-]+)$", contents, re.MULTILINE) if name not in ELSEWHERE]


def screen_of(guest: str) -> str:
    """Return the text on a guest's screen."""
    with pyxen.connect() as host:
        vnc = host.domains[guest].endpoints().vnc
    assert vnc is not None
    assert vnc.port is not None
    return look(vnc.address, vnc.port).text()


@pytest.mark.long
@pytest.mark.timeout(900)  # what a page waits for has bounds of its own, and messages
@pytest.mark.parametrize("page", pages())
def test_a_page(page: str, tmp_path: Path) -> None:
    Scene({**os.environ}, tmp_path, screen_of).play(GUIDE / f"{page}.md")
