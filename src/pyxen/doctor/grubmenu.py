"""The menu of GRUB, read from grub.cfg and grubenv: its entries, and which of them boots by default."""

from __future__ import annotations

import itertools
import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

__all__ = ["Entry", "Menu", "read_menu"]

_DEFAULT: Final = re.compile(r"^\s*set default=(\S.*?)\s*$", re.MULTILINE)
_BOOTS_XEN: Final = re.compile(
    r"^\s*(?:multiboot2?\s+\S*/xen|xen_hypervisor\s|chainloader\s+\S*/xen\S*\.efi)", re.MULTILINE
)
_FIRST: Final = "0"


@dataclass(slots=True)
class Entry:
    """An entry of the menu, or a menu below it.

    Attributes:
        title: What the menu shows.
        id: Its id; empty if it has none.
        is_menu: Whether it opens another menu.
        lines: Its commands.
        entries: The entries of the menu that it opens.
        above: The titles of the menus that lead to it, and its own.
    """

    title: str
    id: str = ""
    is_menu: bool = False
    lines: list[str] = field(default_factory=list)
    entries: list[Entry] = field(default_factory=list)
    above: tuple[str, ...] = ()

    @property
    def path(self) -> str:
        """What GRUB_DEFAULT calls it: the titles of the menus that lead to it, and its own."""
        return ">".join(self.above)

    @property
    def boots_xen(self) -> bool:
        """Whether it boots Xen."""
        return bool(_BOOTS_XEN.search("\n".join(self.lines)))


@dataclass(frozen=True, slots=True)
class Menu:
    """The menu.

    Attributes:
        entries: Its entries.
        default: What is to be booted, as GRUB_DEFAULT says it.
        once: What is booted the next time only; empty for none.
        has_more: Whether it has entries from other files (blscfg), which are not known here.
    """

    entries: tuple[Entry, ...]
    default: str
    once: str
    has_more: bool

    def all(self) -> Iterator[Entry]:
        """Yield all entries that boot something, in order."""
        waiting = list(self.entries)
        while waiting:
            entry = waiting.pop(0)
            if entry.is_menu:
                waiting[:0] = entry.entries
            else:
                yield entry

    def chosen(self, key: str | None = None) -> Entry | None:
        """Return the entry that a key chooses, by default `default`; None if it is not known here."""
        entries, found = list(self.entries), None
        parts = (self.default if key is None else key).split(">")
        while entries:
            part = parts.pop(0) if parts else _FIRST
            found = _match(entries, part)
            if found is None:
                if self.has_more:
                    return None
                found = entries[0]  # as GRUB
            entries = found.entries
        return found


def _match(entries: list[Entry], key: str) -> Entry | None:
    if key.isascii() and key.isdecimal():
        return entries[int(key)] if int(key) < len(entries) else None
    return next((entry for entry in entries if key in (entry.title, entry.id)), None)


def read_menu(text: str, environment: str = "") -> Menu:
    """Read the menu.

    Args:
        text: The content of grub.cfg.
        environment: The content of grubenv.
    """
    root = Entry("", is_menu=True)
    open_blocks: list[Entry | None] = [root]
    for line in text.splitlines():
        stripped = line.strip()
        if stripped == "}":
            if len(open_blocks) > 1:
                open_blocks.pop()
        elif stripped.endswith("{") and not stripped.startswith("#"):
            open_blocks.append(_begin(stripped, open_blocks))
        elif open_blocks[-1] is not None:
            open_blocks[-1].lines.append(stripped)
    values = dict(line.split("=", 1) for line in environment.splitlines() if "=" in line and not line.startswith("#"))
    said = [match[1].strip("\"'") for match in _DEFAULT.finditer(text)]
    default = next((each for each in reversed(said) if "next_entry" not in each), _FIRST)
    if default in ("${saved_entry}", "$saved_entry"):
        default = values.get("saved_entry", "") or _FIRST
    return Menu(tuple(root.entries), default, values.get("next_entry", ""), "\nblscfg" in text)


def _begin(line: str, open_blocks: list[Entry | None]) -> Entry | None:
    """Begin a block; None for one that is no entry, such as a function."""
    try:
        words = shlex.split(line.removesuffix("{"))
    except ValueError:
        return None
    parent = open_blocks[-1]
    if len(words) < 2 or words[0] not in ("menuentry", "submenu") or parent is None:
        return None
    ids = [after for word, after in itertools.pairwise(words) if word in ("$menuentry_id_option", "--id")]
    entry = Entry(words[1], ids[0] if ids else "", words[0] == "submenu", above=(*parent.above, words[1]))
    parent.entries.append(entry)
    return entry
