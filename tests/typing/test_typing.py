"""What a user's type checker sees: the types of a project that is right, and every typo of one that is not."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]

ReadState = list[tuple[str, int, str]]
"""File, line and text of each complaint."""


def mypy(tmp_path: Path) -> ReadState:
    """Ask mypy, as a user's project with ``--strict`` does: pyxen is installed, and not a part of the project."""
    return asked_mypy(tmp_path, "strict = True", [HERE / name for name in ("project.py", "typos.py")])


def asked_mypy(tmp_path: Path, how: str, paths: list[Path]) -> ReadState:
    """Ask mypy with some settings."""
    files = [str(path) for path in paths]
    settings = tmp_path / "mypy.ini"
    settings.write_text(f"[mypy]\n{how}\n[mypy-pyxen.*]\nfollow_imports = silent\n")
    command = [sys.executable, "-m", "mypy", "--config-file", str(settings), "--no-error-summary", *files]
    command += ["--cache-dir", str(ROOT / ".mypy_cache" / "typing"), "--show-absolute-path", "--hide-error-context"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=280)
    assert done.returncode in (0, 1), done.stdout + done.stderr
    found = re.findall(r"^(\S+\.py):(\d+): error: (.*)$", done.stdout, re.MULTILINE)
    return [(Path(file).name, int(line), text) for file, line, text in found]


def pyright(_: Path) -> ReadState:
    """Ask pyright, as an editor does, in its strict mode."""
    command = [sys.executable, "-m", "pyright", "--outputjson", "-p", str(HERE), "--pythonpath", sys.executable]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=280)
    assert done.returncode in (0, 1), done.stdout + done.stderr
    found = [each for each in json.loads(done.stdout)["generalDiagnostics"] if each["severity"] == "error"]
    return [(Path(each["file"]).name, each["range"]["start"]["line"] + 1, each["message"]) for each in found]


@pytest.mark.parametrize("check", [mypy, pyright], ids=["mypy", "pyright"])
def test_a_users_project(check: Callable[[Path], ReadState], tmp_path: Path) -> None:
    found = check(tmp_path)
    assert [each for each in found if each[0] == "project.py"] == []
    lines = (HERE / "typos.py").read_text().splitlines()
    typos = {number for number, line in enumerate(lines, start=1) if "# typo" in line}
    marked = {line for file, line, _ in found if file == "typos.py"}
    assert {number: lines[number - 1] for number in sorted(typos - marked)} == {}
    assert {number: lines[number - 1] for number in sorted(marked - typos)} == {}
    assert len(typos) > 50


def examples() -> list[str]:
    """Return the examples of the pages, each as the body of a function that has a host and a domain."""
    made: list[str] = []
    for page in (ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))):
        if page.parent.name == "guide":  # one program over many pages
            continue
        text = page.read_text()
        for found in re.finditer(r"^```python\n(.*?)^```", text, re.DOTALL | re.MULTILINE):
            code = found[1]
            waits = re.search(r"\b(async|await)\b", code) is not None
            host, domain = ("pyxen.aio.Host", "pyxen.aio.Domain") if waits else ("pyxen.Host", "pyxen.Domain")
            host = "Any" if "aio.connect" in code else host  # it may show both kinds
            head = f"{'async ' if waits else ''}def example_{len(made)}(xen: {host}, web: {domain}) -> None:"
            line = text[: found.start()].count("\n") + 2
            made.append(f"{head}  # {page.relative_to(ROOT)}:{line}\n{textwrap.indent(code, '    ')}")
    return made


def test_the_examples_of_the_pages(tmp_path: Path) -> None:
    file = tmp_path / "examples.py"
    heads = "from __future__ import annotations\nimport asyncio, pyxen, pyxen.aio\nfrom typing import Any\n"
    file.write_text("\n".join([f"{heads}from pyxen import *", *examples()]))
    # An example may use a name that the text around it explains, and give a name to a second thing.
    how = "check_untyped_defs = True\ndisable_error_code = name-defined, var-annotated, assignment"
    lines = file.read_text().splitlines()
    assert [(lines[line - 1].strip(), text) for _, line, text in asked_mypy(tmp_path, how, [file])] == []
    assert len(lines) > 500
