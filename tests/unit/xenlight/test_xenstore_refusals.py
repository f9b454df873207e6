"""What comes of a request that xenstored refuses, against a xenstored in this process."""

from __future__ import annotations

import errno
from collections.abc import Callable

import pytest

from pyxen.backends.xenlight.xenstore import nodes
from pyxen.backends.xenlight.xenstore.connection import Connection, Verb, check_answers
from pyxen.backends.xenlight.xenstore.names import Names
from pyxen.errors import XenstoreError
from tests.unit.xenstored import HEADER, Xenstored

ASKING = {Verb.READ, Verb.DIRECTORY, Verb.GET_PERMS, Verb.IS_DOMAIN_INTRODUCED}
"""Requests that change nothing."""

LOOKS: dict[str, Callable[[Connection], object]] = {
    "a value": lambda connection: connection.read("/local/domain/7/name"),
    "names of children": lambda connection: connection.directory("/local/domain"),
    "values and names": lambda connection: nodes.look(connection, ["/local/domain/7/name"], ["/local/domain"]),
    "what dom0 owns": lambda connection: nodes.read_dom0s(connection, ["/local/domain/7/name"]),
    "devices": lambda connection: nodes.device_keys(connection, [7]),
    "who is introduced": lambda connection: nodes.introduced(connection, [7]),
    "the name of a domain": lambda connection: dict(Names(connection).of([(7, "uuid")])),
}
"""What is looked at, by what is asked for."""


@pytest.mark.parametrize(
    ("name", "number"), [(b"EACCES", errno.EACCES), (b"EWHATEVER", errno.EINVAL), (b"errorcode", errno.EINVAL)]
)
def test_a_refusal_is_an_os_error(server: Xenstored, connection: Connection, name: bytes, number: int) -> None:
    server.answer_raw = lambda *_: HEADER.pack(Verb.ERROR, 0, 0, len(name) + 1) + name + b"\0"
    answer = connection.batch([(Verb.READ, b"/a\0")])[0]
    assert isinstance(answer, OSError)
    assert answer.errno == number
    assert answer.strerror == name.decode()


@pytest.mark.parametrize("look", LOOKS)
@pytest.mark.parametrize("error", ["ENOMEM", "EIO", "ENOSPC", "EAGAIN"])
def test_a_refusal_does_not_mean_that_there_is_no_node(
    server: Xenstored, connection: Connection, look: str, error: str
) -> None:
    server.write("/local/domain/7/name", "web")
    server.introduced.add(7)
    server.refuse = lambda verb, _: error if verb in ASKING else None
    with pytest.raises(XenstoreError, match=r"^xenstore.read: /(local/domain|libxl)") as failed:
        LOOKS[look](connection)
    assert failed.value.code == -getattr(errno, error)


@pytest.mark.parametrize("look", LOOKS)
@pytest.mark.parametrize("error", ["ENOENT", "EACCES"])
def test_a_node_that_is_not_there_or_not_for_us(
    server: Xenstored, connection: Connection, look: str, error: str
) -> None:
    server.refuse = lambda verb, _: error if verb in ASKING else None
    assert LOOKS[look](connection) in (None, [], [None], [False], ([None], [[]]), {(7, "uuid"): None})


@pytest.mark.parametrize("look", LOOKS)
def test_a_refusal_that_does_not_last(server: Xenstored, connection: Connection, look: str) -> None:
    server.write("/local/domain/7/name", "web")
    server.write("/libxl/7/device/vbd/51712/backend", "/local/domain/0/backend/vbd/7/51712")
    server.introduced.add(7)
    wanted = LOOKS[look](connection)
    refused: set[tuple[Verb, str]] = set()

    def refuse_once(verb: Verb, path: str) -> str | None:
        again = (verb, path) in refused or verb not in ASKING
        refused.add((verb, path))
        return None if again else "ENOMEM"

    server.refuse = refuse_once
    assert LOOKS[look](connection) == wanted
    assert refused


def test_what_is_not_removed_is_said(
    server: Xenstored, connection: Connection, caplog: pytest.LogCaptureFixture
) -> None:
    server.refuse = lambda _, path: "EIO" if path == "/a" else "ENOENT"
    connection.remove("/a", "/b")
    [record] = caplog.records
    assert "does not remove /a" in record.getMessage()
    assert [body for _, body in server.requests] == [b"/a\0", b"/b\0", b"/a\0"]


def test_a_xenstored_that_refuses_is_there(server: Xenstored, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XENSTORED_PATH", server.path)
    server.refuse = lambda *_: "ENOMEM"
    check_answers()


@pytest.mark.parametrize(
    "verb", [Verb.TRANSACTION_START, Verb.READ, Verb.WRITE, Verb.TRANSACTION_END], ids=lambda verb: verb.name
)
@pytest.mark.parametrize("error", ["ENOMEM", "ENOSPC", "EAGAIN"])
def test_nothing_is_replaced_if_a_request_is_refused(
    server: Xenstored, connection: Connection, verb: Verb, error: str
) -> None:
    server.write("/control/shutdown", "suspend")
    server.refuse = lambda asked, _: error if asked == verb else None
    assert connection.replace("/control/shutdown", "suspend", "") is None
