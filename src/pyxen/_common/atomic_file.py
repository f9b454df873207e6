"""Files that appear complete, or not at all."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from typing import Any

from pyxen.errors import InvalidArgument
from pyxen.operation import Operation, describe

__all__ = ["appearing_whole", "writing"]


@contextlib.contextmanager
def appearing_whole(operation: Operation[Any], path: str) -> Iterator[tuple[int, str]]:
    """Give the descriptor and the path of a new file, which replaces `path` on success and is removed on failure.

    Raises:
        InvalidArgument: The file cannot be written.
    """
    import tempfile  # with compressors and random numbers: a tenth of all that `connect` would load

    place = os.path.realpath(path)
    if os.path.exists(place) and not os.path.isfile(place):
        raise describe(InvalidArgument, f"cannot write {path}: it exists, and is not a regular file", operation)
    with writing(operation, path):
        fd, partial = tempfile.mkstemp(prefix=f".{os.path.basename(place)}.", dir=os.path.dirname(place))
    try:
        yield fd, partial
        with writing(operation, path):
            os.replace(partial, place)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(partial)
        raise
    finally:
        os.close(fd)


@contextlib.contextmanager
def writing(operation: Operation[Any], path: str) -> Iterator[None]:
    """Turn an error of the operating system into pyxen's exception for a file that cannot be written.

    Raises:
        InvalidArgument: It cannot.
    """
    try:
        yield
    except OSError as error:
        raise describe(InvalidArgument, f"cannot write {path}: {error.strerror}", operation) from error
