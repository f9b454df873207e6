"""The second try of tests that failed: a run names its failures, and another one runs only these.

`tools.test` uses it. A test that fails beside others on busy processors, and passes by itself, is reported as unsteady.
"""

from __future__ import annotations

import json
import os
from typing import Any

import pytest

ONLY = "PYXEN_TEST_ONLY"
"""Environment variable: the tests to run, a JSON list of their node ids."""
MARK = "[failed] "
"""What the line with the failures begins with; a JSON list follows."""


def failures(output: str) -> list[str]:
    """Return the node ids of the tests that failed in the last run of an output."""
    lines = [line for line in output.splitlines() if line.startswith(MARK)]
    found: list[str] = json.loads(lines[-1].removeprefix(MARK)) if lines else []
    return found


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave only the tests that are asked for."""
    if ONLY in os.environ:
        wanted = set(json.loads(os.environ[ONLY]))
        config.hook.pytest_deselected(items=[item for item in items if item.nodeid not in wanted])
        items[:] = [item for item in items if item.nodeid in wanted]


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Name the failures in a line for programs, unless the run was stopped: then others have not been tried at all."""
    session = terminalreporter._session
    if session.shouldstop or session.shouldfail:
        return
    reports = [report for kind in ("failed", "error") for report in terminalreporter.stats.get(kind, [])]
    if reports:
        terminalreporter.write_line(MARK + json.dumps(sorted({report.nodeid for report in reports})))
