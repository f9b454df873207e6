"""Names of domains, read from xenstore as seldom as can be.

A name is read when its domain is first seen. When it is seen again, its node is watched, and from then on the name is
only read after it changed: the second and later lists cost one round trip, however many domains there are. What a
watch reports arrives before the answer to any later request on the same connection, so no change is ever missed.
"""

from __future__ import annotations

import errno
from collections.abc import Iterable
from uuid import UUID

from pyxen.backends.xenlight.xenstore.connection import Connection, Request, Verb

__all__ = ["Names"]

Key = tuple[int, UUID]
"""Domids are reused: only with its uuid does one name a domain."""


class Names:
    """The names of domains, over one connection to xenstore. One thread at a time."""

    def __init__(self, xenstore: Connection) -> None:
        self._xenstore = xenstore
        self._names: dict[Key, str | None] = {}
        self._watched: dict[Key, bool] = {}  # every domain that was seen, and whether its name is watched
        self._generation = xenstore.generation

    def of(self, domains: Iterable[Key]) -> dict[Key, str | None]:
        """Return the names of these domains, which must be all that there are; None for one without a name."""
        present = dict.fromkeys(domains)
        self._start_anew_if_broken()
        self._forget_gone(present)
        self._drop_changed()
        seen_again = [key for key in present if self._watched.get(key) is False]
        unknown = [key for key in present if key not in self._names or self._watched[key] is False]
        self._read(seen_again, unknown)
        return {key: self._names[key] for key in present}

    def _start_anew_if_broken(self) -> None:
        self._xenstore.ensure_open()
        if self._generation != self._xenstore.generation:
            self._names.clear()
            self._watched.clear()
            self._generation = self._xenstore.generation

    def _read(self, to_watch: list[Key], to_read: list[Key]) -> None:
        watches: list[Request] = [(Verb.WATCH, f"{_path(key)}\0{key[0]}\0".encode()) for key in to_watch]
        reads: list[Request] = [(Verb.READ, f"{_path(key)}\0".encode()) for key in to_read]
        answers = self._xenstore.batch(watches + reads)
        for key, answer in zip(to_read, answers[len(watches) :], strict=True):
            self._names[key] = None if isinstance(answer, OSError) else answer.decode(errors="replace")
            self._watched.setdefault(key, False)
        for key, answer in zip(to_watch, answers, strict=False):
            # Refused where a quota of watches is used up: then the name is read each time.
            self._watched[key] = not isinstance(answer, OSError) or answer.errno == errno.EEXIST
            # A new watch reports once at once, and that is before the name was read.
            first = next((event for event in self._xenstore.events if event[1] == str(key[0])), None)
            if first is not None:
                self._xenstore.events.remove(first)

    def _drop_changed(self) -> None:
        """Forget the names whose nodes changed since the last time."""
        if any(self._watched.values()):
            self._xenstore.batch([(Verb.GET_DOMAIN_PATH, b"0\0")])
        changed = {token for _, token in self._xenstore.events}
        for key in [key for key in self._names if str(key[0]) in changed]:
            del self._names[key]
        self._xenstore.events.clear()  # only now: Ctrl-C may come between any two lines

    def _forget_gone(self, present: dict[Key, None]) -> None:
        unwatch: list[Request] = []
        for key in [key for key in self._watched if key not in present]:
            self._names.pop(key, None)
            if self._watched.pop(key):
                unwatch.append((Verb.UNWATCH, f"{_path(key)}\0{key[0]}\0".encode()))
        self._xenstore.batch(unwatch)


def _path(key: Key) -> str:
    return f"/local/domain/{key[0]}/name"
