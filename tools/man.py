"""Write a man page for the command ``pyxen`` and for each of its commands, from the same source as docs/command.md.

``python -m tools.man FOLDER`` writes ``pyxen.1``, ``pyxen-list.1``, ``pyxen-xenstore-ls.1`` … into a folder. click-man
reads commands of click, and typer has its own by now.
"""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import typer.main

import pyxen
from pyxen.cli.app import COMMANDS, GROUPS, app
from tools import command

__all__ = ["pages", "write"]

_BOLD: Final = re.compile(r"``?([^`]+)``?")
_LINK: Final = re.compile(r"\[([^]]+)\]\([^)]+\)")
_SECTION: Final = "1"
_CODE: Final = "```"
_ESCAPES: Final = {"\\": r"\e", "-": r"\-", "~": r"\(ti", "^": r"\(ha", "…": "..."}


def pages() -> dict[str, str]:
    """Return the text of each page by the name of its file."""
    root: Any = typer.main.get_command(app)
    found = {"pyxen.1": _overview()}
    for name, each in _commands(root):
        found[f"{_page_name(name)}.{_SECTION}"] = _page(name, each)
    return found


def write(folder: Path) -> list[Path]:
    """Write all pages into a folder, and return their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for name, text in pages().items():
        path = folder / name
        path.write_text(text)
        written.append(path)
    return written


def _commands(root: Any) -> Iterator[tuple[str, Any]]:
    """Yield each command with its name, as ``xenstore ls``."""
    for commands in COMMANDS.values():
        for name in commands:
            yield name, root.commands[name]
    for group, (_, commands) in GROUPS.items():
        for name in commands:
            yield f"{group} {name}", root.commands[group].commands[name]


def _page_name(name: str) -> str:
    return f"pyxen-{name.replace(' ', '-')}"


def _overview() -> str:
    lines = [*_head("pyxen", "run virtual machines on the Xen hypervisor"), ".SH SYNOPSIS", ".B pyxen"]
    lines += [_text("[--uri URI] COMMAND [OPTION]... [ARGUMENT]..."), ".SH DESCRIPTION"]
    lines += _markdown(command.INTRODUCTION.partition("\n\n")[2])
    lines += [".SH COMMANDS"]
    for subject, commands in COMMANDS.items():
        lines += [f".SS {_text(subject)}", *_listed({name: each.__doc__ or "" for name, each in commands.items()})]
    for group, (what, commands) in GROUPS.items():
        shown = {f"{group} {name}": each.__doc__ or "" for name, each in commands.items()}
        lines += [f".SS {_text(f'pyxen {group}')}", _text(what), *_listed(shown)]
    lines += [".SH EXIT STATUS"]
    for number, text in command.statuses().values():
        lines += [".TP", f".B {number}", _inline(text)]
    lines += [".SH ENVIRONMENT", ".TP", ".B PYXEN_URI", "The host, if no --uri names one.".replace("--", r"\-\-")]
    lines += [
        ".TP",
        ".B PYXEN_XL_CONF",
        "A file like /etc/xen/xl.conf, with settings of xl that commands here honour.",
    ]
    lines += [".TP", ".B VNCVIEWER", "The program that shows the screen of a domain.", ".SH SEE ALSO"]
    lines += [".BR xl (1),", ".BR xl.cfg (5)"]
    return "\n".join(lines) + "\n"


def _listed(commands: dict[str, str]) -> Iterator[str]:
    for name, text in commands.items():
        yield ".TP"
        yield f".BR {_text(_page_name(name))} (1)"
        yield _inline(_first(text))


def _first(text: str) -> str:
    """Return the first line of a docstring, which says what a command does."""
    return inspect.cleandoc(text).partition("\n")[0]


def _page(name: str, each: Any) -> str:
    help_text = inspect.cleandoc(each.help)
    what = " ".join(help_text.partition("\n\n")[0].split()).partition(". ")[0].rstrip(".")
    lines = [*_head(_page_name(name), what[:1].lower() + what[1:]), ".SH SYNOPSIS", f".B pyxen {_text(name)}"]
    arguments, options = command.parameters(each)
    lines += [_text(" ".join(["[OPTION]...", *map(command.place, arguments)])), ".SH DESCRIPTION"]
    lines += _paragraphs(help_text)
    if arguments:
        lines.append(".SH ARGUMENTS")
        for argument in arguments:
            lines += [".TP", f".I {_text(command.metavar(argument))}", _inline(argument.help or "")]
    lines.append(".SH OPTIONS")
    for option in options:
        names = ", ".join(rf"\fB{_text(spelling)}\fR" for spelling in sorted(option.opts, key=len))
        value = "" if option.is_flag else rf" \fI{_text(command.metavar(option))}\fR"
        lines += [".TP", names + value, _inline(option.help or "")]
    lines += [".TP", r"\fB\-\-help\fR", "Show help.", ".SH EXIT STATUS", "See", ".BR pyxen (1)."]
    lines += [".SH SEE ALSO", ".BR pyxen (1),", ".BR xl (1)"]
    return "\n".join(lines) + "\n"


def _head(name: str, what: str) -> list[str]:
    title = f'.TH "{_text(name.upper())}" "{_SECTION}" "" "pyxen {pyxen.__version__}" "pyxen"'
    return [
        r".\" Written by python \-m tools.man: do not edit.",
        title,
        ".SH NAME",
        rf"{_text(name)} \- {_inline(what)}",
    ]


def _paragraphs(text: str) -> Iterator[str]:
    """Yield the paragraphs of a docstring; those that are indented or begin with Example are shown as they are."""
    for number, paragraph in enumerate(filter(None, text.split("\n\n"))):
        if number:
            yield ".PP"
        if paragraph.startswith("Example: "):
            yield from ("Example:", ".PP", ".nf", ".RS", _text(paragraph.removeprefix("Example: ")), ".RE", ".fi")
        else:
            yield _inline(" ".join(paragraph.split()))


def _markdown(text: str) -> Iterator[str]:
    """Yield the lines of a man page for plain Markdown: paragraphs, lists and blocks of code."""
    for number, block in enumerate(filter(None, text.strip().split("\n\n"))):
        if block.startswith(_CODE):
            yield from (".PP", ".nf", ".RS", *map(_text, block.splitlines()[1:-1]), ".RE", ".fi")
        elif block.startswith("- "):
            for item in re.split(r"^- ", block, flags=re.MULTILINE)[1:]:
                yield from (r".IP \(bu 2", _inline(" ".join(item.split())))
        else:
            yield from ([".PP"] if number else [])
            yield _inline(" ".join(block.split()))


def _inline(text: str) -> str:
    """Return text in which what is between backquotes is bold."""
    parts = _BOLD.split(_LINK.sub(r"\1", text))
    return "".join(rf"\fB{_text(part)}\fR" if place % 2 else _text(part) for place, part in enumerate(parts))


def _text(text: str) -> str:
    """Return text as roff has it: no character of it is a request or an escape."""
    shown = (
        text.replace("\\", r"\e").replace("-", r"\-").replace("…", "...").replace("~", r"\(ti").replace("^", r"\(ha")
    )
    return rf"\&{shown}" if shown.startswith((".", "'")) else shown


if __name__ == "__main__":
    print(f"{len(write(Path(sys.argv[1])))} pages in {sys.argv[1]}")
