"""An event loop for a test, whose libxl is the test."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from pyxen.backends.xenlight.libxl.log import LogSink
from tests.unit.xenlight.paced import PacedPump


@pytest.fixture
def sink() -> Iterator[LogSink]:
    sink = LogSink()
    yield sink
    sink.free()


@pytest.fixture
def event_loop(sink: LogSink) -> Iterator[PacedPump]:
    event_loop = PacedPump(sink)
    wake = event_loop._wake
    yield event_loop
    event_loop.close()
    os.close(wake)
