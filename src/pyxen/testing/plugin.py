"""The pytest plugin, with the fixture ``xen_host``. It loads nothing else until a test uses it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pyxen.testing.fakehost import FakeHost

__all__ = ["xen_host"]


@pytest.fixture
def xen_host() -> Iterator[FakeHost]:
    """A new `pyxen.testing.FakeHost` for each test, which `pyxen.connect` also opens, for any URI."""
    from pyxen.testing.fakehost import FakeHost

    with FakeHost() as fake, fake.standing_in():
        yield fake
