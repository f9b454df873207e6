"""No wait without a bound: in the lab, the tools, the examples and the tests that look at a real Xen."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

OURS = ("lab", "tools", "examples")
TESTS = ("tests/lab", "tests/offhost", "tests/xen", "tests/outside", "tests/backends")
FOR_EVER = {"lab/dom0/agent.py"}
"""What serves dom0 for as long as it runs."""

PROGRAMS = {"run", "call", "check_call", "check_output"}


def unbounded(source: str, *, strict: bool) -> Iterator[tuple[int, str]]:
    """Find the waits in a program's text that have no bound: lines, and what stands there.

    Args:
        source: The text.
        strict: Look at ``.wait()`` and ``.get()`` too, which in tests are operations, that have deadlines of their own.
    """
    awaited: set[ast.AST] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Await):
            awaited |= set(ast.walk(node))
        if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute) or node in awaited:
            continue
        named = {keyword.arg for keyword in node.keywords}
        owner, method = ast.unparse(node.func.value), node.func.attr
        program = owner == "subprocess" and method in PROGRAMS and "timeout" not in named
        ends = method in ({"communicate", "join", "wait", "get"} if strict else {"communicate", "join"})
        lock = method == "flock" and "LOCK_NB" not in ast.unparse(node) and "LOCK_UN" not in ast.unparse(node)
        if program or lock or (ends and not node.args and "timeout" not in named):
            yield node.lineno, ast.unparse(node)


def files(folders: tuple[str, ...]) -> list[Path]:
    """Return the Python files of some folders."""
    found = sorted(path for folder in folders for path in (ROOT / folder).rglob("*.py"))
    return [path for path in found if str(path.relative_to(ROOT)) not in FOR_EVER]


@pytest.mark.parametrize(("folders", "strict"), [(OURS, True), (TESTS, False)])
def test_every_wait_has_a_bound(folders: tuple[str, ...], strict: bool) -> None:
    paths = files(folders)
    assert paths
    found = [
        f"{path.relative_to(ROOT)}:{line}: {text}"
        for path in paths
        for line, text in unbounded(path.read_text(), strict=strict)
    ]
    assert not found, "\n".join(found)


@pytest.mark.parametrize(
    ("source", "strict", "is_found"),
    [
        ("subprocess.run(['x'])", False, True),
        ("subprocess.run(['x'], timeout=3)", False, False),
        ("thread.join()", False, True),
        ("','.join(words)", False, False),
        ("process.wait()", True, True),
        ("operation.wait()", False, False),
        ("async def f():\n    await event.wait()", True, False),
        ("fcntl.flock(file, fcntl.LOCK_EX)", True, True),
        ("fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)", True, False),
    ],
)
def test_what_is_found(source: str, strict: bool, is_found: bool) -> None:
    assert bool(list(unbounded(source, strict=strict))) is is_found
