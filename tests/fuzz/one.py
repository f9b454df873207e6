"""One target under libFuzzer, in a process of its own: ``python -m tests.fuzz.one TARGET [libFuzzer's arguments]``."""

from __future__ import annotations

import sys

import atheris

with atheris.instrument_imports(include=["pyxen"], enable_loader_override=False):
    import pyxen.xlcfg.codec
    import pyxen.xlcfg.document
    import pyxen.xlcfg.linter  # noqa: F401 (the package loads these three when they are used, without instruments)
    from tests.fuzz.targets import TARGETS


def main() -> None:
    """Fuzz; libFuzzer ends the process."""
    atheris.Setup([sys.argv[0], *sys.argv[2:]], TARGETS[sys.argv[1]])
    atheris.Fuzz()


if __name__ == "__main__":
    main()
