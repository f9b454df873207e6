"""One target under libFuzzer, in a process of its own: ``python -m tests.fuzz.one TARGET [libFuzzer's arguments]``."""

from __future__ import annotations

import sys

import atheris

with atheris.instrument_imports(include=["pyxen"], enable_loader_override=False):
    from tests.fuzz import targets

    for name in ("_common.savefile", "xlcfg.codec", "xlcfg.linter", "xlcfg.document"):
        __import__(f"pyxen.{name}")


def main() -> None:
    """Fuzz; libFuzzer ends the process."""
    target = targets.TARGETS[sys.argv[1]]
    atheris.Setup([sys.argv[0], *sys.argv[2:]], target)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
