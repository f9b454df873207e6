"""A host whose time is virtual."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from pyxen.testing import FakeHost


@pytest.fixture
def fake() -> Iterator[FakeHost]:
    """A host for the test alone."""
    with FakeHost() as fake:
        yield fake
