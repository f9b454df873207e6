"""libvirt's schemas and test documents as fixtures. What is missing is an error of the test, never a skip."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.oracle.libvirt.schemas import RELEASES, Schema, Virsh


@pytest.fixture(scope="session", params=list(RELEASES))
def schema(request: pytest.FixtureRequest) -> Schema:
    """Libvirt's schema of domains, of each release in turn."""
    return Schema(request.param)


@pytest.fixture(scope="module", params=list(RELEASES))
def virsh(request: pytest.FixtureRequest) -> Iterator[Virsh]:
    """Libvirt's virsh with its test driver, of each release in turn."""
    with Virsh(request.param) as found:
        yield found
