"""The cache of stub domains: what it asks xenstored, and when."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from uuid import UUID

import pytest

from pyxen.backends.xenlight.xenstore import stubdomains
from pyxen.backends.xenlight.xenstore.connection import Connection, Verb
from pyxen.backends.xenlight.xenstore.stubdomains import Key, StubDomains
from tests.unit.xenstored import Xenstored

ONE, TWO = (1, UUID(int=1)), (2, UUID(int=2))


Look = Callable[[dict[Key, bool]], dict[Key, int]]


@pytest.fixture
def look(server: Xenstored) -> Iterator[Look]:
    """Look for stub domains among domains of which we say whether they have run."""
    connection = Connection(sockets=[server.path], devices=())
    stubs = StubDomains(connection)

    def look(domains: dict[Key, bool]) -> dict[Key, int]:
        keys = [*domains]
        return {**stubs.of(keys, lambda: range(len(keys)), lambda place: domains[keys[place]])}

    yield look
    connection.close()


def test_a_domain_that_has_run_is_asked_for_once(server: Xenstored, look: Look) -> None:
    server.write("/local/domain/1/target", "7")
    for _ in range(3):
        assert look({ONE: True, TWO: True}) == {ONE: 7}
    assert server.count(Verb.READ) == 2


def test_a_domain_that_has_not_run_is_asked_for_until_it_has(server: Xenstored, look: Look) -> None:
    assert look({ONE: False}) == {}
    server.write("/local/domain/1/target", "7")
    assert look({ONE: False}) == {ONE: 7}
    assert look({ONE: True}) == look({ONE: True}) == {ONE: 7}
    assert server.count(Verb.READ) == 3


def test_a_domain_that_does_not_run_is_not_asked_for_for_ever(
    server: Xenstored, look: Look, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert look({ONE: False}) == {}
    monkeypatch.setattr(stubdomains, "_FIRST_SECONDS", 0.0)
    server.write("/local/domain/1/target", "7")
    for _ in range(3):
        assert look({ONE: False}) == {}
    assert server.count(Verb.READ) == 1
    assert look({ONE: True}) == look({ONE: True}) == {ONE: 7}
    assert server.count(Verb.READ) == 2


def test_a_domid_that_is_used_again_is_another_domain(server: Xenstored, look: Look) -> None:
    server.write("/local/domain/1/target", "7")
    assert look({ONE: True}) == {ONE: 7}
    server.remove("/local/domain/1/target")
    assert look({(1, UUID(int=3)): True}) == {}
    assert look({ONE: True}) == {}


def test_what_cannot_be_a_stub_domain_is_not_asked_for(server: Xenstored) -> None:
    connection = Connection(sockets=[server.path], devices=())
    stubs = StubDomains(connection)
    server.write("/local/domain/1/target", "7")
    for _ in range(2):
        assert stubs.of([ONE, TWO], lambda: [1], lambda _: True) == {}
    assert server.count(Verb.READ) == 1
    connection.close()


def test_domains_that_are_gone_are_forgotten(server: Xenstored, look: Look) -> None:
    server.write("/local/domain/1/target", "7")
    assert look({ONE: True, TWO: True}) == {ONE: 7}
    assert look({TWO: True}) == {}
    assert look({}) == {}
    assert look({ONE: True}) == {ONE: 7}
    assert server.count(Verb.READ) == 3
