"""``python -m pyxen``, the same as the command ``pyxen``."""

from __future__ import annotations

import sys

from pyxen.cli import main

if __name__ == "__main__":
    sys.exit(main())
