"""No wait without a bound: in pyxen itself, the lab, the tools, the examples, the benchmarks and the tests."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from tests.waits import unbounded

ROOT = Path(__file__).parents[2]

STRICT = ("src", "lab", "tools", "examples", "benchmarks", "cffi_build", "ansible", "contrib", "docs")
"""Where ``.wait()`` and ``.get()`` are looked at, too; in tests they are operations, which have deadlines."""

FILES = [(path, folder != "tests") for folder in (*STRICT, "tests") for path in sorted((ROOT / folder).rglob("*.py"))]


def allowed() -> set[tuple[str, str]]:
    """Return the functions that may wait without a bound: file and name."""
    entries = tomllib.loads((Path(__file__).parent / "bounds.toml").read_text())["allowed"]
    assert all(entry["why"] for entry in entries)
    return {(file, name) for entry in entries for file, names in entry["waits"].items() for name in names}


def test_every_wait_has_a_bound() -> None:
    found: dict[tuple[str, str], str] = {}
    for path, strict in FILES:
        name = str(path.relative_to(ROOT))
        for wait in unbounded(path.read_text(), strict=strict):
            found[name, wait.place] = f"{name}:{wait.line}: {wait.place}: {wait.text}"
    assert [text for place, text in found.items() if place not in allowed()] == []
    assert allowed() - found.keys() == set(), "these wait no more: take them out of bounds.toml"


@pytest.mark.parametrize(
    ("source", "strict", "is_found"),
    [
        ("subprocess.run(['x'])", False, True),
        ("subprocess.run(['x'], timeout=3)", False, False),
        ("thread.join()", False, True),
        ("process.communicate(text)", False, True),
        ("process.communicate(text, 9)", False, False),
        ("os.waitpid(child, 0)", True, True),
        ("os.waitpid(child, 0)", False, False),
        ("os.waitid(os.P_PID, child, os.WEXITED | os.WNOHANG)", True, False),
        ("','.join(words)", False, False),
        ("process.wait()", True, True),
        ("operation.wait()", False, False),
        ("async def f():\n    await event.wait()", True, False),
        ("fcntl.flock(file, fcntl.LOCK_EX)", True, True),
        ("fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)", True, False),
        ("fcntl.lockf(file, fcntl.LOCK_EX)", True, True),
        ("while not ready:\n    time.sleep(1)", False, True),
        ("while not ready:\n    event.wait(1)", False, True),
        ("while not ready:\n    select.select([fd], [], [], 1)", False, True),
        ("while not ready:\n    for fd, _ in poller.poll(10):\n        look(fd)", False, True),
        ("while not ready:\n    assert time.monotonic() < end\n    time.sleep(1)", False, False),
        ("while text := rest:\n    send(text)", False, False),
        ("for _ in range(20):\n    time.sleep(1)", False, False),
        ("async def f():\n    while not ready:\n        await asyncio.sleep(1)", False, True),
        ("async def f():\n  async with asyncio.timeout(9):\n    while not ready:\n      await sleep(1)", False, False),
    ],
)  # fmt: skip
def test_what_is_found(source: str, strict: bool, is_found: bool) -> None:
    assert bool(list(unbounded(source, strict=strict))) is is_found
