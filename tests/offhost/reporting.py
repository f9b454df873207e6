"""The plugin of the pytest that runs tests on a pretended host: it reports to the one that began it (processes.py)."""

from __future__ import annotations

import json
import os
import sys

import pytest

_REPORTS = os.fdopen(int(os.environ["PYXEN_OFFHOST_REPORTS"]), "w")
os.set_inheritable(_REPORTS.fileno(), False)
_GO = os.fdopen(os.dup(0), "rb")
os.set_inheritable(_GO.fileno(), False)


def _say(data: object) -> None:
    _REPORTS.write(json.dumps(data) + "\n")
    _REPORTS.flush()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> object:
    """Wait for the word to go on; afterwards, say that it is done."""
    if not _GO.readline():
        item.session.shouldstop = "nobody waits for more"
        sys.exit(0)
    outcome = yield
    _say({"finished": item.nodeid})
    return outcome


class _Reporter:
    def __init__(self, config: pytest.Config) -> None:
        self._config = config

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Report."""
        _say(self._config.hook.pytest_report_to_serializable(config=self._config, report=report))


def pytest_configure(config: pytest.Config) -> None:
    """Begin to report."""
    config.pluginmanager.register(_Reporter(config), "offhost-reporter")
