"""The grammar against the real libxlutil: the same texts taken, the same refused, the same values read."""

from __future__ import annotations

import os
import re

import pytest

from pyxen.errors import ParseError
from pyxen.xlcfg.settings import read_settings
from tests.oracle.server import Refused
from tests.oracle.texts import Texts
from tests.oracle.xlu import XluOracle

COUNT = int(os.environ.get("PYXEN_TEXTS", "20000"))


def as_bytes(value: object) -> object:
    """Write a value as the oracle's printer does: a character for each byte of the text in UTF-8."""
    if isinstance(value, list):
        return [as_bytes(item) for item in value]
    return str(value).encode("utf-8", "surrogateescape").decode("latin-1")


def ours(text: str) -> dict[str, dict[str, object]] | ParseError:
    """Read a text the way the oracle's printer shows it."""
    try:
        settings = read_settings(text)
    except ParseError as error:
        return error
    found: dict[str, dict[str, object]] = {}
    for key in settings:
        text_value = settings.string(key)
        if text_value is None:
            found[key] = {"list": as_bytes(settings.items(key))}
            continue
        found[key] = {"string": as_bytes(text_value)}
        number = settings.integer(key)
        if number is not None:
            found[key]["number"] = number
    return found


def test_random_texts(xlu: XluOracle) -> None:
    texts = Texts(seed=417)
    taken = same_line = refused = 0
    for _ in range(COUNT):
        text = texts.config()
        theirs = xlu.parse(text)
        mine = ours(text)
        if isinstance(theirs, Refused):
            refused += 1
            assert isinstance(mine, ParseError), f"libxlutil refuses {text!r}: {theirs.messages}"
            line = re.match(r"text:(\d+):", theirs.messages)
            same_line += line is not None and mine.line == int(line[1])
        else:
            taken += 1
            assert mine == theirs, text
    assert taken > COUNT / 4
    assert refused > COUNT / 4
    assert same_line > 0.9 * refused


@pytest.mark.parametrize("core", ["", "1", "1,", "1,2"])
@pytest.mark.parametrize("item", ["", "1,"])
def test_the_deepest_nesting(xlu: XluOracle, core: str, item: str) -> None:
    def text(depth: int) -> str:
        return "a=" + f"[{item}" * depth + core + "]" * depth

    def taken(depth: int) -> bool:
        return not isinstance(ours_status(text(depth)), ParseError)

    below, above = 100, 10_000
    while above - below > 1:
        middle = (below + above) // 2
        below, above = (middle, above) if taken(middle) else (below, middle)
    assert xlu.takes(text(below))
    assert not xlu.takes(text(below + 1))


def ours_status(text: str) -> ParseError | None:
    """Return the error of a text, if it has one."""
    try:
        read_settings(text)
    except ParseError as error:
        return error
    return None
