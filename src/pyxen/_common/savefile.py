"""The head of a file that ``xl save`` writes: magic, flags, and the domain's configuration. libxl's stream follows.

All numbers are in the byte order of the machine that wrote it.
"""

from __future__ import annotations

import os
import stat
import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from pyxen.errors import FileMissing, InvalidArgument, ParseError
from pyxen.operation import Operation, describe

__all__ = ["STREAM_VERSION", "Head", "head", "opened", "parse", "read", "write"]

STREAM_VERSION: Final = 2
"""Version of the stream that follows: libxl's, from Xen 4.6 on."""

_MAGIC: Final = b"Xen saved domain, xl format\n \0 \r"
_BYTEORDER: Final = 0x01020304
_JSON: Final = 1 << 0
_STREAM_V2: Final = 1 << 1
_HEAD: Final = struct.Struct("=32sIIII")
_LENGTH: Final = struct.Struct("=I")
_MOST: Final = 64 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Head:
    """What stands before libxl's stream.

    Attributes:
        config: The domain's configuration; empty where the file has none.
        is_json: Whether that is libxl's JSON; otherwise it is an xl configuration file, as before Xen 4.5.
    """

    config: str
    is_json: bool = True


def head(config: str) -> bytes:
    """Return the head of a file with a configuration in libxl's JSON."""
    data = config.encode() + b"\0"
    optional = _LENGTH.pack(len(data)) + data
    return _HEAD.pack(_MAGIC, _BYTEORDER, _JSON | _STREAM_V2, 0, len(optional)) + optional


def write(fd: int, config: str) -> None:
    """Write the head of a file with a configuration in libxl's JSON.

    Raises:
        OSError: It cannot be written.
    """
    rest = memoryview(head(config))
    while rest:
        rest = rest[os.write(fd, rest) :]


def opened(operation: Operation[Any], path: str) -> int:
    """Open a file for reading, and return its descriptor.

    Raises:
        FileMissing: There is no such file.
        InvalidArgument: It cannot be read, or is not a regular file.
    """
    try:
        # To open a pipe may take for ever.
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            os.close(fd)
            raise describe(InvalidArgument, f"cannot read {path}: it is not a regular file", operation)
        return fd
    except FileNotFoundError:
        error = describe(FileMissing, f"no such file on the host: {path}", operation)
        error.filename = path
        raise error from None
    except ValueError as problem:  # a NUL in the path
        if isinstance(problem, InvalidArgument):
            raise
        raise describe(InvalidArgument, f"cannot read {path}: {problem}", operation) from problem
    except OSError as problem:
        raise describe(InvalidArgument, f"cannot read {path}: {problem.strerror}", operation) from problem


def read(fd: int, source: str | None = None) -> Head:
    """Read the head of a file; what follows is libxl's.

    Args:
        fd: Where to read; nothing beyond the head is taken.
        source: Name of the file, for errors.

    Raises:
        ParseError: It is not a saved domain, is cut short, or is of an unknown kind.
        OSError: It cannot be read.
    """
    return parse(lambda size: _exactly(fd, size, source), source)


def parse(take: Callable[[int], bytes], source: str | None = None) -> Head:
    """Read a head by a function that returns as many bytes as it is asked for.

    Args:
        take: The function; it is asked for nothing beyond the head.
        source: Where it reads, for errors.

    Raises:
        ParseError: It is not a saved domain, or is of an unknown kind.
    """
    magic, byteorder, mandatory, optional, length = _HEAD.unpack(take(_HEAD.size))
    if magic != _MAGIC:
        raise ParseError("not a domain that xl or pyxen saved: the file begins otherwise", source=source)
    if byteorder != _BYTEORDER:
        raise ParseError("saved on a machine with another byte order: restore it on one of that kind", source=source)
    if not mandatory & _STREAM_V2:
        raise ParseError("saved by Xen 4.5 or older: restore it with `xl restore`, and save it anew", source=source)
    if mandatory & ~(_JSON | _STREAM_V2) or optional or length > _MOST:
        flags = f"{mandatory:#x}/{optional:#x}"
        raise ParseError(f"saved by a newer xl (flags {flags}, {length} bytes): restore it with that", source=source)
    data = take(length)
    size = _LENGTH.unpack_from(data)[0] if length >= _LENGTH.size else 0
    if size > max(length - _LENGTH.size, 0):
        raise ParseError("damaged: its configuration is cut short", source=source)
    config = data[_LENGTH.size : _LENGTH.size + size].rstrip(b"\0")
    try:
        text = config.decode()
    except UnicodeDecodeError:
        raise ParseError("damaged: its configuration is not UTF-8", source=source) from None
    return Head(text, bool(mandatory & _JSON))


def _exactly(fd: int, size: int, source: str | None) -> bytes:
    data = b""
    while len(data) < size:
        more = os.read(fd, size - len(data))
        if not more:
            raise ParseError("not a saved domain, or cut short: it ends in its head", source=source)
        data += more
    return data
