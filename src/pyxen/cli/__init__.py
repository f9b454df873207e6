"""The command ``pyxen``, which needs an extra: ``pip install 'pyxen[cli]'``."""

from __future__ import annotations

import sys

__all__ = ["main"]

_OF_THE_EXTRA = ("typer", "rich", "click")


def main() -> int:
    """Run the command with the arguments of this process; return its exit status."""
    try:
        from pyxen.cli.app import app
    except ModuleNotFoundError as error:
        if error.name not in _OF_THE_EXTRA:
            raise
        sys.stderr.write(f"pyxen: the command needs {error.name}, which is not installed: pip install 'pyxen[cli]'\n")
        return 2
    app()
    return 0
