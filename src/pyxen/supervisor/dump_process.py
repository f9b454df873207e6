"""The process that writes one core dump: ``python -m pyxen.supervisor.dump_process DOMID UUID FILE``.

The URI of the host is the line at its standard input.
"""

from __future__ import annotations

import sys
from uuid import UUID

from pyxen.connection import connect
from pyxen.errors import Error
from pyxen.supervisor.core_dump import DONE

__all__ = ["main"]


def main(domid: str, uuid: str, path: str) -> int:
    """Write the dump, report success on standard output or an error on standard error, and return the exit status."""
    try:
        with connect(sys.stdin.readline().rstrip("\n"), workers=0) as host:
            domain = host.domains.get(int(domid))
            if domain is None or domain.uuid != UUID(uuid):
                sys.stderr.write(f"domain {domid} is gone\n")
                return 1
            domain.core_dump(path)
            sys.stdout.write(DONE)
    except Error as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
