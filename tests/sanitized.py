"""A plugin of pytest: the extension is the one that ``make sanitize`` has compiled."""

from __future__ import annotations

import pytest

import pyxen.backends.xenlight.libxl
from tools.sanitize import FOLDER


def pytest_configure() -> None:
    """Let pyxen find it before the one that is installed."""
    pyxen.backends.xenlight.libxl.__path__.insert(0, str(FOLDER))


def pytest_report_header() -> str:
    """Say which one it is; loading another one is an error."""
    from pyxen.backends.xenlight.libxl import binding

    if not binding.file.startswith(str(FOLDER)):
        pytest.exit(f"the extension is {binding.file}, which has no sanitizers", 1)
    return f"extension: {binding.file}"
