"""What is asked of a client, and what it is told of arguments that are not valid."""

from __future__ import annotations

import re
import threading
from typing import Final

from pyxen.backends.remote.messages import VERSION
from pyxen.backends.remote.values import Malformed
from pyxen.errors import Error, InvalidArgument, OperationTimeout, UnsupportedFeature

__all__ = ["Question", "unknown_argument"]

_EXPECTED: Final = re.compile(r"(?:\w+: )?Expected `(.*?)(?: \| null)?`, got `(.*?)`(?: - at `\$\.?(.*)`)?")
"""What msgspec says of a value with another type."""


class Question:
    """A question to the client, which waits for its answer."""

    def __init__(self) -> None:
        self._answered = threading.Event()
        self._error: Exception | None = None
        self._allowed = False

    def answer(self, error: Exception | None, *, allowed: bool = False) -> None:
        """Give the answer; the first one counts."""
        if not self._answered.is_set():
            self._error, self._allowed = error, allowed
            self._answered.set()

    def wait(self, timeout: float) -> bool:
        """Wait for it: on a thread of the backend, which cannot enforce the deadline of the operation meanwhile.

        Raises:
            OperationTimeout: It did not come in time.
        """
        if not self._answered.wait(timeout):
            raise OperationTimeout("the client did not say in time whether it allows the domain")
        if self._error is not None:
            raise self._error
        return self._allowed


def unknown_argument(verb: str, error: Malformed) -> Error:
    """Return the error for arguments that cannot be read."""
    if "unknown field" in str(error):
        message = f"{error}: pyxen {VERSION} on the host does not know this: update it there"
        return UnsupportedFeature(message, feature=verb[:100])
    found = _EXPECTED.fullmatch(str(error))
    if found is None:
        return InvalidArgument(str(error), operation=verb[:100])
    return InvalidArgument(f"{found[3] or 'a value'} takes {found[1]}, not {found[2]}", operation=verb[:100])
