"""Tests that the emulated machine has spoilt are tried once more.

Now and then QEMU kills a guest, mostly one whose writes Xen logs: by a triple fault, which nothing else in these tests
brings about. Xen writes that to its log. So a test that fails beside such a guest says nothing, and its second
try decides.

A `conftest.py` that imports the two hooks has this; its fixture ``xen_log`` must be there for every test.
"""

from __future__ import annotations

import contextlib
import re
from typing import Any

import pytest
from _pytest.runner import runtestprotocol

__all__ = ["pytest_runtest_makereport", "pytest_runtest_protocol", "triple_faults"]

_TAIL = 40  # lines
_MOVES = re.compile(r"\bHVM.* (save|restore)")  # a line for each part of a guest that is saved
_SPOILT = pytest.StashKey[set[int]]()


def triple_faults(log: str) -> set[int]:
    """Return the domains that ended so, by their domids, from Xen's log."""
    return {int(domid) for domid in re.findall(r"\bd(\d+)v\d+ Triple fault", log)}


def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[Any]) -> None:
    """When a test has failed, see whether a guest was killed; nobody has tidied up yet."""
    if call.when == "call" and call.excinfo is not None and isinstance(item, pytest.Function):
        given: dict[str, Any] = item.funcargs
        with contextlib.suppress(Exception):  # where the host is gone, the test's own failure is the news
            log = given["xen_log"]()
            told = [line for line in log.splitlines() if not _MOVES.search(line)]
            item.add_report_section("call", "Xen's log", "\n".join(told[-_TAIL:]))
            item.stash[_SPOILT] = triple_faults(log) & {domain.domid for domain in given["host"].domains}


def _limit(item: pytest.Item) -> None:
    """Give the second try a time limit of its own: pytest-timeout's has gone off, or is used up, by the first."""
    plugin: Any = item.config.pluginmanager.get_plugin("timeout")
    settings = plugin._get_item_settings(item)  # there is no public way to them
    if settings.timeout:
        item.ihook.pytest_timeout_cancel_timer(item=item)
        item.ihook.pytest_timeout_set_timer(item=item, settings=settings)


def pytest_runtest_protocol(item: pytest.Item, nextitem: pytest.Item | None) -> bool:
    """Run a test, and if it was spoilt once more."""
    item.ihook.pytest_runtest_logstart(nodeid=item.nodeid, location=item.location)
    reports = runtestprotocol(item, log=False, nextitem=nextitem)
    spoilt = item.stash.get(_SPOILT, None)
    if spoilt:
        writer = item.config.get_terminal_writer()
        writer.line(f"\n{item.nodeid} is tried once more: the emulated machine has killed domain {min(spoilt)}")
        _limit(item)
        reports = runtestprotocol(item, log=False, nextitem=nextitem)
    for report in reports:
        item.ihook.pytest_runtest_logreport(report=report)
    item.ihook.pytest_runtest_logfinish(nodeid=item.nodeid, location=item.location)
    return True
