"""The header of files written by ``xl save``: magic, flags and the domain's configuration. libxl's stream follows.

All numbers are in the byte order of the machine that wrote the file.
"""

from __future__ import annotations

import os
import stat
import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from pyxen.errors import Error, FileMissing, InvalidArgument, OperationFailed, ParseError
from pyxen.operation import Operation, describe

__all__ = ["STREAM_VERSION", "Head", "head", "opened", "parse", "read", "readable", "write"]

E = TypeVar("E", bound=OperationFailed)

STREAM_VERSION: Final = 2
"""Version of libxl's stream after the header, since Xen 4.6."""

_MAGIC: Final = b"Xen saved domain, xl format\n \0 \r"
_BYTEORDER: Final = 0x01020304
_JSON: Final = 1 << 0
_STREAM_V2: Final = 1 << 1
_HEAD: Final = struct.Struct("=32sIIII")
_LENGTH: Final = struct.Struct("=I")
_MOST: Final = 16 * 1024 * 1024
"""The most bytes of a configuration. libxl's JSON of 128 vCPUs that are pinned to 1,024 CPUs takes five million."""


@dataclass(frozen=True, slots=True)
class Head:
    """The contents of a file's header.

    Attributes:
        config: The domain's configuration; empty if the file does not contain one.
        is_json: Whether the configuration is libxl's JSON; it is an xl configuration file in files from before Xen 4.5.
    """

    config: str
    is_json: bool = True


def head(config: str) -> bytes:
    """Return the header for a configuration in libxl's JSON."""
    data = config.encode() + b"\0"
    optional = _LENGTH.pack(len(data)) + data
    return _HEAD.pack(_MAGIC, _BYTEORDER, _JSON | _STREAM_V2, 0, len(optional)) + optional


def write(fd: int, config: str) -> None:
    """Write the header for a configuration in libxl's JSON.

    Raises:
        OSError: The header cannot be written.
    """
    rest = memoryview(head(config))
    while rest:
        rest = rest[os.write(fd, rest) :]


def opened(operation: Operation[Any], path: str) -> int:
    """Open a file for reading, and return its descriptor.

    Raises:
        FileMissing: There is no such file.
        InvalidArgument: The file cannot be read, or is not a regular file.
    """
    try:
        # Opening a pipe could block forever.
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            os.close(fd)
            raise _of_file(InvalidArgument, f"cannot read {path}: it is not a regular file", operation)
        return fd
    except FileNotFoundError:
        error = _of_file(FileMissing, f"no such file on the host: {path}", operation)
        error.filename = path
        raise error from None
    except ValueError as problem:  # a NUL in the path
        if isinstance(problem, InvalidArgument):
            raise
        raise _of_file(InvalidArgument, f"cannot read {path}: {problem}", operation) from problem
    except OSError as problem:
        raise _of_file(InvalidArgument, f"cannot read {path}: {problem.strerror}", operation) from problem


def _of_file(cls: type[E], message: str, operation: Operation[Any]) -> E:
    """Return an exception that is about a file, which its message names, and about no domain."""
    error = describe(cls, message, operation)
    error.domain = None
    return error


@contextmanager
def readable(operation: Operation[Any], path: str) -> Iterator[None]:
    """Turn a failure to read an open file, such as one of its disk, into an exception of pyxen's.

    Raises:
        InvalidArgument: The file cannot be read.
    """
    try:
        yield
    except Error:
        raise
    except OSError as problem:
        raise _of_file(InvalidArgument, f"cannot read {path}: {problem.strerror}", operation) from problem


def read(fd: int, source: str | None = None) -> Head:
    """Read the header of a file, and stop where libxl's stream begins.

    Args:
        fd: The file; nothing beyond the header is read.
        source: The file's name, for errors.

    Raises:
        ParseError: The file is not a saved domain, is truncated, or has an unknown format.
        OSError: The file cannot be read.
    """
    return parse(lambda size: _exactly(fd, size, source), source)


def parse(take: Callable[[int], bytes], source: str | None = None) -> Head:
    """Parse a header, read through a function that returns exactly as many bytes as requested.

    Args:
        take: The function; nothing beyond the header is requested.
        source: The name of its source, for errors.

    Raises:
        ParseError: The data is not a saved domain, or has an unknown format.
    """
    magic, byteorder, mandatory, optional, length = _HEAD.unpack(take(_HEAD.size))
    if magic != _MAGIC:
        raise ParseError("not a domain saved by xl or pyxen: the file begins with something else", source=source)
    if byteorder != _BYTEORDER:
        raise ParseError("saved on a machine with another byte order: restore it on such a machine", source=source)
    if not mandatory & _STREAM_V2:
        raise ParseError("saved by Xen 4.5 or older: restore it with `xl restore`, and save it again", source=source)
    if mandatory & ~(_JSON | _STREAM_V2) or optional:
        flags = f"{mandatory:#x}/{optional:#x}"
        raise ParseError(f"saved by a newer xl (flags {flags}, {length} bytes): restore it with that xl", source=source)
    if length > _MOST:
        message = f"damaged: its configuration would have {length} bytes, and none has more than {_MOST}"
        raise ParseError(message, source=source)
    data = take(length)
    size = _LENGTH.unpack_from(data)[0] if length >= _LENGTH.size else 0
    if size > max(length - _LENGTH.size, 0):
        raise ParseError("damaged: the configuration is truncated", source=source)
    config = data[_LENGTH.size : _LENGTH.size + size].rstrip(b"\0")
    try:
        text = config.decode()
    except UnicodeDecodeError:
        raise ParseError("damaged: the configuration is not UTF-8", source=source) from None
    return Head(text, bool(mandatory & _JSON))


def _exactly(fd: int, size: int, source: str | None) -> bytes:
    data = bytearray()
    while len(data) < size:
        more = os.read(fd, size - len(data))
        if not more:
            raise ParseError("not a saved domain, or truncated: the file ends within the header", source=source)
        data += more
    return bytes(data)
