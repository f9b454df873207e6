"""The oracles as fixtures. One that is missing is an error of the test, never a skip."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests import hypothesis_profile
from tests.oracle.setup import RELEASES
from tests.oracle.xl import XlOracle
from tests.oracle.xlu import XluOracle

hypothesis_profile.load()


@pytest.fixture(scope="session", params=list(RELEASES))
def xl(request: pytest.FixtureRequest) -> Iterator[XlOracle]:
    """The real xl, of each Xen release in turn."""
    with XlOracle(request.param) as oracle:
        yield oracle


@pytest.fixture(scope="session", params=list(RELEASES))
def xlu(request: pytest.FixtureRequest) -> Iterator[XluOracle]:
    """The real libxlutil, of each Xen release in turn."""
    with XluOracle(request.param) as oracle:
        yield oracle
