r"""Odd configurations for differential tests with xl: what is legal although nobody writes it, and what is not.

Values of the corpus are taken apart and written again in odd spellings: hexadecimal and octal numbers, both kinds of
quotes, escapes, backslashes before line ends, blanks and comments in every place, ``+=``, several settings on a line,
no newline at the end. Items of devices get their pieces in another order, blanks around them, and other numbers.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from hypothesis import strategies as st

from pyxen.errors import ParseError
from pyxen.xlcfg.document import parse
from pyxen.xlcfg.grammar import Value
from pyxen.xlcfg.keys import KEYS
from tests.oracle import configs

GAPS = ("", "", "", " ", "  ", "\t", " \t ")
LIST_GAPS = ("", "", "", " ", "\n", "\n\n  ", " # comment, [ 'x\n", "\t", "#\n")
ENDS = ("\n", "\n", "\n", ";", " ; ", "\n\n", " # comment\n", "#\n", "\n# a = 1\n", "\n \t\n", ";;")
HEADS = ("", "", "", "\n", "# head\n", " ;\n", "#!/usr/bin/xl\n", "\t")
WRONG = (
    "\\\n",
    "\r\n",
    "\ufeff",
    "%",
    "\\",
    "(",
    "\v",
    "=",
    ",",
    "[",
    "]",
    "'",
    '"',
    "# no end",
    "\u00e9",
    "\x80",
    "-1",
    "x",
)
"""What libxlutil refuses in most places between words, and at the end of a text in fewer."""
ESCAPES = ("\\\n", "\\a", "\\101", "\\x41", "\n", "\\", "\\0", "\\n", "\\t", "\\'", '\\"')

SIGNS = ("=", "= ", " =", " = ", "\t=", "==", "", "+=")
MARKS = (", ", " ,", ",,", " , ", ";", ":", "", ",\t")
BLANKS = (" ", "  ", "\t", "\n", " \t")
NUMBERS = (
    "0",
    "1",
    "2",
    "0x1",
    "0X2",
    "01",
    "08",
    "1x",
    " 1",
    "+1",
    "",
    "yes",
    "1 ",
    "1\t",
    "00",
    "0x",
    "x",
    " ",
    "0 0",
)

DEVICES = {"disk": configs.lines("disk-pieces.txt"), "vif": configs.lines("vif-pieces.txt")}
"""Pieces of which items are put together, by key."""

_NUMBER = re.compile(r"(?<![\w.])[0-9]+(?![\w.])")
_BARE = re.compile(r"[0-9][0-9a-fx]*")

_AS_THEY_ARE = frozenset(("vnuma",))
"""Keys whose items are not taken apart: what xl cannot read in them is chance, or one of the deviations."""


class _Writer:
    """Writes a configuration oddly, as Hypothesis draws."""

    def __init__(self, draw: st.DrawFn, *, wrong: bool) -> None:
        self._draw = draw
        self._wrong = wrong

    def config(self, plain: str) -> str:
        """Return a configuration that is written oddly."""
        try:
            document = parse(plain)
        except ParseError:
            return plain
        pieces = [self._pick(HEADS)]
        for key in document:
            for setting in self._settings(key, document[key]):
                pieces += [setting, self._pick(ENDS)]
                if self._wrong and self._one_in(12):
                    pieces.append(self._pick(WRONG))
        if self._one_in(4):
            pieces[-1] = self._pick(("", "", " ", ";", "#\n", *(WRONG if self._wrong else ())))
        return "".join(pieces)

    def _settings(self, key: str, value: Value) -> list[str]:
        """Return the settings that say a value: one, or two of which the second adds to the first."""
        parts = [value]
        if len(value) > 1 and key != "vcpus" and self._one_in(6):
            cut = self._draw(st.integers(0, len(value)))
            parts = [value[:cut], value[cut:]]
        written = []
        for place, part in enumerate(parts):
            # A number that is added counts as not said, and without a number of vCPUs xl forgets cpus: a deviation.
            sign = "+=" if place or (key != "vcpus" and self._one_in(12)) else "="
            before, behind, between, last = (self._pick(GAPS) for _ in range(4))
            written.append(f"{before}{key}{between}{sign}{behind}{self._value(key, part)}{last}")
        return written

    def _value(self, key: str, value: Value) -> str:
        if isinstance(value, list):
            return self._list(key, value)
        numeric = any(kind in ("boolean", "integer") for kind in KEYS[key].kind.split("|"))
        if numeric and value.isdecimal() and self._one_in(2):
            value = self._respelled(value, anything=key != "vcpus")
        return self._scalar(value)

    def _list(self, key: str, items: list[Value]) -> str:
        written = []
        for item in items:
            if not isinstance(item, str):
                text = self._list(key, item)
            elif key not in _AS_THEY_ARE and self._one_in(2):
                text = self._quoted(self._item(key, item))
            else:
                text = self._scalar(item)
            written.append(f"{self._gap()}{text}{self._gap()}")
        end = self._pick(("", "", ",", ", ", "\n") if written else GAPS)
        return f"[{','.join(written)}{end}]"

    def _item(self, key: str, text: str) -> str:
        """Return an item of a list in an odd spelling, or one that is put together of other pieces."""
        pieces = text.split(",")
        if key in DEVICES and self._one_in(2):
            pieces = self._draw(st.lists(st.sampled_from(DEVICES[key]), max_size=5))
        elif len(pieces) > 1 and self._one_in(4):
            pieces = list(self._draw(st.permutations(pieces)))
        if pieces and self._one_in(10):
            pieces.append(self._pick(pieces))
        written = ""
        for place, piece in enumerate(pieces):
            beside_mac = any("mac" in one for one in pieces[max(0, place - 1) : place + 1])
            mark = self._pick(MARKS) if not beside_mac and self._one_in(6) else ","
            written += (mark if place else "") + self._piece(piece)
        return written

    def _piece(self, text: str) -> str:
        """Return a piece of an item with blanks around it and its sign, and its number in another spelling."""
        name, sign, value = text.partition("=")
        if "mac" in name:
            return text  # half an address is one of the deviations
        if self._one_in(4):
            value = _NUMBER.sub(lambda found: self._respelled(found[0]), value)
        if sign and self._one_in(16):
            value = self._pick(NUMBERS)
        if sign and self._one_in(6):
            sign = self._pick(SIGNS)
        if self._one_in(16):
            name = self._pick((name.upper(), name.capitalize(), f"{name}x", f"!{name}", f"{name} {name}"))
        before, behind = (self._pick(BLANKS) if self._one_in(6) else "" for _ in range(2))
        return f"{before}{name}{sign}{value}{behind}"

    def _scalar(self, text: str) -> str:
        """Return the word of a single value: a number as it is or in quotes, and anything else in quotes."""
        return text if _BARE.fullmatch(text) and self._one_in(2) else self._quoted(text)

    def _quoted(self, text: str) -> str:
        """Return a text in one of the quotes, with escapes where they are needed, and where they are not."""
        mark = self._pick("\"'")
        other = "'" if mark == '"' else '"'
        written = text.replace("\\", "\\\\").replace(mark, f"\\{mark}").replace("\n", "\\n").replace("\r", "\\r")
        if self._one_in(4):
            written = written.replace(other, f"\\{other}").replace("\t", "\\t")
        if self._wrong and "mac" not in text and self._one_in(8):
            at = self._draw(st.integers(0, len(written)))
            written = written[:at] + self._pick(ESCAPES) + written[at:]
        return f"{mark}{written}{mark}"

    def _respelled(self, digits: str, *, anything: bool = True) -> str:
        """Return a number in another spelling, which not every reader of numbers takes."""
        number = int(digits)
        same = (f"{number:#x}", f"{number:#X}", f"0{number:o}", f" {digits}", f"+{digits}", f"\t{number:#x}")
        return self._pick((*same, *same, f"0{digits}", f"{digits} ", f"{digits}x") if anything else same)

    def _gap(self) -> str:
        return self._pick(WRONG) if self._wrong and self._one_in(30) else self._pick(LIST_GAPS)

    def _pick(self, choices: Sequence[str]) -> str:
        return self._draw(st.sampled_from(choices))

    def _one_in(self, number: int) -> bool:
        return self._draw(st.integers(1, number)) == number


@st.composite
def odd_configs(draw: st.DrawFn, xen: str) -> str:
    """A configuration in odd spelling, for a release of xl: more often than others with devices and other lists."""
    plain = draw(configs.configs(xen))
    listed = {key for key in configs.keys(xen) if KEYS[key].kind.startswith("list")} - {"cpus", "cpus_soft"}
    key = draw(st.sampled_from(sorted(listed)))
    if not any(line.startswith(f"{key} ") for line in plain.splitlines()):
        choices = configs.values(key)
        right = choices[: max(2, len(choices) // 2)]
        plain += f"{key} = {draw(st.sampled_from(right if draw(st.integers(0, 3)) else choices))}\n"
    return _Writer(draw, wrong=draw(st.integers(0, 3)) == 3).config(plain)
