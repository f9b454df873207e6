"""What the command can do before it loads itself: ``pyxen list [--json]`` on this host, into a file or a pipe.

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

    from pyxen.backends.xenlight.quick_list import QuickDomain

__all__ = ["LIST_HEAD", "LIST_NUMBERS", "drop", "quickly"]

LIST_HEAD = ("Name", "ID", "Mem", "VCPUs", "State", "Time(s)")
"""The titles of the columns of ``pyxen list``."""

LIST_NUMBERS = ("ID", "Mem", "VCPUs", "Time(s)", "Label")
"""Those that are aligned to the right, with the one of ``--verbose``."""

_HERE = "xenlight:///"
_LINES = (["list"], ["list", "--uri", _HERE], ["--uri", _HERE, "list"], [f"--uri={_HERE}", "list"])
_SETTINGS = ("_PYXEN_COMPLETE", "PYXEN_XL_CONF")  # of the environment; the command itself reads them
_NO_READER = 141


def quickly(arguments: Sequence[str], environment: Mapping[str, str]) -> int | None:
    """Do what a command line asks for, and return the exit status; None if that is for the command itself.

    Args:
        arguments: The arguments, without the name of the program.
        environment: The environment.
    """
    as_json = "--json" in arguments[-1:]
    line = [*arguments[:-1]] if as_json else [*arguments]
    if line not in _LINES or not environment.keys().isdisjoint(_SETTINGS):
        return None
    has_gil = getattr(sys, "_is_gil_enabled", None)  # from Python 3.13 on
    if has_gil is not None and not has_gil():
        return None
    if len(line) == 1 and environment.get("PYXEN_URI", _HERE) != _HERE:
        return None
    if sys.stdout is None or sys.stderr is None or sys.stdout.isatty():
        return None
    from pyxen.backends.xenlight.quick_list import quick_list

    domains = quick_list()
    if domains is None:
        return None
    text = _document(domains) if as_json else columns(LIST_HEAD, [_cells(domain) for domain in domains], LIST_NUMBERS)
    return None if text is None else _written(text)


def _cells(domain: QuickDomain) -> tuple[str, ...]:
    name, memory_mib, seconds = domain["name"], domain["memory_kib"] // 1024, f"{domain['cpu_time_ns'] / 10**9:.1f}"
    counts = [str(count) for count in (domain["domid"], memory_mib, domain["vcpus"])]
    return ("-" if name is None else name, *counts, domain["state"], seconds)


def _document(domains: Sequence[QuickDomain]) -> str | None:
    """Return what `pyxen.cli.output.document` prints; `json` itself takes longer to load than all else here."""
    try:
        from _json import encode_basestring_ascii
    except ImportError:  # another Python, or a build without it
        return None

    def written(value: str | int | None) -> str:
        if isinstance(value, str):
            return encode_basestring_ascii(value).replace("\x7f", "\\u007f")
        return "null" if value is None else str(value)

    objects = [",\n".join(f'    "{key}": {written(value)}' for key, value in domain.items()) for domain in domains]
    return "[\n" + ",\n".join(f"  {{\n{members}\n  }}" for members in objects) + "\n]\n"


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
