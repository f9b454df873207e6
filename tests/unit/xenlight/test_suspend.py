"""Whether a guest was asked to suspend, against a xenstored in this process; `tests/xen` has guests that are."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from pyxen.backends.xenlight.operations.suspend import Asked
from pyxen.backends.xenlight.xenstore.connection import Connection, Verb
from pyxen.errors import XenstoreQuota
from tests.unit.xenstored import Xenstored
from tests.waiting import until

ENTRY = "/local/domain/7/control/shutdown"


@pytest.fixture
def asked(server: Xenstored) -> Iterator[Asked]:
    server.write(ENTRY, "")
    asked = Asked(7, lambda: Connection(sockets=[server.path], devices=()))
    yield asked
    asked.close()


def test_not_asked(server: Xenstored, asked: Asked) -> None:
    server.write("/local/domain/8/control/shutdown", "suspend")
    assert not asked()
    assert not asked()


@pytest.mark.parametrize("values", [["suspend"], ["suspend", ""]])
def test_asked(server: Xenstored, asked: Asked, values: list[str]) -> None:
    assert not asked()
    for value in values:
        server.write(ENTRY, value)
    assert asked()
    assert asked()


def test_a_request_that_nobody_would_tell_of(server: Xenstored) -> None:
    server.most_watches = 0
    with pytest.raises(XenstoreQuota, match=ENTRY):
        Asked(7, lambda: Connection(sockets=[server.path], devices=()))
    until(lambda: server.clients() == 0, "the connection stays open")


def test_a_look_that_is_refused(server: Xenstored, asked: Asked) -> None:
    server.refuse = lambda verb, _: "ENOMEM" if verb == Verb.READ else None
    assert not asked()
    server.write(ENTRY, "suspend")
    assert asked()


def test_a_xenstored_that_is_gone(server: Xenstored, asked: Asked) -> None:
    server.close()
    assert asked()
