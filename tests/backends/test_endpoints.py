"""What a program can connect to in a domain."""

from __future__ import annotations

import pytest

from pyxen import ConsoleType, DomainNotFound, Endpoints, Feature, Host
from tests.backends.support import Make, wait_until


@pytest.mark.needs(Feature.ENDPOINTS)
def test_the_endpoints_of_a_guest(host: Host, make: Make) -> None:
    domain = make("web1")
    if host.supports(Feature.CONSOLE):
        wait_until(lambda: domain.endpoints().consoles)
    found = domain.endpoints()
    assert isinstance(found, Endpoints)
    assert (found.vnc, found.spice, found.channels) == (None, None, ())
    for console in found.consoles:
        assert (console.type, console.number) == (ConsoleType.PV, 0)
        assert console.path.startswith("/dev/pts/")
    assert len(found.consoles) <= 1
    domain.destroy()
    with pytest.raises(DomainNotFound):
        domain.endpoints()
