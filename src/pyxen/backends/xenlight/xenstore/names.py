"""Names of domains and of CPU pools, cached to read xenstore as rarely as possible.

A name is read when its domain is first seen, and its node is watched as soon as there is room for that: a look may send
some more requests than it has names to read, so that no look takes longer than the first. When all are watched, a look
costs one round trip for any number of domains, and a name is read only after it changed. The same holds for CPU pools.

No change is missed, since each watch event is followed by a read: the events that are pending arrive before the answer
to a request, and the names are read after that answer. This includes the event that a new watch sends at once.
xenstored does not send a second event while an equal one waits to be sent, so that first event may stand for a change
which happened after the watch was set, and even after a read that was sent along with the watch.
"""

from __future__ import annotations

import errno
from collections.abc import Hashable, Iterable, Mapping
from itertools import islice

from pyxen.backends.xenlight.xenstore.connection import Connection, Request, Verb
from pyxen.errors import ConnectFailed

__all__ = ["Names"]

Key = tuple[int, Hashable | None]
"""Domids are reused, so only domid and uuid together identify a domain. A number without a uuid is a CPU pool's.

Numbers of pools are reused, too, but then the name's node is written again, and its watch fires.
"""

_SPARE = 4
"""A look may send a fourth more requests than there are names."""

_TRIES = 3  # looks in a call: one over whose requests the connection was opened again has lost its watches
_WATCH = 2  # requests that setting a watch is worth, since xenstored also sends an event
_FEW = 8  # watches that a look sets in any case


class Names:
    """A cache of domains' names, over one connection to xenstore. For one thread at a time."""

    def __init__(self, xenstore: Connection) -> None:
        self._xenstore = xenstore
        self._names: dict[Key, str | None] = {}
        self._unwatched: dict[Key, None] = {}
        self._watched: set[Key] = set()
        self._refused: set[Key] = set()  # the quota of watches is used up: these are read each time
        self._last: list[Key] | None = None
        self._generation = xenstore.generation

    def of(self, domains: Iterable[Key]) -> Mapping[Key, str | None]:
        """Return the names of these domains and CPU pools, which must be all; None for one without a name."""
        keys = list(domains)
        for _ in range(_TRIES):
            self._start_anew_if_broken()
            if keys != self._last:
                self._change_to(keys)
            self._catch_up(self._next_to_watch())
            self._read()
            if self._generation == self._xenstore.generation:
                return self._names
        raise ConnectFailed("the connection to xenstore breaks again and again: is xenstored running?")

    def _start_anew_if_broken(self) -> None:
        self._xenstore.ensure_open()
        if self._generation != self._xenstore.generation:
            for known in (self._names, self._unwatched, self._watched, self._refused):
                known.clear()
            self._last = None
            self._generation = self._xenstore.generation

    def _change_to(self, keys: list[Key]) -> None:
        """Forget what is gone, and note what is new."""
        present = dict.fromkeys(keys)
        self._last = None  # until all is done: Ctrl-C may interrupt between any two lines
        gone = [key for key in self._watched if key not in present]
        for known in (self._names, self._unwatched):
            for key in [key for key in known if key not in present]:
                del known[key]
        self._refused &= present.keys()
        for key in present:
            if key not in self._watched and key not in self._refused:
                self._unwatched[key] = None
        self._watched -= {*gone}
        self._xenstore.batch([(Verb.UNWATCH, _watch(key)) for key in gone])
        self._last = keys

    def _next_to_watch(self) -> list[Key]:
        """Return the names for whose watches there is room in this look."""
        if not self._unwatched:
            return []
        total = len(self._unwatched) + len(self._watched) + len(self._refused)
        reads = total - len(self._watched)
        room = (total + total // _SPARE - reads) // _WATCH
        return list(islice(self._unwatched, max(room, _FEW)))

    def _catch_up(self, to_watch: list[Key]) -> None:
        """Watch these names, and drop all names that have, or may have, changed since the last call."""
        requests: list[Request] = [(Verb.WATCH, _watch(key)) for key in to_watch]
        if to_watch or self._watched:
            requests.append((Verb.GET_DOMAIN_PATH, b"0\0"))
        answers = self._xenstore.batch(requests)
        for key, answer in zip(to_watch, answers, strict=False):
            # A watch is refused if the quota is used up. The name is then read each time.
            is_set = not isinstance(answer, OSError) or answer.errno == errno.EEXIST
            self._names.pop(key, None)
            (self._watched if is_set else self._refused).add(key)
            del self._unwatched[key]
        changed = {token for _, token in self._xenstore.events}
        if changed:
            for key in [key for key in self._names if _token(key) in changed]:
                del self._names[key]
        self._xenstore.events.clear()  # clear last: Ctrl-C may interrupt between any two lines

    def _read(self) -> None:
        """Read all names that are not known, or that would not be told if they changed."""
        keys = [*self._unwatched, *self._refused]
        if len(self._names) - sum(key in self._names for key in keys) < len(self._watched):
            keys += [key for key in self._watched if key not in self._names]
        if not keys:
            return
        for key, name in zip(keys, self._xenstore.read_all(*map(_path, keys)), strict=True):
            self._names[key] = name


def _path(key: Key) -> str:
    return f"/local/{'pool' if key[1] is None else 'domain'}/{key[0]}/name"


def _watch(key: Key) -> bytes:
    """Return what a request to set, or to end, the watch of a name says."""
    return f"{_path(key)}\0{_token(key)}\0".encode()


def _token(key: Key) -> str:
    return f"pool-{key[0]}" if key[1] is None else str(key[0])
