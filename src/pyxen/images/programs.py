"""Programs that make images: run, watched, and ended with all that they have started."""

from __future__ import annotations

import contextlib
import os
import select
import shutil
import signal
import subprocess
import time
from collections import deque
from collections.abc import Callable
from typing import IO, Final, cast

from pyxen.errors import OperationTimeout
from pyxen.images.errors import BuildFailed, ProgramMissing

__all__ = ["program", "run"]

_KEPT_LINES: Final = 2000
_TOLD_LINES: Final = 12
"""Lines of a program that failed, in the error."""

_END_SECONDS: Final = 10.0
"""How long a program may take to tidy up when it is ended."""


def program(*names: str, package: str) -> str:
    """Return the path of the first of some programs that is installed.

    Raises:
        ProgramMissing: None is.
    """
    folders = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin"])
    for name in names:
        path = shutil.which(name, path=folders)
        if path is not None:
            return path
    raise ProgramMissing(f"{' or '.join(names)} is not installed: on Debian, it is in the package {package}")


def run(
    command: list[str],
    *,
    package: str,
    text: str = "",
    on_line: Callable[[str], None] | None = None,
    end: float | None = None,
) -> list[str]:
    """Run a program to its end, and return what it printed, on both streams.

    When it is interrupted or its time is up, it is ended, and all that it has started.

    Args:
        command: The program and its arguments.
        package: Debian's package that has it.
        text: Its standard input.
        on_line: Is called with each line.
        end: The time by which it must have ended, of `time.monotonic`.

    Raises:
        BuildFailed: It exited with another status than 0.
        OperationTimeout: Its time was up.
        ProgramMissing: It is not installed.
    """
    name = command[0]
    process = subprocess.Popen(
        [program(name, package=package), *command[1:]],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env={**os.environ, "LC_ALL": "C.UTF-8"},
        start_new_session=True,
    )
    stdin, stdout = cast("IO[bytes]", process.stdin), cast("IO[bytes]", process.stdout)
    lines: deque[str] = deque(maxlen=_KEPT_LINES)
    try:
        with contextlib.suppress(BrokenPipeError), stdin:
            stdin.write(text.encode())
        _read(stdout.fileno(), lines, on_line, name, end)
        status = process.wait()
    except BaseException:
        _end(process)
        raise
    finally:
        stdout.close()
    if status != 0:
        raise BuildFailed(f"{name} failed with exit status {status}", log=tuple(lines)[-_TOLD_LINES:])
    return list(lines)


def _read(fd: int, lines: deque[str], on_line: Callable[[str], None] | None, name: str, end: float | None) -> None:
    rest = b""
    while True:
        left = None if end is None else end - time.monotonic()
        if left is not None and (left <= 0 or not select.select([fd], [], [], left)[0]):
            raise OperationTimeout(f"the time was up while {name} was running", operation="image")
        data = os.read(fd, 1 << 16)
        *whole, rest = (rest + data).split(b"\n")
        if not data and rest:
            whole.append(rest)
        for line in whole:
            lines.append(line.decode(errors="replace").rstrip())
            if on_line is not None:
                on_line(lines[-1])
        if not data:
            return


def _end(process: subprocess.Popen[bytes]) -> None:
    """End a program and what it has started: they are one process group."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(timeout=_END_SECONDS)
            break
