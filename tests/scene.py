"""Pages of docs/guide, played as one reads them: each block in order, in one Python session for each page.

What a page may have:

- a block of ``python``: code of the page's session. If the next block is one of ``text``, it is what the code prints.
- a block of ``console``: lines that begin with ``# `` are typed at root's prompt; what stands below one is its output.
  In what ``pyxen console`` shows, lines with the guest's prompt are typed to the guest, and ``^]`` is the key that
  leaves.
- a block of ``ini``: a file, whose first line is ``# PATH``.
- ``<!-- screen GUEST: TEXT -->``, which readers do not see: by now the VNC screen of that guest shows the text.

``...`` in what is printed stands for anything, and the amount of space does not matter. A block of any other kind is an
error: what is not played is not on a page. The blocks of a page know nothing of other pages, but find the files,
volumes and bridges that pages before have made.
"""

from __future__ import annotations

import contextlib
import doctest
import io
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.dialogue import Dialogue

__all__ = ["Block", "Scene", "blocks_of"]

SECONDS = 240
"""How long a command, or an answer of a guest's, may take: as a booting Linux does in an emulated machine."""

_BLOCK = re.compile(r"^```(?P<kind>[^\n`]*)\n(?P<text>.*?)^```$|^<!-- (?P<order>.*?) -->$", re.DOTALL | re.MULTILINE)
_SCREEN = re.compile(r"screen (\S+): (.+)")
_PROMPT = "# "
_LEAVE = "^]"
_NOT_PLAYED = ("{toctree}",)


@dataclass(frozen=True, slots=True)
class Block:
    """A block of a page.

    Attributes:
        page: The file.
        line: The number of its first line.
        kind: What stands behind the backquotes; ``order`` for a comment.
        text: Its lines.
    """

    page: Path
    line: int
    kind: str
    text: str

    @property
    def place(self) -> str:
        """The page and the line."""
        return f"{self.page.name}:{self.line}"


def blocks_of(page: Path) -> list[Block]:
    """Return the blocks of a page, in order."""
    text = page.read_text()
    found = []
    for match in _BLOCK.finditer(text):
        line = text.count("\n", 0, match.start()) + 2
        if match["order"] is not None:
            found.append(Block(page, line - 1, "order", match["order"]))
        elif match["kind"].split()[0] not in _NOT_PLAYED:
            found.append(Block(page, line, match["kind"], match["text"]))
    return found


class Scene:
    """A reader who does what a page says.

    Args:
        environment: The environment of commands.
        folder: Where commands run.
        screen: Returns what the screen of a guest shows, by its name.
    """

    def __init__(self, environment: dict[str, str], folder: Path, screen: Callable[[str], str] | None = None) -> None:
        self._environment = environment
        self._folder = folder
        self._screen = screen
        self._names: dict[str, Any] = {"__name__": "__main__"}

    def play(self, page: Path) -> None:
        """Do what a page says.

        Raises:
            AssertionError: Something failed, or printed something else; the message begins with page and line.
        """
        blocks = blocks_of(page)
        assert blocks, f"{page.name} has no blocks"
        rest = iter([*zip(blocks, [*blocks[1:], None], strict=True)])
        try:
            for block, following in rest:
                prints = following if following is not None and following.kind == "text" else None
                match block.kind:
                    case "python":
                        self._run(block, prints)
                        if prints is not None:
                            next(rest)
                    case "console":
                        self._type(block)
                    case "ini":
                        self._write(block)
                    case "order":
                        self._look(block)
                    case _:
                        raise AssertionError(f"{block.place}: nobody can play a block of {block.kind or 'no kind'}")
        finally:
            self._close()

    def _run(self, block: Block, prints: Block | None) -> None:
        code = compile("\n" * (block.line - 1) + block.text, str(block.page), "exec", dont_inherit=True)
        output = io.StringIO()
        try:
            with contextlib.redirect_stdout(output):
                exec(code, self._names)  # noqa: S102 (our own pages)
        except Exception as error:
            raise AssertionError(f"{block.place}: {type(error).__name__}: {error}") from error
        if prints is not None:
            _compare(prints.place, prints.text, output.getvalue())

    def _type(self, block: Block) -> None:
        for line, command, prints in _commands(block):
            place = f"{block.page.name}:{line}"
            if any(each.endswith(_LEAVE) for each in prints):
                Dialogue(place, command, self._environment, self._folder, SECONDS).play(prints, _compare)
            else:
                output = self._shell(place, command)
                if prints:
                    _compare(place, "\n".join(prints), output)

    def _shell(self, place: str, command: str) -> str:
        done = subprocess.run(
            ["bash", "-e", "-o", "pipefail", "-c", command],
            check=False,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            cwd=self._folder,
            env=self._environment,
            timeout=SECONDS,
        )
        assert done.returncode == 0, f"{place}: {command}: exit status {done.returncode}\n{done.stdout}"
        return done.stdout

    def _write(self, block: Block) -> None:
        first, _, text = block.text.partition("\n")
        assert first.startswith("# /"), f"{block.place}: the first line of a file is its path: # /srv/web1.cfg"
        path = Path(first.removeprefix("# "))
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def _look(self, block: Block) -> None:
        order = _SCREEN.fullmatch(block.text)
        assert order is not None, f"{block.place}: nobody can do this: {block.text}"
        assert self._screen is not None, f"{block.place}: here are no screens"
        guest, text = order.groups()
        end = time.monotonic() + SECONDS
        while text not in (shows := self._screen(guest)):
            assert time.monotonic() < end, f"{block.place}: {text!r} is not on the screen of {guest}, but\n{shows}"
            time.sleep(0.5)

    def _close(self) -> None:
        """Close the hosts that the page has opened."""
        for value in [*self._names.values()]:
            if type(value).__name__ == "Host":
                value.close()
        self._names.clear()
        sys.stdout.flush()


def _commands(block: Block) -> Iterator[tuple[int, str, list[str]]]:
    """Yield the commands of a block, each with the number of its line and the lines below it."""
    command: tuple[int, str, list[str]] | None = None
    for number, line in enumerate(block.text.splitlines(), block.line):
        if line.startswith(_PROMPT):
            if command is not None:
                yield command
            command = (number, line.removeprefix(_PROMPT), [])
        else:
            assert command is not None, f"{block.page.name}:{number}: output before a command"
            if command[1].endswith("\\") and not command[2]:
                command = (command[0], f"{command[1]}\n{line}", [])
            else:
                command[2].append(line)
    if command is not None:
        yield command


def _compare(place: str, expected: str, printed: str) -> None:
    """Compare what a page says with what was printed."""
    flags = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
    same = doctest.OutputChecker().check_output(expected.strip() + "\n", printed.strip() + "\n", flags)
    assert same, f"{place}: the page says\n{expected}\nbut it printed\n{printed}"
