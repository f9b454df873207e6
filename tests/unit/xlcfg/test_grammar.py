"""The grammar, and what is said about texts that break it. That it is libxlutil's is tested in tests/oracle."""

from __future__ import annotations

import time

import pytest

from pyxen.errors import ParseError
from pyxen.xlcfg.grammar import assignments
from pyxen.xlcfg.settings import read_settings


@pytest.mark.parametrize(
    ("text", "place", "said"),
    [
        ("Memory = 512\n", (1, 1), "keys are in lower case"),
        ("a=1\n_x=1", (2, 1), "keys are in lower case"),
        ("a = 1\r\n", (1, 6), "dos2unix"),
        ("a=0xFF\n", (1, 5), "in lower case"),
        ("\ufeffa=1\n", (1, 1), "byte order mark"),
        ("a=-5", (1, 3), "without quotes"),
        ("a=1.5", (1, 4), "without quotes"),
        ("acpi=True\n", (1, 6), "write 1 or 0"),
        ("acpi=yes\n", (1, 6), "write 1 or 0"),
        ("a = 'x\n", (1, 5), "no closing '"),
        ('a = "x" "y"\n', (1, 9), "'\"' is unexpected"),
        ('a = """x"""\n', (1, 7), "triple quotes"),
        ("a=1 b=2", (1, 5), "the end of the line"),
        ("a=[1,,2]", (1, 6), "a value"),
        ("a=[1 2]", (1, 6), "',' or ']'"),
        ("a=[1,\n\n  2", (3, 4), "ends here"),
        ("a=\n1", (1, 3), "the line ends here; a value"),
        ("a", (1, 2), "'=' or '+=' is missing"),
        ("a=1 # the end", (1, 5), "needs a line end"),
        ('a="b\\x41"', (1, 5), "not an escape"),
        ('a="\\q"', (1, 4), "not an escape"),
        ('a=["x", "b\\0b"]', (1, 11), "not an escape"),
        ("a='\0'", (1, 3), "NUL"),
        ("a=[1]\na+='x'", (2, 4), "cannot add a single value"),
        ("import os\nname = 'x'\n", (1, 8), "looks like Python"),
        ("disk = [ 'phy:%s' % (x) ]\n", (1, 19), "looks like Python"),
    ],
)
def test_mistakes_are_explained(text: str, place: tuple[int, int], said: str) -> None:
    with pytest.raises(ParseError) as caught:
        read_settings(text)
    assert (caught.value.line, caught.value.column) == place
    assert said in caught.value.message


@pytest.mark.parametrize(
    ("word", "number"),
    [
        ("512", 512), ("010", 8), ("0x1f", 31), ("0", 0), ("08", None), ("1f", None), ("''", None), ("'-5'", -5),
        ("' 12'", 12), ("'12 '", None), ("'+7'", 7), ("'0x'", None), ("'9223372036854775807'", 2**63 - 1),
        ("'9223372036854775808'", None), ("'0X1F'", 31),
    ],
)  # fmt: skip
def test_numbers_are_strtols(word: str, number: int | None) -> None:
    assert read_settings(f"a={word}\n").integer("a") == number


def test_a_sum_is_no_number() -> None:
    settings = read_settings("a+=5\nb=5\nb+=1\n")
    assert settings.string("a") == "5"
    assert settings.integer("a") is None
    assert settings.string("b") == "51"
    assert settings.integer("b") is None


LARGE = 10_000_000


@pytest.mark.parametrize(
    "text",
    [
        "\n" * LARGE + "?!",
        "#" * LARGE,
        '"' * LARGE,
        "a" * LARGE,
        "a='" + "\\'" * (LARGE // 2),
        "a=[" * (LARGE // 3),
        "a=" + "[" * LARGE,
        "a='" + "x" * LARGE + "'",
        "a=[" + "'x'," * (LARGE // 4) + "]",
        "a+=[1]\n" * (LARGE // 14),
        "a+='x'\n" * (LARGE // 14),
        " \t" * (LARGE // 2),
        "# c\n" * (LARGE // 4),
    ],
    ids=lambda text: text[:8] if text[:1] != "\n" else "newlines",
)
def test_large_texts_take_seconds(text: str) -> None:
    start = time.process_time()
    try:
        keys = list(read_settings(text))
    except ParseError as error:
        assert error.line is not None  # noqa: PT017 (either outcome is fine: the time is what is tested)
    else:
        assert keys in ([], ["a"])
    assert time.process_time() - start < 10


def test_a_nest_of_ten_thousand_is_refused() -> None:
    with pytest.raises(ParseError, match="nested too deeply"):
        assignments("a=" + "[" * 10_000 + "]" * 10_000)
