"""Restart guests one after the other, each with the configuration in its file, and stop at the first that fails.

python3 examples/rolling_restart.py [--uri URI] FILE.cfg ...
"""

from __future__ import annotations

import argparse
import contextlib

import pyxen
from pyxen import DomainConfig, DomainNotFound, Host

SECONDS = 300
"""How long a guest may take to shut down."""


def restart(xen: Host, config: DomainConfig) -> None:
    """Shut a guest down if it runs, and create it again."""
    running = xen.guests.get(config.name)
    if running is not None:
        running.shutdown(timeout=SECONDS, fallback=True)
        with contextlib.suppress(DomainNotFound):  # gone already, unless on_poweroff keeps it
            running.destroy()
    domain = xen.create(config, timeout=60)
    print(f"{config.name}: restarted as domain {domain.domid}")


def main(arguments: list[str] | None = None) -> None:
    """Restart the guests of some files."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--uri", default="xenlight:///")
    parser.add_argument("files", nargs="+")
    given = parser.parse_args(arguments)
    configs = [pyxen.xlcfg.load(path) for path in given.files]  # all are read before the first guest is touched
    with pyxen.connect(given.uri) as xen:
        for config in configs:
            restart(xen, config)


if __name__ == "__main__":
    main()
