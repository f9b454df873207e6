"""In dom0: create and destroy sixteen minimal PVH guests, one after the other and at once, with pyxen and with ``xl``.

Prints a line of JSON.
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pyxen
from benchmarks.create_destroy import XL_CONFIG, run
from benchmarks.measure import clocked, take_turns
from benchmarks.python.create_destroy import CONFIG
from pyxen import Domain, DomainConfig, Host

ROUNDS = 5
GUESTS = 16
WORKERS = 2  # the lab has two CPUs
XL_AT_ONCE = 4  # more processes at once than there is work for only get into each other's way

CONFIGS = [CONFIG.replace(name=f"bench{number}") for number in range(GUESTS)]


def main() -> int:
    """Run the benchmark."""
    with (
        tempfile.TemporaryDirectory() as folder,
        pyxen.connect() as one,
        pyxen.connect(workers=WORKERS) as several,
        ThreadPoolExecutor(GUESTS) as threads,
        ThreadPoolExecutor(XL_AT_ONCE) as few_threads,
    ):
        files = [_file(Path(folder), config) for config in CONFIGS]
        names = [config.name for config in CONFIGS]

        def create(file: Path) -> None:
            run("xl", "create", "-q", "-p", str(file))

        def destroy(name: str) -> None:
            run("xl", "destroy", name)

        contenders: dict[str, Callable[[], tuple[float, ...]]] = {
            "one": lambda: _pyxen(one, map),
            "at_once": lambda: _pyxen(one, threads.map),
            "workers": lambda: _pyxen(several, threads.map),
            "xl": lambda: _both(lambda: list(map(create, files)), lambda: list(map(destroy, names))),
            "xl_at_once": lambda: _both(
                lambda: list(few_threads.map(create, files)), lambda: list(few_threads.map(destroy, names))
            ),
        }
        times = take_turns(contenders, ROUNDS)
    print(json.dumps(times))
    return 0


def _file(folder: Path, config: DomainConfig) -> Path:
    file = folder / f"{config.name}.cfg"
    file.write_text(XL_CONFIG.replace('"bench"', f'"{config.name}"'))
    return file


def _pyxen(host: Host, each: Callable[..., Iterable[Any]]) -> tuple[float, ...]:
    domains: list[Domain] = []
    return _both(
        lambda: domains.extend(each(lambda config: host.create(config, paused=True), CONFIGS)),
        lambda: list(each(Domain.destroy, domains)),
    )


def _both(create: Callable[[], object], destroy: Callable[[], object]) -> tuple[float, ...]:
    return clocked(create) + clocked(destroy)


if __name__ == "__main__":
    sys.exit(main())
