"""In dom0: how long after ``xl destroy`` begins its event is read in Python, and when ``xl destroy`` itself ends.

Prints a line of JSON: for each round, the seconds from the start of ``xl destroy`` until `xenstored` says that some
domain is gone, until pyxen's `DomainDestroyed` is read, and until ``xl destroy`` has ended.
"""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from queue import SimpleQueue
from typing import Any, Self

import pyxen
from benchmarks.create_destroy import run
from benchmarks.python.create_destroy import CONFIG
from pyxen import DomainDestroyed, EventReader, Host

ROUNDS = 20
_PATIENCE = 60.0  # seconds for what a destroy brings about


def main() -> int:
    """Run the benchmark."""
    with pyxen.connect() as host, Releases() as releases, host.events(DomainDestroyed) as events:
        rounds = [one_round(host, releases, events) for _ in range(ROUNDS + 1)][1:]
    print(json.dumps({name: [times[name] for times in rounds] for name in rounds[0]}))
    return 0


class Releases:
    """When xenstored says, to whoever watches, that a domain is gone: the earliest that anybody can know."""

    def __init__(self) -> None:
        self.times: SimpleQueue[float] = SimpleQueue()
        self._process = subprocess.Popen(["xenstore-watch", "@releaseDomain"], stdout=subprocess.PIPE)
        self._thread = threading.Thread(target=self._read)

    def __enter__(self) -> Self:
        self._thread.start()
        self.times.get(timeout=_PATIENCE)  # it says so once when the watch is set
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._thread.join(_PATIENCE)
        self._process.wait(_PATIENCE)

    def _read(self) -> None:
        assert self._process.stdout is not None
        for _ in self._process.stdout:
            self.times.put(time.perf_counter())

    def after(self, start: float) -> float:
        """Return the first time after a moment, and forget the earlier ones."""
        while (moment := self.times.get(timeout=_PATIENCE)) < start:
            pass
        return moment


def one_round(host: Host, releases: Releases, events: EventReader[Any]) -> dict[str, float]:
    """Let xl destroy a domain, and return when what was seen."""
    host.create(CONFIG, paused=True)
    seen: list[float] = []

    def read() -> None:
        next(events)
        seen.append(time.perf_counter())

    reading = threading.Thread(target=read)
    reading.start()
    time.sleep(0.5)  # until all that the create has stirred up is over
    start = time.perf_counter()
    run("xl", "destroy", CONFIG.name)
    end = time.perf_counter()
    reading.join(_PATIENCE)
    return {"xenstored": releases.after(start) - start, "event": seen[0] - start, "xl": end - start}


if __name__ == "__main__":
    sys.exit(main())
