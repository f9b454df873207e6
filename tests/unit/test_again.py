"""The second try of tests that failed, which `make test` gives to a few of them."""

from __future__ import annotations

import sys
from pathlib import Path

from tests.again import failures
from tools.test import ROOT, Part

PYTEST = [sys.executable, "-m", "pytest", "-q", "--color=no", "-p", "tests.again", "-p", "no:cacheprovider"]
PYTEST += [f"--rootdir={ROOT}", "--override-ini=addopts="]

UNSTEADY = """
import pytest
from pathlib import Path

@pytest.mark.parametrize("text", ["a b", "a - 'b' [\\u20ac]"])
def test_unsteady(text):
    tries = Path(__file__).with_name(f"{len(text)}")
    tries.write_text(tries.read_text() + "x" if tries.exists() else "x")
    assert len(tries.read_text()) > 1

def test_steady():
    with open(__file__ + ".ran", "a") as file:
        file.write("x")
"""


def part_of(folder: Path, *texts: str) -> Part:
    commands = []
    for number, text in enumerate(texts):
        path = folder / f"test_{number}.py"
        path.write_text(text)
        commands.append([*PYTEST, str(path)])
    return Part("some", commands)


def test_what_passes_by_itself_is_unsteady(tmp_path: Path) -> None:
    part = part_of(tmp_path, UNSTEADY, "def test_later(): pass")
    part.run(tmp_path)
    assert part.status == 1
    assert len(failures(part.log.read_text())) == 2
    part.try_again()
    assert part.status == 0
    assert [name.partition("::")[2] for name in part.unsteady] == failures_of(part)
    assert (tmp_path / "test_0.py.ran").read_text() == "x"  # what passed is not tried again
    assert part.summary()[-1].startswith("1 passed")  # what comes after has run
    assert part.summary()[0].startswith("2 failed, 1 passed")


def failures_of(part: Part) -> list[str]:
    return [name.partition("::")[2] for name in failures(part.log.read_text())]


def test_what_fails_twice_has_failed(tmp_path: Path) -> None:
    part = part_of(tmp_path, UNSTEADY.replace('"a b", ', "") + "\ndef test_wrong(): assert False")
    part.run(tmp_path)
    part.try_again()
    assert part.status == 1
    assert not part.unsteady
    assert failures_of(part) == ["test_wrong"]


def test_many_failures_are_no_accident(tmp_path: Path) -> None:
    part = part_of(tmp_path, UNSTEADY.replace('["a b"', '["1", "22", "a b"'))
    part.run(tmp_path)
    part.try_again()
    assert part.status == 1
    assert len(part.summary()) == 1


def test_a_run_that_was_stopped_names_nothing(tmp_path: Path) -> None:
    part = part_of(tmp_path, UNSTEADY)
    part.commands[0].append("--maxfail=1")
    part.run(tmp_path)
    part.try_again()
    assert part.status == 1
    assert len(part.summary()) == 1
