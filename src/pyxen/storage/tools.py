"""Calls of LVM's tools and of qemu-img. Their complaints, and those of the kernel about files, as exceptions."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from typing import Final

from pyxen._common.programs import Output, run_program
from pyxen._common.shortage import is_full
from pyxen.errors import Error, NotEnoughSpace, NotFound, OperationFailed, StorageError, VolumeExists, VolumeInUse
from pyxen.storage.reports import read_log

__all__ = ["call", "complaint", "disk_errors"]


_MOST_WORDS: Final = 1000
"""The most characters of a tool's words that a message has."""

_NOISE: Final = re.compile(r"^\s*(?:File descriptor \d+ .* leaked on|WARNING: )")
"""Lines that are not about the failure."""

_KINDS: Final[tuple[tuple[re.Pattern[str], type[OperationFailed], str], ...]] = (
    (
        re.compile(r"already exists|file exists", re.IGNORECASE),
        VolumeExists,
        "the name is taken: use another one",
    ),
    (
        re.compile(r"insufficient (?:suitable |free )|no space left|not enough free space", re.IGNORECASE),
        NotEnoughSpace,
        "there is not enough free space: remove or shrink something, or extend the volume group (vgextend)",
    ),
    (
        re.compile(r"volume group .* not found|failed to find logical volume|no such file", re.IGNORECASE),
        NotFound,
        "it does not exist",
    ),
    (
        re.compile(r"in use|is used by another device|failed to get .* lock", re.IGNORECASE),
        VolumeInUse,
        "it is in use: shut the domain down, unmount it, or end the program that has it open",
    ),
    (
        re.compile(r"permission denied|operation not permitted", re.IGNORECASE),
        StorageError,
        "this user may not do that: run this as root",
    ),
)
"""Complaints of the tools, and what they mean."""


def call(*command: str, verb: str, subject: str, package: str, timeout: float | None, changes: bool = False) -> Output:
    """Run a tool, which must succeed. If its exit status is lost, the caller sees by the result whether it did.

    Args:
        command: The tool and its arguments.
        verb: The verb, for messages.
        subject: What it is about, for messages.
        package: Debian's package that has the tool.
        timeout: Seconds for it; None for no limit.
        changes: Whether it changes something; then it is ended gently.

    Raises:
        ToolMissing: The tool is not installed.
        OperationTimeout: It did not end in time.
        NotFound: The volume or its group does not exist.
        VolumeExists: The name is taken.
        NotEnoughSpace: There is not enough space.
        VolumeInUse: The volume is in use.
        StorageError: It refused for another reason.
    """
    output = run_program(command, verb=verb, package=package, timeout=timeout, gentle=changes)
    if output.status not in (0, None):
        raise complaint(command[0], output, verb, subject)
    return output


def complaint(tool: str, output: Output, verb: str, subject: str) -> OperationFailed:
    """Return the exception for a tool that refused."""
    said = [*output.stderr.splitlines(), *read_log(output.stdout)]
    lines = [line.strip() for line in said if line.strip() and not _NOISE.match(line)]
    words = "\n".join(lines)[-_MOST_WORDS:]
    kind, meaning = next(
        ((kind, meaning) for pattern, kind, meaning in _KINDS if pattern.search(words)),
        (StorageError, f"{tool} refused" if words else f"{tool} refused, without a word"),
    )
    quoted = "".join(f"\n  {tool}: {line}" for line in words.splitlines())
    return kind(f"{subject}: {meaning}{quoted}", operation=verb, code=output.status)


@contextlib.contextmanager
def disk_errors(path: str, verb: str, kind: type[OperationFailed] = StorageError) -> Iterator[None]:
    """Turn what the kernel says of a file into an exception.

    Args:
        path: The file.
        verb: The verb that writes it.
        kind: The exception for anything else than a lack of space.

    Raises:
        NotEnoughSpace: The file system is full, or the user's share of it, or it has no files of that size.
    """
    try:
        yield
    except Error:  # some of pyxen's are an OSError, too
        raise
    except OSError as error:
        kind = NotEnoughSpace if is_full(error) else kind
        raise kind(f"{path}: {error.strerror or error}", operation=verb) from error
