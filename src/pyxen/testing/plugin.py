"""The pytest plugin, with fixtures for a `FakeHost`. It loads nothing else until a test uses one."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from pyxen import aio
    from pyxen.testing.fakehost import FakeHost

__all__ = ["aio_xen_host", "pytest_configure", "xen_host"]

_MARKER = "xen_host"


def pytest_configure(config: pytest.Config) -> None:
    """Make the marker known."""
    about = "the arguments of the FakeHost of the fixtures xen_host and aio_xen_host: time='real', memory=1024 ..."
    config.addinivalue_line("markers", f"{_MARKER}(**settings): {about}")


@pytest.fixture
def xen_host(request: pytest.FixtureRequest) -> Iterator[FakeHost]:
    """A new `pyxen.testing.FakeHost` for each test, which `pyxen.connect` also opens, for any URI.

    The marker ``xen_host`` has arguments for it. A failure that the test set up with `FakeHost.fail`, and that no call
    met, is an error.
    """
    from pyxen.testing.fakehost import FakeHost

    settings = _settings(request.node)
    try:
        host = FakeHost(**settings)
    except TypeError as error:
        pytest.fail(f"@pytest.mark.{_MARKER}: {error}", pytrace=False)
    with host as fake, fake.standing_in():
        yield fake
        if unused := fake.unused_failures:
            pytest.fail("\n".join(unused), pytrace=False)


@pytest.fixture
def aio_xen_host(xen_host: FakeHost) -> Iterator[aio.Host]:
    """The host of `xen_host` for asyncio. It needs no other plugin, and any event loop may use it."""
    import asyncio

    loop = asyncio.new_event_loop()  # only for the opening and closing
    try:
        host = loop.run_until_complete(_opened(xen_host))
        try:
            yield host
        finally:
            loop.run_until_complete(host.close())
    finally:
        loop.close()


async def _opened(fake: FakeHost) -> aio.Host:
    return await fake.aio()


def _settings(item: pytest.Item) -> dict[str, Any]:
    """Return the arguments that the markers of a test, its class and its module give; the closest one decides."""
    found: dict[str, Any] = {}
    for marker in item.iter_markers(_MARKER):
        if marker.args:
            message = f"@pytest.mark.{_MARKER} takes named arguments only, such as time='real'"
            pytest.fail(message, pytrace=False)
        found = {**marker.kwargs, **found}
    return found
