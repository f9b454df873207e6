"""Surroundings that all tests have."""

from __future__ import annotations

import os
import signal

import pytest
from hypothesis import HealthCheck, settings

# A busy machine is no fault of a test. Two runs of the same code try the same examples, so that a failure belongs to
# the change that it is seen with; `make fuzz` looks for new ones.
settings.register_profile(
    "pyxen",
    deadline=None,
    derandomize="PYXEN_RANDOM" not in os.environ,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("pyxen")


@pytest.fixture(scope="session", autouse=True)
def ctrl_c() -> None:
    """Let SIGINT raise KeyboardInterrupt: a process that a shell began in the background ignores it."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
