"""The claims of a client: they are released when its link ends, so what it leaves then is found as orphans."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Sequence
from typing import Final
from uuid import UUID

from pyxen._common.claims import Claim, ClaimSet
from pyxen.errors import Error, HostClosed, InvalidArgument

__all__ = ["ServedClaims"]

_MOST: Final = 256
"""The most sets of claims that a client may have open at once."""


class ServedClaims:
    """The verbs of a client's claims, see `ClaimVerbs`. This process holds them, so it does not matter who is killed.

    Args:
        opened: Makes a set.
    """

    def __init__(self, opened: Callable[[], ClaimSet]) -> None:
        self._opened = opened
        self._lock = threading.Lock()
        self._sets: dict[int, ClaimSet] = {}
        self._closed = False

    def claims_open(self, number: int) -> None:
        """Open a set with a number of the caller's."""
        with self._lock:
            if self._closed:  # it would never be released
                raise HostClosed("claim: the link to the client has ended")
            if len(self._sets) >= _MOST:
                raise InvalidArgument(f"{_MOST} pools and clones are being made: end one first", operation="claim")
            self._sets[number] = self._opened()

    def claims_add(self, claims: int, uuid: UUID, files: Sequence[str]) -> None:
        with self._lock:
            self._of(claims).add(Claim(uuid, tuple(files)))

    def claims_drop(self, claims: int, uuid: UUID) -> None:
        with self._lock:
            self._of(claims).drop(uuid)

    def claims_drop_all(self, claims: int) -> None:
        with self._lock:
            self._of(claims).drop_all()

    def claims_close(self, claims: int) -> None:
        with self._lock:
            found = self._of(claims)
            del self._sets[claims]  # one call gets it, of any that come at once
            found.close()

    def has(self, number: int) -> bool:
        """Tell whether a set with that number is open."""
        return number in self._sets

    def shut(self, number: int) -> None:
        """Close a set that its client does not know, if it is open: it is empty."""
        with contextlib.suppress(Error):  # it was closed meanwhile
            self.claims_close(number)

    def close(self) -> None:
        """Release all, and open none any more: a call may come late."""
        with self._lock:
            self._closed = True
            while self._sets:
                self._sets.popitem()[1].close()

    def _of(self, number: int) -> ClaimSet:
        """Return a set, for a call that holds the lock: a set is used by one call at a time."""
        found = self._sets.get(number)
        if found is None:
            raise InvalidArgument(f"there is no set of claims {number}", operation="claim")
        return found
