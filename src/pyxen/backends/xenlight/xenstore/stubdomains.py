"""Which domains are stub domains, read once for each domain.

libxl writes the domid of the guest that a stub domain serves into the node ``target``, after it has created the stub
domain and before it unpauses it. Only dom0 can write there. So when a domain has run, what is read once stays true, and
later lists read nothing. A domain that has not run is read for its first seconds, and then not before it runs. What
cannot be a stub domain when it is first seen is never read.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Hashable, Mapping, Sequence
from typing import Final

from pyxen.backends.xenlight.xenstore.connection import Connection
from pyxen.backends.xenlight.xenstore.nodes import read_values

__all__ = ["Key", "StubDomains", "target_node", "target_of"]

Key = tuple[int, Hashable]
"""Domids are reused, so only domid and uuid together identify a domain."""


_FIRST_SECONDS: Final = 5.0
"""How long a domain that has not run is read in each list; libxl writes the node within milliseconds."""


class StubDomains:
    """A cache of what stub domains serve, over one connection to xenstore. For one thread at a time."""

    def __init__(self, xenstore: Connection) -> None:
        self._xenstore = xenstore
        self._settled: set[Key] = set()  # domains that have run, or cannot be stub domains
        self._first_seen: dict[Key, float] = {}  # the others, with the moment
        self._stubs: dict[Key, int] = {}
        self._all_settled: Sequence[Key] = ()  # the last domains of which nothing was left to be read

    def of(
        self, domains: Sequence[Key], possible: Callable[[], Collection[int]], has_run: Callable[[int], bool]
    ) -> Mapping[Key, int]:
        """Return the stub domains, each with the domid of the guest that it serves.

        Args:
            domains: All domains.
            possible: Returns the places in `domains` of those that can be stub domains; called if one is new.
            has_run: Tells whether it has run.
        """
        if domains == self._all_settled:
            return self._stubs
        unsettled = [place for place, key in enumerate(domains) if key not in self._settled]
        self._all_settled = ()  # until all is done: what is forgotten now may come back
        if unsettled or len(self._settled) > len(domains):
            self._forget_gone({*domains})
            places = possible()
            self._settled.update(domains[place] for place in unsettled if place not in places)
            unread = [place for place in unsettled if place in places]
            self._read(domains, [place for place in unread if has_run(place) or self._is_new(domains[place])], has_run)
        else:
            self._all_settled = domains
        return self._stubs

    def _is_new(self, domain: Key) -> bool:
        now = time.monotonic()
        return now - self._first_seen.setdefault(domain, now) < _FIRST_SECONDS

    def _forget_gone(self, present: set[Key]) -> None:
        self._settled &= present
        waiting = present - self._settled
        self._first_seen = {key: moment for key, moment in self._first_seen.items() if key in waiting}
        self._stubs = {key: target for key, target in self._stubs.items() if key in present}

    def _read(self, domains: Sequence[Key], places: Sequence[int], has_run: Callable[[int], bool]) -> None:
        nodes = [target_node(domains[place][0]) for place in places]
        for place, text in zip(places, read_values(self._xenstore, nodes), strict=True):
            key, target = domains[place], target_of(text)
            self._stubs.pop(key, None)
            if target is not None:
                self._stubs[key] = target
            if has_run(place):
                self._settled.add(key)


def target_node(domid: int) -> str:
    """Return the node that a stub domain has."""
    return f"/local/domain/{domid}/target"


def target_of(text: str | None) -> int | None:
    """Return the domid that the node of a stub domain holds; None if there is none."""
    return int(text) if text is not None and text.isdecimal() else None
