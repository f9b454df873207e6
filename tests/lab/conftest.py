"""The lab's own tests: they run on this machine and look into dom0 through the lab's interface."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from lab import Lab

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="module")
def dom0() -> Iterator[Lab]:
    """A dom0 of the default release, shared by the tests of a module."""
    with Lab() as lab:
        yield lab


@pytest.fixture(scope="module", params=["4.20", "4.17"])
def any_dom0(request: pytest.FixtureRequest) -> Iterator[Lab]:
    """A dom0 of each release in turn, shared by the tests of a module."""
    with Lab(xen=request.param) as lab:
        yield lab
