"""A server that is newer than its client: what is not known here fails its own call, and the link goes on."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any
from uuid import UUID

import msgspec
import pytest

import pyxen
from pyxen import DomainInfo, EventsLost, NodeChange, UnsupportedFeature
from pyxen.backends.base import DomainRef
from pyxen.backends.remote.backend import RemoteBackend
from pyxen.backends.remote.messages import Answer, Ask, Begun, Call, Done, Failed, Item, Reply
from pyxen.backends.remote.values import codec_of, encoded
from pyxen.events import Event
from tests.unit.remote.ends import Far, client_to, far_server, until, usual_welcome
from tests.unit.remote.test_lost_link import arguments

SOME = DomainRef(1, UUID(int=1))
NOTHING = encoded(None, codec_of(None))


def raw(value: Any) -> msgspec.Raw:
    return msgspec.Raw(msgspec.msgpack.encode(value))


def call_of(far: Far) -> Call:
    while not isinstance(message := far.hear(), Call):
        assert message is not None
    return message


def infos_with(**changes: Any) -> msgspec.Raw:
    with pyxen.connect("memory:///newer") as host:
        data = msgspec.msgpack.decode(encoded(host.list(), codec_of(list[DomainInfo])))
    return raw([{**each, **changes} for each in data])


def then_lists(far: Far) -> None:
    """Answer one more call: all else works."""
    far.say(Answer(call_of(far).id, encoded([], codec_of(list[DomainInfo]))))
    far.hear()


@pytest.mark.parametrize(
    ("verb", "answer"),
    [
        ("defined_config", lambda: raw({"name": "web1", "a_setting_of_the_future": 1})),
        ("list", lambda: infos_with(state="hibernating")),
        ("list", lambda: raw([{"domid": "x"}])),
        ("list", lambda: raw({"a": "mapping"})),
    ],
    ids=["setting", "state", "number", "mapping"],
)
def test_an_answer_that_is_not_known_here(verb: str, answer: Callable[[], msgspec.Raw]) -> None:
    """Its call fails, and says who is older; what is going on beside it is not undone."""

    def play(far: Far) -> None:
        waiting = call_of(far).id
        far.say(Begun(waiting))
        far.say(Answer(call_of(far).id, answer()), Done(waiting, NOTHING))
        then_lists(far)

    with far_server(play, welcome=usual_welcome()) as fds:
        client = client_to(*fds)
        pausing = client.begin("pause", domain=SOME)
        values: dict[str, Any] = {"uuid": SOME.uuid} if verb == "defined_config" else {}
        with pytest.raises(UnsupportedFeature, match=rf"{verb}: pyxen .* here is older.*update it"):
            client.ask(verb, **values)
        assert pausing.result(10) is None
        assert client.ask("list") == []
        client.close()


def test_an_answer_with_more_fields_is_understood() -> None:
    def play(far: Far) -> None:
        far.say(Answer(call_of(far).id, infos_with(a_field_of_the_future=[1])))
        far.hear()

    with far_server(play, welcome=usual_welcome()) as fds:
        client = client_to(*fds)
        assert [info.name for info in client.ask("list")] == ["Domain-0"]
        client.close()


def test_a_result_that_is_not_known_here() -> None:
    def play(far: Far) -> None:
        number = call_of(far).id
        far.say(Begun(number), Done(number, raw({"a": "mapping"})))
        then_lists(far)

    with far_server(play, welcome=usual_welcome()) as fds:
        client = client_to(*fds)
        with pytest.raises(UnsupportedFeature, match=r"pause: pyxen .* here is older"):
            client.begin("pause", domain=SOME).result(10)
        assert client.ask("list") == []
        client.close()


def test_events_that_are_not_known_here_count_as_lost(caplog: pytest.LogCaptureFixture) -> None:
    """The log says once why."""

    def play(far: Far) -> None:
        number = call_of(far).id
        far.say(Answer(number, NOTHING))
        far.say(*[Item(number, raw(["DomainMelted", {"domid": 1}]))] * 2)
        then_lists(far)

    got: list[Event] = []
    with far_server(play, welcome=usual_welcome()) as fds:
        client = client_to(*fds)
        backend = RemoteBackend(client, "xenlight+ssh://there/")
        stop = backend.subscribe(got.append, lambda: None)
        until(lambda: len(got) == 2)
        assert [event.count for event in got if isinstance(event, EventsLost)] == [1, 1]
        assert client.ask("list") == []
        stop()
        client.close()
    assert [record.message for record in caplog.records if "DomainMelted" in record.message] != []
    assert len([record for record in caplog.records if "older" in record.message]) == 1


def test_changes_that_are_not_known_here_mark_all_paths() -> None:
    def play(far: Far) -> None:
        number = call_of(far).id
        far.say(Answer(number, NOTHING), Item(number, raw({"an": "other"})))
        far.hear()

    got: list[NodeChange] = []
    with far_server(play, welcome=usual_welcome()) as fds:
        client = client_to(*fds)
        backend = RemoteBackend(client, "xenlight+ssh://there/")
        backend.xenstore().watch(["/a", "/b"], got.append, lambda: None)
        until(lambda: len(got) == 2)
        assert got == [NodeChange(path, path, lost=True) for path in ("/a", "/b")]
        client.close()


def test_a_configuration_that_is_not_known_here_is_not_allowed() -> None:
    """Nobody here can judge it: the domain is refused, and the call says why."""
    replies: list[Reply] = []
    heard = threading.Event()

    def play(far: Far) -> None:
        number = call_of(far).id
        far.say(Begun(number), Ask(number, raw({"name": "web1", "a_setting_of_the_future": 1})))
        while not isinstance(message := far.hear(), Reply):
            assert message is not None
        replies.append(message)
        heard.set()
        assert message.failure is not None
        far.say(Failed(number, message.failure))
        then_lists(far)

    with far_server(play, welcome=usual_welcome()) as fds:
        client = client_to(*fds)
        values = {key: value for key, value in arguments("restore").items() if key != "allow"}
        restoring = client.begin("restore", allow=lambda _: True, **values)
        with pytest.raises(UnsupportedFeature, match=r"restore: pyxen .* here is older"):
            restoring.result(10)
        assert heard.is_set()
        assert not replies[0].allowed
        assert client.ask("list") == []
        client.close()
