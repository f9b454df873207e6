"""Check configurations before they reach a host: what xl would misread, and what libvirt could not say. Needs no Xen.

python3 examples/check_configs.py FILE.cfg ...
"""

from __future__ import annotations

import sys
from pathlib import Path

import pyxen
from pyxen import ConfigError


def check(path: Path, xen: str = "4.20") -> list[str]:
    """Return what is wrong with a file."""
    text = path.read_text(errors="surrogateescape")
    wrong = [f"{path}:{found}" for found in pyxen.xlcfg.lint(text, xen) if found.severity != "note"]
    try:
        config = pyxen.xlcfg.loads(text, on_loss="ignore")  # lint says what xl ignores
    except ConfigError:
        return wrong  # lint has said why
    wrong += [f"{path}: {problem.path}: {problem.message}" for problem in config.problems()]
    wrong += [f"{path}: lost in libvirt's XML: {loss}" for loss in pyxen.libvirtxml.losses(config)]
    return wrong


def main(*paths: str) -> int:
    """Check files; the exit status is 1 if anything is wrong."""
    wrong = [line for path in paths for line in check(Path(path))]
    print("\n".join(wrong) or f"{len(paths)} files are fine")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
