"""Names of domains and of CPU pools, cached to read xenstore as rarely as possible.

A name is read when its domain is first seen. When the domain is seen again, its name's node is watched. From then on,
the name is read only after it changed, so later lists cost one round trip for any number of domains. The same holds
for CPU pools.

No change is missed, since each watch event is followed by a read: the events that are pending arrive before the answer
to a request, and the names are read after that answer. This includes the event that a new watch sends at once.
xenstored does not send a second event while an equal one waits to be sent, so that first event may stand for a change
which happened after the watch was set, and even after a read that was sent along with the watch.
"""

from __future__ import annotations

import errno
from collections.abc import Iterable
from uuid import UUID

from pyxen.backends.xenlight.xenstore.connection import Connection, Request, Verb

__all__ = ["Names"]

Key = tuple[int, UUID | None]
"""Domids are reused, so only domid and uuid together identify a domain. A number without a uuid is a CPU pool's.

Numbers of pools are reused, too, but then the name's node is written again, and its watch fires.
"""


class Names:
    """A cache of domains' names, over one connection to xenstore. For one thread at a time."""

    def __init__(self, xenstore: Connection) -> None:
        self._xenstore = xenstore
        self._names: dict[Key, str | None] = {}
        self._watched: dict[Key, bool] = {}  # all that were seen, and whether their names are watched
        self._generation = xenstore.generation

    def of(self, domains: Iterable[Key]) -> dict[Key, str | None]:
        """Return the names of these domains and CPU pools, which must be all; None for one without a name."""
        present = dict.fromkeys(domains)
        self._start_anew_if_broken()
        self._forget_gone(present)
        self._catch_up([key for key in present if self._watched.get(key) is False])
        self._read([key for key in present if key not in self._names or not self._watched[key]])
        return {key: self._names[key] for key in present}

    def _start_anew_if_broken(self) -> None:
        self._xenstore.ensure_open()
        if self._generation != self._xenstore.generation:
            self._names.clear()
            self._watched.clear()
            self._generation = self._xenstore.generation

    def _catch_up(self, to_watch: list[Key]) -> None:
        """Watch these names, and drop all names that have, or may have, changed since the last call."""
        requests: list[Request] = [(Verb.WATCH, f"{_path(key)}\0{_token(key)}\0".encode()) for key in to_watch]
        if to_watch or any(self._watched.values()):
            requests.append((Verb.GET_DOMAIN_PATH, b"0\0"))
        answers = self._xenstore.batch(requests)
        for key, answer in zip(to_watch, answers, strict=False):
            # A watch is refused if the quota is used up. The name is then read each time.
            self._watched[key] = not isinstance(answer, OSError) or answer.errno == errno.EEXIST
            self._names.pop(key, None)
        changed = {token for _, token in self._xenstore.events}
        if changed:
            for key in [key for key in self._names if _token(key) in changed]:
                del self._names[key]
        self._xenstore.events.clear()  # clear last: Ctrl-C may interrupt between any two lines

    def _read(self, keys: list[Key]) -> None:
        reads: list[Request] = [(Verb.READ, f"{_path(key)}\0".encode()) for key in keys]
        answers = self._xenstore.batch(reads)
        for key, answer in zip(keys, answers, strict=True):
            self._names[key] = None if isinstance(answer, OSError) else answer.decode(errors="replace")
            self._watched.setdefault(key, False)

    def _forget_gone(self, present: dict[Key, None]) -> None:
        unwatch: list[Request] = []
        for key in [key for key in self._watched if key not in present]:
            self._names.pop(key, None)
            if self._watched.pop(key):
                unwatch.append((Verb.UNWATCH, f"{_path(key)}\0{_token(key)}\0".encode()))
        self._xenstore.batch(unwatch)


def _path(key: Key) -> str:
    return f"/local/{'pool' if key[1] is None else 'domain'}/{key[0]}/name"


def _token(key: Key) -> str:
    return f"pool-{key[0]}" if key[1] is None else str(key[0])
