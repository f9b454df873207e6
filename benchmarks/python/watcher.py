"""A program that holds a host's domains, reads its events and, with ``supervise``, supervises it.

``python3 -m benchmarks.python.watcher FOLDER [supervise]``; FOLDER has pyxen's extension. It prints a line when it is
ready. For each line of input it prints a line of JSON: the events so far by their kinds, and the seconds of CPU time
that it has had. If the line is ``list``, it lists, and tells the number of domains and the memory that it shares with
none.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
import threading
import time
from collections import Counter
from typing import Any

import pyxen
import pyxen.backends.xenlight.libxl
from benchmarks.supervising import private_bytes


def main() -> None:
    """Answer each line."""
    folder, *options = sys.argv[1:]
    pyxen.backends.xenlight.libxl.__path__.append(folder)
    with contextlib.ExitStack() as stack:
        host = stack.enter_context(pyxen.connect())
        if "supervise" in options:
            stack.enter_context(pyxen.Supervisor(host))
        events = stack.enter_context(host.events())
        counts: Counter[str] = Counter()

        def read() -> None:
            for event in events:
                counts[type(event).__name__] += 1

        threading.Thread(target=read).start()
        domains = host.list()
        print(len(domains), flush=True)
        for line in sys.stdin:
            said: dict[str, Any] = {"events": counts, "cpu": time.process_time()}
            if line == "list\n":
                domains = host.list()
                said |= {"domains": len(domains), "memory": private_bytes(os.getpid())}
            print(json.dumps(said), flush=True)


if __name__ == "__main__":
    main()
