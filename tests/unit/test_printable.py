"""Nothing that an error shows can control a terminal."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyxen._printable import LONGEST, printable, quoted
from pyxen.config import Mac
from pyxen.errors import Error, OperationFailed, ParseError
from pyxen.operation import Operation


@given(st.text())
def test_no_control_character_is_left(text: str) -> None:
    shown = printable(text)
    assert [char for char in shown if unicodedata.category(char) in ("Cc", "Cs") and char not in "\t\n"] == []
    shown.encode()


@given(st.text(st.characters(codec="utf-8", exclude_categories=["C", "Zl", "Zp"])))
def test_ordinary_text_stays(text: str) -> None:
    assert printable(text) == text


@pytest.mark.parametrize("char", ["\x1b", "\x9b", "\r", "\0", "\u202e", "\udc80"])
def test_errors_are_safe_to_print(char: str) -> None:
    errors = [
        Error(f"a{char}b"),
        ParseError(f"a{char}b", source=f"f{char}", line=1),
        OperationFailed("no", operation="create", domain=f"a{char}b", log=(f"l{char}",)),
    ]
    assert [error for error in errors if char in str(error)] == []
    assert errors[0].message == f"a{char}b"  # a program sees it as it was


def test_a_long_text_is_quoted_in_part() -> None:
    assert quoted("it's") == '"it\'s"'
    assert quoted("x" * LONGEST) == repr("x" * LONGEST)
    assert quoted("x" * 1_000_000) == repr("x" * (LONGEST - 1) + "…")
    assert quoted(Mac("00:16:3e:12:34:56")) == "'00:16:3e:12:34:56'"
    assert quoted(["x"] * 1_000_000) == "list"


def test_the_repr_of_an_operation_is_one_line_without_commands() -> None:
    assert repr(Operation[None]("restore", "/a\x1b[2J\nb")) == r"<Operation restore /a\x1b[2J\nb: running>"
    assert repr(Operation[None]("destroy", 3)) == "<Operation destroy 3: running>"
