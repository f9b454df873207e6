"""Print what happens to the domains of a host, a line of JSON for each event.

python3 examples/watch_events.py [URI]
"""

from __future__ import annotations

import json
import sys
from typing import Any

import pyxen
from pyxen import DomainShutdown, Event, EventsLost, Host


def as_json(event: Event) -> str:
    """Return an event as a line of JSON."""
    said: dict[str, Any] = {
        "time": event.time.isoformat(timespec="milliseconds"),
        "event": type(event).__name__,
        "domid": event.domid,
        "name": event.name,
    }
    if isinstance(event, DomainShutdown):
        said["reason"] = str(event.reason)
    if isinstance(event, EventsLost):
        said["count"] = event.count
    return json.dumps(said)


def watch(xen: Host) -> None:
    """Print events until the host is closed, or until Ctrl-C."""
    with xen.events() as events:
        for event in events:
            print(as_json(event), flush=True)


def main(uri: str = "xenlight:///") -> None:
    """Watch a host."""
    with pyxen.connect(uri) as xen:
        watch(xen)


if __name__ == "__main__":
    main(*sys.argv[1:])
