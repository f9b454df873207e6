"""libvirt's schemas and test documents as fixtures. What is missing is an error of the test, never a skip."""

from __future__ import annotations

import pytest

from tests.oracle.libvirt.schemas import RELEASES, Schema


@pytest.fixture(scope="session", params=list(RELEASES))
def schema(request: pytest.FixtureRequest) -> Schema:
    """Libvirt's schema of domains, of each release in turn."""
    return Schema(request.param)
