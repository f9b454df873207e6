"""Random texts for differential tests: near what a parser takes, with the mistakes that people and fuzzers make."""

from __future__ import annotations

import random
from collections.abc import Sequence

KEYS = ("name", "memory", "vcpus", "disk", "vif", "a", "b.c", "x_1", "kernel")
ATOMS = (
    "1", "0", "512", "0x1f", "010", "08", "9fx", "0xfa", "00", '"web"', "'web'", '""', "''", '"a b"',
    '" 12"', '"12 "', '"-5"',
    r'"a\"b"', r"'it\'s'", r'"\n\t"', r'"\\"', r'"\101"', r'"\1"', r'"\12"', r'"\0 1"', r'"\7+1x"', r'"\777"',
    r'"\x41"', r'"\q"',
    r'"\a\b\f\r\v"', '"#no comment"', "'[1]'", '"phy:/dev/vg/x,xvda,w"', '"\u00e9"', "'\"'", '"\'"', '"\t"',
)  # fmt: skip
MISTAKES = (
    "-5", "1.5", "True", "1+1", "0xFF", "(1)", "abc", '"open', "'open", '"a" "b"', '"""x"""', "{}", "\\",
    '"two\nlines"',
    "1g", "\r", "=", "+=", ";", ",", "[", "]", "#", "%", "\v", "\f", "*", "?", "\x80", '"\x01"', "'\r'", "", " ",
)  # fmt: skip
BLANKS = ("", "", " ", "\t", "  ", " \t ")
ENDS = ("\n", "\n", "\n", ";", " # comment\n", "#\n", "\n\n", " ;\n", "# c ' \" [\n")
LIST_BLANKS = ("", "", " ", "\n", " # c\n", "\n\n ", "\t")
BAD_ENDS = ("", "\r\n", " # no end", " x", "\n=", ",\n")


class Texts:
    """A source of random xl configurations, the same for the same seed."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)  # noqa: S311 (the same texts in every run)

    def config(self) -> str:
        """Return a configuration; about half of them are ones that libxlutil takes."""
        wrong = self._random.random() < 0.5
        pieces = [self._pick(("", "", "\n", "# head\n", " ;"))]
        pieces += [self._setting(0.15 if wrong else 0.0) for _ in range(self._random.randint(0, 6))]
        text = "".join(pieces)
        if wrong and self._chance(0.3):
            text = self._mutated(text)
        if self._chance(0.2):
            text = text.rstrip("\n")
        return text

    def _setting(self, mistakes: float) -> str:
        key = self._pick(KEYS)
        if self._chance(mistakes / 3):
            key = self._pick(("Memory", "_x", "1a", "", "a-b", "a b", "\u00e9"))
        operator = self._pick(("=", "=", "=", "+="))
        if self._chance(mistakes / 3):
            operator = self._pick(("", "==", "+", "+ =", ":=", "-="))
        value = self._list(0, mistakes) if self._chance(0.3) else self._atom(mistakes)
        end = self._pick(BAD_ENDS if self._chance(mistakes / 3) else ENDS)
        blanks = [self._pick(BLANKS) for _ in range(4)]
        return f"{blanks[0]}{key}{blanks[1]}{operator}{blanks[2]}{value}{blanks[3]}{end}"

    def _atom(self, mistakes: float) -> str:
        return self._pick(MISTAKES if self._chance(mistakes) else ATOMS)

    def _list(self, depth: int, mistakes: float) -> str:
        items = []
        for _ in range(self._random.randint(0, 4)):
            deeper = depth < 3 and self._chance(0.15)
            item = self._list(depth + 1, mistakes) if deeper else self._atom(mistakes)
            items.append(f"{self._pick(LIST_BLANKS)}{item}{self._pick(LIST_BLANKS)}")
        trailing = "," if items and self._chance(0.15) else ""
        if self._chance(mistakes / 4):
            trailing = ",,"
        return f"[{','.join(items)}{trailing}{self._pick(LIST_BLANKS)}]"

    def _mutated(self, text: str) -> str:
        at = self._random.randint(0, len(text))
        match self._random.randint(0, 2):
            case 0:
                return text[:at] + text[at + 1 :]
            case 1:
                return text[:at] + self._pick(MISTAKES) + text[at:]
            case _:
                return text[:at] + text[max(0, at - 5) :]

    def _pick(self, choices: Sequence[str]) -> str:
        return self._random.choice(choices)

    def _chance(self, probability: float) -> bool:
        return self._random.random() < probability
