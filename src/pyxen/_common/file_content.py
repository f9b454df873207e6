"""Content of files that are read as a whole: a policy or a device tree for Xen, an inventory."""

from __future__ import annotations

import os
import stat

from pyxen._common.arguments import path_of
from pyxen._printable import shown_number
from pyxen.errors import FileMissing, InvalidArgument, OperationFailed

__all__ = ["content_of", "read_file"]


def content_of(given: object, verb: str, *, most: int) -> bytes:
    """Return what a verb hands to Xen, given as bytes or as the path of a file.

    Args:
        given: The bytes, or the path.
        verb: The verb.
        most: The most bytes that Xen takes.

    Raises:
        FileMissing: The file does not exist.
        InvalidArgument: It is empty or too large, or neither bytes nor the path of a regular file.
        OperationFailed: The file cannot be read.
    """
    content = bytes(given) if isinstance(given, bytes | bytearray | memoryview) else read_file(given, verb, most)
    if not 0 < len(content) <= most:
        size = f"has more than {most} bytes" if content else "is empty"
        raise InvalidArgument(f"what Xen is to load {size}", operation=verb)
    return content


def read_file(given: object, verb: str, most: int) -> bytes:
    """Return the content of a regular file; of one with more than ``most`` bytes, one byte more.

    Raises:
        FileMissing: It does not exist.
        InvalidArgument: It is not the path of a regular file.
        OperationFailed: It cannot be read.
    """
    path = path_of(given, verb)
    if "\0" in path:
        raise InvalidArgument(f"{shown_number(path)} is not a path", operation=verb)
    try:
        with open(path, "rb", opener=_open_at_once) as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise InvalidArgument(f"{path} is not a regular file", operation=verb)
            return file.read(most + 1)
    except UnicodeEncodeError:
        raise InvalidArgument(f"{shown_number(path)} is not a path", operation=verb) from None
    except FileNotFoundError:
        missing = FileMissing(f"there is no file {path}", operation=verb)
        missing.filename = path
        raise missing from None
    except IsADirectoryError:
        raise InvalidArgument(f"{path} is not a regular file", operation=verb) from None
    except OSError as error:
        raise OperationFailed(f"{path}: {error.strerror}", operation=verb) from error


def _open_at_once(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NONBLOCK)  # a pipe must not block
