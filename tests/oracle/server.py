"""A program of an oracle, kept running under the stub: a request costs a fork instead of a program start."""

from __future__ import annotations

import struct
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from tests.oracle.debian import SetupFailed
from tests.oracle.setup import Oracle

CRASHED = 128
_LENGTH = struct.Struct("<I")
_HEAD = struct.Struct("<III")


@dataclass(frozen=True)
class Answer:
    """What one run of the program gave.

    Attributes:
        status: Its exit status; 128 and the signal's number where a signal ended it.
        output: What it wrote to standard output.
        messages: What it wrote to standard error.
    """

    status: int
    output: bytes
    messages: str


@dataclass(frozen=True)
class Refused:
    """What xl or libxlutil does not take.

    Attributes:
        status: The exit status; 128 and the signal's number where a signal ended it.
        messages: What it said.
    """

    status: int
    messages: str

    @property
    def crashed(self) -> bool:
        """Whether it fell over. Both have bugs, and a text that crashes them counts as refused."""
        return self.status >= CRASHED


class Server:
    """One program with fixed arguments, answering requests (the protocol is in stub.c)."""

    def __init__(self, oracle: Oracle, program: Path, *arguments: str) -> None:
        self._process = subprocess.Popen(
            oracle.command(program, *arguments),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={"PYXEN_ORACLE_SERVER": "1", "LC_ALL": "C"},
        )

    def ask(self, request: bytes) -> Answer:
        """Run the program on `request`."""
        if self._process.stdin is None:
            raise SetupFailed("the oracle's server has no standard input")
        self._process.stdin.write(_LENGTH.pack(len(request)) + request)
        self._process.stdin.flush()
        status, output_length, messages_length = _HEAD.unpack(self._read(_HEAD.size))
        output = self._read(output_length)
        return Answer(status, output, self._read(messages_length).decode("utf-8", "backslashreplace"))

    def close(self) -> None:
        """End the program."""
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()
        self._process.wait()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.close()

    def _read(self, length: int) -> bytes:
        if self._process.stdout is None:
            raise SetupFailed("the oracle's server has no standard output")
        data = self._process.stdout.read(length)
        if len(data) != length:
            raise SetupFailed(f"the oracle's server ended with status {self._process.wait()}")
        return data
