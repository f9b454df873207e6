"""What the command can do before it loads itself: ``pyxen list`` on this host, into a file or a pipe.

Loading typer and the library takes several times as long as ``xl list``. Whatever is out of the ordinary is left to the
command itself, so that this needs no messages and no options of its own.
"""

from __future__ import annotations

import os
import sys

from pyxen.cli.columns import columns

TYPE_CHECKING = False  # typing takes longer than all that is done here
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import TextIO

__all__ = ["LIST_HEAD", "LIST_NUMBERS", "drop", "quickly"]

LIST_HEAD = ("Name", "ID", "Mem", "VCPUs", "State", "Time(s)")
"""The titles of the columns of ``pyxen list``."""

LIST_NUMBERS = ("ID", "Mem", "VCPUs", "Time(s)", "Label")
"""Those that are aligned to the right, with the one of ``--verbose``."""

_HERE = "xenlight:///"
_LINES = (["list"], ["list", "--uri", _HERE], ["--uri", _HERE, "list"], [f"--uri={_HERE}", "list"])
_NO_READER = 141


def quickly(arguments: Sequence[str], environment: Mapping[str, str]) -> int | None:
    """Do what a command line asks for, and return the exit status; None if that is for the command itself.

    Args:
        arguments: The arguments, without the name of the program.
        environment: The environment.
    """
    if [*arguments] not in _LINES or "_PYXEN_COMPLETE" in environment:
        return None
    if len(arguments) == 1 and environment.get("PYXEN_URI", _HERE) != _HERE:
        return None
    if sys.stdout is None or sys.stderr is None or sys.stdout.isatty():
        return None
    from pyxen.backends.xenlight.quick_list import quick_list

    domains = quick_list()
    if domains is None:
        return None
    rows = [
        (
            "-" if name is None else name,
            str(domid),
            str(memory_kib // 1024),
            str(vcpus),
            state,
            f"{cpu_time_ns / 10**9:.1f}",
        )
        for domid, name, memory_kib, vcpus, state, cpu_time_ns in domains
    ]
    text = columns(LIST_HEAD, rows, LIST_NUMBERS)
    return None if text is None else _written(text)


def _written(text: str) -> int:
    try:
        sys.stdout.buffer.write(text.encode())
        sys.stdout.buffer.flush()
    except BrokenPipeError:
        drop(sys.stdout)
        return _NO_READER
    except OSError as error:
        from pyxen.cli.files import FAILED, output_failed

        output_failed(error)
        return FAILED
    return 0


def drop(stream: TextIO) -> None:
    """Let what is left in a stream's buffer go nowhere: the interpreter would try to write it when it ends."""
    try:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)
    except (OSError, ValueError):  # a stream without a descriptor, as in tests
        pass
