"""Streams of a guest's console."""

from __future__ import annotations

import queue
from typing import Any

import pytest

import pyxen
from pyxen import ConsoleStream, Domain, DomainNotFound, Feature, Host, InvalidArgument, NotFound, OperationTimeout
from tests.backends.support import SECONDS, Make, supporting, wait_until


def stream_of(domain: Domain, **arguments: Any) -> ConsoleStream:
    """Open the console of a guest, as soon as it is there."""
    found: list[ConsoleStream] = []

    def is_there() -> bool:
        try:
            found.append(domain.console_stream(**arguments))
        except NotFound:
            return False
        return True

    wait_until(is_there)
    return found[0]


@pytest.mark.needs(Feature.CONSOLE)
def test_a_stream_ends_with_its_domain(make: Make) -> None:
    domain = make("web1")
    with stream_of(domain, timeout=SECONDS) as stream:
        if stream.path is not None:
            assert stream.path in {console.path for console in domain.endpoints().consoles}
        domain.destroy()
        list(stream)
        assert stream.read() == b""
        assert stream.get() is None
    with pytest.raises(DomainNotFound):
        domain.console_stream()


@pytest.mark.needs(Feature.CONSOLE)
def test_the_deadline_of_a_stream(make: Make) -> None:
    with stream_of(make("web1"), timeout=0.2) as stream, pytest.raises(OperationTimeout):
        list(stream)


@pytest.mark.needs(Feature.CONSOLE)
def test_consoles_by_type_and_number(make: Make) -> None:
    domain = make("web1")
    stream_of(domain, type="pv").close()
    domain.console("pv", number=0).close()
    for which in ({"type": "serial"}, {"type": "pv", "number": 7}, {"number": 7}):
        with pytest.raises(NotFound):
            domain.console(**which)
    for bad in ({"type": "vga"}, {"number": -1}, {"number": "0"}, {"number": True}):
        with pytest.raises(InvalidArgument):
            domain.console(**bad)
        with pytest.raises(InvalidArgument):
            domain.console_stream(**bad)


def test_the_console_of_a_new_domain_is_told(host: Host, config: Make) -> None:
    told: queue.Queue[Domain] = queue.Queue()
    with supporting(host, Feature.CONSOLE):
        domain = host.create(config("web1"), on_console=told.put)
        assert told.get(timeout=SECONDS) == domain
        domain.console().close()
        domain.destroy()
        assert told.empty()
        with pytest.raises(InvalidArgument, match="on_console"):
            host.create(config("web1"), on_console="yes")  # type: ignore[arg-type]  # on purpose


def test_a_domain_that_is_not_made_has_no_console(host: Host, config: Make) -> None:
    if not host.supports(Feature.CONSOLE):
        return
    told: list[object] = []
    domain = host.create(config("web1"))
    with pytest.raises(pyxen.Error):
        host.create(config("web1"), on_console=told.append)
    assert told == []
    domain.destroy()


@pytest.mark.needs(Feature.CONSOLE_LOG)
def test_the_log_of_a_console(make: Make) -> None:
    domain = make("web1")
    path = domain.console_log()
    assert path is None or path.endswith("guest-web1.log")
    domain.destroy()
    with pytest.raises(DomainNotFound):
        domain.console_log()
