"""Surroundings that all tests have."""

from __future__ import annotations

import signal

import pytest
from hypothesis import HealthCheck, settings

# Examples of the documentation have no settings of their own, and a busy machine is no fault of theirs.
settings.register_profile("pyxen", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("pyxen")


@pytest.fixture(scope="session", autouse=True)
def ctrl_c() -> None:
    """Let SIGINT raise KeyboardInterrupt: a process that a shell began in the background ignores it."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
