"""The reference has a page for every public name; ``make docs`` looks at the pages themselves."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

import pyxen
from tools import errors, figures, lint_codes, public_names, recording

ROOT = Path(__file__).resolve().parents[2]


def listed() -> list[str]:
    """Return the names that the pages of the reference list."""
    pages = sorted((ROOT / "docs" / "reference").glob("*.md"))
    blocks = [block for page in pages for block in re.findall(r"autosummary::\n(.*?)```", page.read_text(), re.DOTALL)]
    return [line.strip() for block in blocks for line in block.splitlines() if line.strip().startswith("pyxen.")]


def test_every_public_name_is_listed_once() -> None:
    assert sorted(listed()) == sorted(public_names.names())


def test_every_module_that_pyxen_names_is_looked_at() -> None:
    text = (ROOT / "src" / "pyxen" / "__init__.py").read_text()
    named = {f"pyxen.{module}" for module in re.findall(r"^    from pyxen import (\w+) as \1$", text, re.MULTILINE)}
    assert len(named) > 10
    assert named <= set(public_names.MODULES)


@pytest.mark.parametrize(
    ("home", "name"),
    [
        ("pyxen.host.Host", "pyxen.Host"),
        ("pyxen.aio.host.Host", "pyxen.aio.Host"),
        ("pyxen.config.domain.DomainConfig", "pyxen.DomainConfig"),
        ("pyxen.xlcfg.codec.loads", "pyxen.xlcfg.loads"),
    ],
)
def test_the_name_by_which_users_know_it(home: str, name: str) -> None:
    assert public_names.by_home()[home] == name


def test_every_error_is_on_the_page() -> None:
    kinds = {kind.__name__ for kind, _ in errors.tree()}
    assert kinds == set(pyxen.errors.__all__) == errors.table().keys()


def test_the_page_of_errors_is_that_of_the_sources() -> None:
    assert errors.PAGE.read_text() == errors.page(), "write it again: python -m tools.errors"


def test_every_code_of_lint_is_on_the_page() -> None:
    assert lint_codes.codes() == lint_codes.table().keys()


@pytest.mark.parametrize("code", sorted(lint_codes.table()))
def test_an_example_of_a_code_shows_that_code_only(code: str) -> None:
    assert {found.code for found in lint_codes.findings(lint_codes.table()[code])} == {code}


def test_the_page_of_lint_is_that_of_the_sources() -> None:
    assert lint_codes.PAGE.read_text() == lint_codes.page(), "write it again: python -m tools.lint_codes"


def test_the_plot_is_that_of_the_benchmarks() -> None:
    assert figures.PLOT.read_text() == figures.plot(), "write it again: python -m tools.figures"
    assert [name for group in figures.groups() for name, value in group.bars if value <= 0] == []


def test_the_picture_of_the_demonstration_is_that_of_its_recording() -> None:
    cast = recording.CAST.read_text()
    assert recording.PICTURE.read_text() == recording.picture(cast), "again: python -m tools.recording --picture"
    shown = [line.text for line in recording.lines_of(cast)]
    for verb in (
        "create a-hvm (HVM)",
        "create a-pv (PV)",
        "create a-pvh (PVH)",
        "list",
        "shutdown a-pvh",
        "destroy a-",
    ):
        assert any(line.startswith(verb) for line in shown), verb


def test_what_a_terminal_was_told_is_no_text_of_the_recording() -> None:
    events = [[0.5, "o", "\x1b[1mone\x1b[0m\r\ntw"], [0.7, "i", "x"], [9.0, "o", "o 1%\rtwo 2%\r\n<&>\r\n"]]
    cast = "\n".join(map(json.dumps, [{"version": 2}, *events]))
    assert recording.lines_of(cast) == [(0.5, "one"), (9.0, "two 2%"), (9.0, "<&>")]
    assert ">&lt;&amp;&gt;</text>" in recording.picture(cast)
