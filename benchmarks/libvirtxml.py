"""How fast libvirt's XML is read and written: ``python -m benchmarks.libvirtxml`` from the top of the checkout.

The measure is lxml's bare parse of the same document in the same run.
"""

from __future__ import annotations

import timeit
from collections.abc import Callable
from pathlib import Path

from pyxen import libvirtxml
from pyxen.libvirtxml.text import parse_tree

TEXT = (Path(__file__).parent / "web1.xml").read_text()
MOST_MICROSECONDS = {"libvirtxml.loads": 350, "libvirtxml.dumps": 350, "libvirtxml.patch": 700}
ROUNDS = 100
"""Many short ones: on a busy machine some of them are undisturbed."""


def best(call: Callable[[], object], number: int = 20) -> float:
    """Return the seconds of one call, the best of several rounds."""
    return min(timeit.repeat(call, number=number, repeat=ROUNDS)) / number


def main() -> int:
    """Print the figures; return 1 if one is over its limit."""
    config = libvirtxml.loads(TEXT)
    larger = config.replace(memory=3072)
    reference = best(lambda: parse_tree(TEXT))
    figures = [
        ("lxml's parse", reference),
        ("libvirtxml.loads", best(lambda: libvirtxml.loads(TEXT))),
        ("libvirtxml.dumps", best(lambda: libvirtxml.dumps(config))),
        ("… on_loss='ignore'", best(lambda: libvirtxml.dumps(config, on_loss="ignore"))),
        ("libvirtxml.patch", best(lambda: libvirtxml.patch(TEXT, larger), 10)),
    ]
    print(f"a document of {len(TEXT.splitlines())} lines")
    failed = False
    for name, seconds in figures:
        limit = MOST_MICROSECONDS.get(name)
        microseconds = seconds * 1e6
        failed |= limit is not None and microseconds > limit
        most = f"  (at most {limit})" if limit else ""
        print(f"{name:20} {microseconds:8.1f} us  {seconds / reference:6.1f} times{most}")
    return 1 if failed else 0


if __name__ == "__main__":
    raise SystemExit(main())
