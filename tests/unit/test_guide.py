"""The first page of docs/guide is played, on the host in memory; tests/xen plays the others in dom0."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path

import pytest

from tests.scene import Scene, blocks_of

ROOT = Path(__file__).resolve().parents[2]
GUIDE = ROOT / "docs" / "guide"
KINDS = {"python", "text", "console", "ini", "order"}


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    """A reader who has installed pyxen."""
    command = tmp_path / "bin" / "pyxen"
    command.parent.mkdir()
    command.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m pyxen "$@"\n')
    command.chmod(0o755)
    environment = {**os.environ, "PATH": f"{command.parent}:{os.environ['PATH']}", "PYTHONPATH": str(ROOT / "src")}
    return Scene(environment, tmp_path)


def test_the_tutorial(scene: Scene) -> None:
    scene.play(GUIDE / "tutorial.md")


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("```python\nprint(1)\n```\n\n```text\n2\n```\n", "page.md:6: the page says"),
        ("```python\n1 / 0\n```\n", "page.md:2: ZeroDivisionError"),
        ("```console\n# echo one\n# echo two\nthree\n```\n", "page.md:3: the page says"),
        ("```console\n# false\n```\n", "page.md:2: false: exit status 1"),
        ("```console\none\n```\n", "page.md:2: output before a command"),
        ("```text\nof nothing\n```\n", "page.md:2: nobody can play a block of text"),
        ("```ini\nname = 1\n```\n", "page.md:2: the first line of a file is its path"),
        ("<!-- screen web1: Login -->\n", "page.md:1: here are no screens"),
        ("```console\n# cat\n> hello\n$ ^]\n```\n", "page.md:2: no prompt"),
        ("Nothing to play.\n", "page.md has no blocks"),
    ],
)
def test_a_page_that_is_wrong(
    scene: Scene, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, problem: str
) -> None:
    monkeypatch.setattr("tests.scene.SECONDS", 0.5)
    page = tmp_path / "page.md"
    page.write_text(text)
    with pytest.raises(AssertionError, match=f"^{re.escape(problem)}"):
        scene.play(page)


CONSOLE = """
import os, tty
tty.setraw(0)
line = ""
while (key := os.read(0, 1).decode()) != "\\x1d":
    os.write(1, key.replace("\\r", "\\r\\n").encode())
    line += key
    if key == "\\r":
        answer = line.upper() + "\\n" if line.strip() else ""
        os.write(1, f"{answer}/ # ".encode())
        line = ""
"""
"""A guest that answers in capitals, on a console that Ctrl-] leaves."""


def test_what_is_typed_behind_a_console(scene: Scene, tmp_path: Path) -> None:
    (tmp_path / "console.py").write_text(CONSOLE)
    page = tmp_path / "page.md"
    text = f"```console\n# {sys.executable} console.py\n\n/ # hello\nHELLO\n/ # bye\n/ # ^]\n# echo over\nover\n```\n"
    page.write_text(text)
    scene.play(page)
    page.write_text(text.replace("/ #", "~ #"))
    scene.play(page)
    page.write_text(text.replace("HELLO", "HELP"))
    with pytest.raises(AssertionError, match=r"page.md:2: the page says\s+HELP"):
        scene.play(page)


def test_every_page_is_in_the_contents_and_can_be_played() -> None:
    named = re.findall(r"^([\w-]+)$", (GUIDE / "index.md").read_text().split("```")[1], re.MULTILINE)
    assert sorted(named) == sorted(page.stem for page in GUIDE.glob("*.md") if page.name != "index.md")
    for name in named:
        assert {block.kind for block in blocks_of(GUIDE / f"{name}.md")} <= KINDS
