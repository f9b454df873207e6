"""A terminal on which a command runs, and somebody who types to the guest behind it."""

from __future__ import annotations

import os
import pty
import re
import select
import subprocess
import termios
import time
from collections.abc import Callable
from pathlib import Path

__all__ = ["Dialogue"]

_KEY_THAT_LEAVES = "^]"
_ENTER_SECONDS = 2.0  # between Enter keys, until the guest shows its prompt
_PROMPT = re.compile(r"^(\S* ?[#$] )(.*)$")


class Dialogue:
    """A command on a terminal of its own.

    Args:
        place: Where the page has it, for messages.
        command: What the shell is given.
        environment: Its environment.
        folder: Where it runs.
        seconds: How long each answer may take.
    """

    def __init__(self, place: str, command: str, environment: dict[str, str], folder: Path, seconds: float) -> None:
        self._place = place
        self._seconds = seconds
        self._seen = ""
        self._terminal, theirs = pty.openpty()
        termios.tcsetwinsize(theirs, (25, 200))
        self._process = subprocess.Popen(
            ["bash", "-c", f"exec {command}"],
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            cwd=folder,
            env=environment,
            start_new_session=True,
        )
        os.close(theirs)

    def play(self, lines: list[str], compare: Callable[[str, str, str], None]) -> None:
        """Type what a page types, and compare what comes back; the command must end well.

        Args:
            lines: What the page shows: prompts with what is typed, and below them the answers.
            compare: Compares place, what is expected, and what has come.
        """
        try:
            prompt, typed, answers = None, "", []
            for line in lines:
                match = _PROMPT.match(line)
                if match is None:
                    answers.append(line)
                    continue
                if prompt is None:
                    prompt = match[1]
                    self._until_prompt(prompt)
                else:
                    self._answer(typed, prompt, "\n".join(answers), compare)
                typed, answers = match[2], []
                self._type("\x1d" if typed == _KEY_THAT_LEAVES else f"{typed}\r")
            self._end()
        finally:
            if self._process.poll() is None:
                self._process.kill()
            self._process.wait()
            os.close(self._terminal)

    def _answer(self, typed: str, prompt: str, expected: str, compare: Callable[[str, str, str], None]) -> None:
        """Wait for the guest's echo, what it answers, and its next prompt."""
        answer = re.compile(re.escape(typed) + r"\n(.*?)" + _shown(prompt), re.DOTALL)
        self._read(lambda: answer.search(self._seen) is not None, f"no answer to {typed!r}")
        match = answer.search(self._seen)
        assert match is not None
        self._seen = ""
        if expected:
            compare(self._place, expected, match[1])

    def _until_prompt(self, prompt: str) -> None:
        """Press Enter until the guest shows its prompt."""
        end = time.monotonic() + self._seconds
        while not re.search(_shown(prompt), self._seen):
            assert time.monotonic() < end, f"{self._place}: no prompt {prompt!r} in\n{self._seen}"
            assert self._process.poll() is None, f"{self._place}: the command has ended: {self._seen}"
            self._type("\r")
            self._some(_ENTER_SECONDS)

    def _read(self, condition: Callable[[], bool], problem: str) -> None:
        end = time.monotonic() + self._seconds
        while not condition():
            assert time.monotonic() < end, f"{self._place}: {problem} in\n{self._seen}"
            assert self._some(1) or self._process.poll() is None, f"{self._place}: the command has ended: {self._seen}"

    def _end(self) -> None:
        """Read to the end of the terminal."""
        end = time.monotonic() + self._seconds
        while self._process.poll() is None:
            assert time.monotonic() < end, f"{self._place}: the command does not end:\n{self._seen}"
            self._some(0.2)
        assert self._process.returncode == 0, f"{self._place}: exit status {self._process.returncode}\n{self._seen}"

    def _type(self, text: str) -> None:
        os.write(self._terminal, text.encode())

    def _some(self, seconds: float) -> bool:
        """Read what has come, waiting for something; tell whether anything came."""
        if not select.select([self._terminal], [], [], seconds)[0]:
            return False
        try:
            data = os.read(self._terminal, 1 << 16)
        except OSError:  # the other end is closed: EIO
            return False
        self._seen += re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", data.decode(errors="replace")).replace("\r", "")
        return bool(data)


def _shown(prompt: str) -> str:
    """Return the pattern of a prompt at the end. An older busybox calls the home of a guest's root by its name, /."""
    return re.escape(prompt).replace(re.escape("~"), "[~/]", 1) + "$"
