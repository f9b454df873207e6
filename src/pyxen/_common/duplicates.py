"""Duplicates of a caller's descriptors, which the caller may close at once."""

from __future__ import annotations

import contextlib
import os

from pyxen._common.shortage import is_shortage, shortage
from pyxen.errors import InvalidArgument, OperationFailed

__all__ = ["duplicated"]


def duplicated(verb: str, *fds: int) -> list[int]:
    """Return duplicates of descriptors: of all, or of none.

    Args:
        verb: The verb that they were passed to.
        *fds: The descriptors.

    Raises:
        InvalidArgument: One is not valid.
        OperationFailed: This process may have no more descriptors.
    """
    with contextlib.ExitStack() as made, shortage(OperationFailed, f"{verb}: cannot begin"):
        copies = []
        for fd in fds:
            try:
                copies.append(os.dup(fd))
            except (OSError, OverflowError) as error:
                if isinstance(error, OSError) and is_shortage(error):
                    raise
                raise InvalidArgument(f"descriptor {fd}: {error}", operation=verb) from None
            made.callback(os.close, copies[-1])
        made.pop_all()
    return copies
