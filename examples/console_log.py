"""Write what a guest prints on its console to a file, each line with its time.

python3 examples/console_log.py NAME FILE [URI]
"""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from pathlib import Path

import pyxen
from pyxen import Host


def follow(xen: Host, name: str, path: Path) -> None:
    """Append the lines of a guest's console to a file until the guest is gone."""
    with path.open("a") as log, xen.domains[name].console_stream() as console:
        for line in console:
            now = datetime.now(UTC).isoformat(timespec="milliseconds")
            # A guest decides what it prints: repr keeps control characters out of the file.
            log.write(f"{now} {repr(line)[1:-1]}\n")
            log.flush()


def main(name: str, path: str, uri: str = "xenlight:///") -> None:
    """Follow one guest."""
    with pyxen.connect(uri) as xen:
        follow(xen, name, Path(path))


if __name__ == "__main__":
    main(*sys.argv[1:])
