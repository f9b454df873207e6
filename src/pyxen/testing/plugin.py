"""For pytest, which loads this by itself: the fixture ``xen_host``. It loads nothing else until a test asks for it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pyxen.testing.fakehost import FakeHost

__all__ = ["xen_host"]


@pytest.fixture
def xen_host() -> Iterator[FakeHost]:
    """A `pyxen.testing.FakeHost`, new for each test; `pyxen.connect` leads there too, whatever URI it gets."""
    from pyxen.testing.fakehost import FakeHost

    with FakeHost() as fake, fake.standing_in():
        yield fake
