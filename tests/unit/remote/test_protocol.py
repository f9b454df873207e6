"""The two ends of a link, with each other and with peers that mean no good."""

from __future__ import annotations

import os
import random
import struct
import threading
import time
from functools import partial
from typing import Any, Final
from uuid import UUID

import msgspec
import pytest

import pyxen
from pyxen import (
    Channel,
    ConnectFailed,
    Disk,
    DomainConfig,
    DomainNotFound,
    Error,
    InvalidArgument,
    Loss,
    LossyConversion,
    OperationFailed,
    OperationTimeout,
    ParseError,
    QmpError,
    UnsupportedFeature,
    ValidationError,
    XenstoreError,
    errors,
)
from pyxen.backends.base import DomainRef
from pyxen.backends.remote import link
from pyxen.backends.remote.failures import error_of, failure_of
from pyxen.backends.remote.messages import (
    GREETING,
    MOST_CALLS,
    MOST_FRAME,
    PROTOCOL,
    WINDOW,
    Answer,
    Ask,
    Begun,
    Call,
    Credit,
    Data,
    Done,
    Failed,
    FromClient,
    Hello,
    Item,
    Progress,
    Refused,
    Snap,
    Welcome,
)
from pyxen.backends.remote.streams import pair
from pyxen.backends.remote.values import Malformed, codec_of, decoded, encoded
from pyxen.backends.remote.verbs import VERBS, verb_of
from tests.unit.remote.ends import SECONDS, Far, client_to, far_client, far_server, served, until, usual_welcome

CONFIG: Final = DomainConfig("web1", type="pvh", kernel="/boot/vmlinuz", memory=64)


def raw(value: Any) -> msgspec.Raw:
    return msgspec.Raw(msgspec.msgpack.encode(value))


def arguments(name: str, **values: Any) -> msgspec.Raw:
    return verb_of(name).dumps(values)


# Both ends as they are


def test_a_list_is_one_round_trip() -> None:
    with served("memory:///round-trips?memory=100000") as found:
        for number in range(300):
            found.there.create(CONFIG.replace(name=f"web{number}", memory=8))
        before, sent = found.client.round_trips, found.client._link.sent_messages
        infos = found.host.list()
        assert len(infos) == 301
        assert found.client.round_trips - before == 1
        assert found.client._link.sent_messages - sent in {1, 2}  # a ping, too, if the link was silent before
        assert [info.name for info in infos] == [info.name for info in found.there.list()]


def test_many_calls_at_once() -> None:
    with served("memory:///many") as found:
        waiting = [found.host.begin.create(CONFIG.replace(name=f"web{number}", memory=8)) for number in range(50)]
        domains = [operation.result(timeout=30) for operation in waiting]
        ends = [domain.begin.wait("shutdown", timeout=60) for domain in domains]
        assert found.host.info().nr_cpus == 4
        stopping = [domain.begin.shutdown() for domain in domains]
        assert [each.result(timeout=30) for each in stopping] == [None] * 50
        assert all(end.result(timeout=30) is not None or True for end in ends)


def test_a_deadline_and_a_cancel() -> None:
    with served("memory:///deadline") as found:
        web1 = found.host.create(CONFIG, paused=True)
        with pytest.raises(pyxen.OperationTimeout) as caught:
            web1.wait("shutdown", timeout=0.1)
        assert caught.value.operation == "wait"
        waiting = web1.begin.wait("shutdown")
        assert waiting.cancel()
        with pytest.raises(pyxen.OperationCancelled):
            waiting.result(timeout=SECONDS)


def test_restoring_asks_here(tmp_path: Any) -> None:
    with served("memory:///asking") as found:
        web1 = found.host.create(CONFIG)
        machine: Any = found.there._backend._machine  # type: ignore[attr-defined]
        until(lambda: bool(machine.domains[web1.domid].booted))
        path = str(tmp_path / "saved")
        web1.save(path)
        asked: list[DomainConfig] = []

        class Mine(Exception):
            pass

        def refuse(config: DomainConfig) -> bool:
            asked.append(config)
            raise Mine

        with pytest.raises(Mine):
            found.host.restore(path, allow=refuse)
        with pytest.raises(Error):
            found.host.restore(path, allow=lambda _: False)
        assert [info.name for info in found.host.list()] == ["Domain-0"]
        assert found.host.restore(path, allow=lambda config: config.name == "web1").name == "web1"
        assert asked[0].memory == 64


@pytest.mark.parametrize("error", [SystemExit(1), KeyboardInterrupt(), GeneratorExit()], ids=repr)
def test_an_exit_in_allow_comes_out_of_the_call(tmp_path: Any, error: BaseException) -> None:
    """As on the host itself; and the host goes on."""
    path = str(tmp_path / "saved")

    def leave(_: DomainConfig) -> bool:
        raise error

    with served("memory:///exits-in-allow") as found:
        found.host.create(CONFIG).save(path)
        with pytest.raises(type(error)):
            found.host.restore(path, allow=leave)
        with pytest.raises(type(error)), open(path, "rb") as file:
            found.host.restore(file, allow=leave)
        assert [info.name for info in found.host.list()] == ["Domain-0"]


def test_who_does_not_say_whether_a_domain_is_allowed(tmp_path: Any) -> None:
    """The thread of the host, which waits for the answer, goes on at the deadline."""
    path, over = str(tmp_path / "saved"), threading.Event()
    with served("memory:///silent") as found:
        found.host.create(CONFIG).save(path)
        try:
            with pytest.raises(OperationTimeout, match="did not say in time"):
                found.host.restore(path, allow=lambda _: over.wait(SECONDS), timeout=2)
            assert [info.name for info in found.host.list()] == ["Domain-0"]
        finally:
            over.set()


@pytest.mark.parametrize(
    "error",
    [
        DomainNotFound("gone", operation="pause", domain="web1", domid=3, code=-6, log=("a", "b")),
        UnsupportedFeature("cannot", feature="disks[0].x", backend="xenlight (Xen 4.17)"),
        ParseError("bad", line=1, column=2, source="x.cfg", path="disks"),
        ValidationError("bad", path="memory", problems=("memory: bad",)),
        LossyConversion("lossy", losses=(Loss("disks[0]", "", "why"),)),
        XenstoreError("no", path="/a", code=-13),
        InvalidArgument("bad", operation="x"),
        ConnectFailed("no"),
    ],
)
def test_errors_keep_what_they_say(error: Error) -> None:
    back = error_of(msgspec.msgpack.decode(msgspec.msgpack.encode(failure_of(error)), type=type(failure_of(error))))
    assert type(back) is type(error)
    assert str(back) == str(error)
    assert vars(back) == vars(error)


def test_every_class_of_error_arrives() -> None:
    for name in errors.__all__:
        error = getattr(errors, name)("why")
        back = error_of(failure_of(error))
        assert type(back) is type(error), name
        assert str(back) == str(error)
    refused = QmpError("no")
    refused.error_class = "CommandNotFound"
    back = error_of(failure_of(refused))
    assert isinstance(back, QmpError)
    assert back.error_class == "CommandNotFound"


def test_what_is_no_error_of_pyxens_says_so() -> None:
    back = error_of(failure_of(KeyError("x")))
    assert isinstance(back, OperationFailed)
    assert "KeyError" in str(back)
    missing = error_of(failure_of(FileNotFoundError(2, "No such file", "/a")))
    assert isinstance(missing, FileNotFoundError)
    assert missing.filename == "/a"


def test_values_come_back_as_they_were() -> None:
    with served("memory:///values") as found:
        web1 = found.there.create(
            CONFIG.replace(disks=[Disk("/srv/a", vdev="xvda")], channels=[Channel("a", connection="pty")]),
            paused=True,  # its devices stay as they are
        )
        for name in ("info", "topology", "stats", "uptimes", "cpupools"):
            result = getattr(found.there, name)
            value = result() if callable(result) else result.list()
            assert value is not None
        here = found.host.domains["web1"]
        assert here.config() == web1.config()
        assert here.endpoints() == web1.endpoints()
        assert list(here.disks) == list(web1.disks)
        assert [each.cpus for each in here.vcpus()] == [each.cpus for each in web1.vcpus()]
        assert found.host.topology() == found.there.topology()


# Another version


def test_another_protocol_says_who_is_older() -> None:
    with far_client() as far:
        far.say(Hello(PROTOCOL + 1, "9.9"))
        refused = far.hear()
        assert isinstance(refused, Refused)
        assert f"update pyxen {pyxen.__version__} on the host" in refused.failure.message
    with far_client() as far:
        far.say(Hello(PROTOCOL - 1, "0.0.1"))
        assert "update pyxen 0.0.1 here" in far.hear().failure.message


def test_an_older_server_says_what_it_lacks() -> None:
    verbs = tuple(name for name in VERBS if name != "topology")
    with far_server(lambda far: far.hear(), welcome=usual_welcome(verbs=verbs, version="0.0.1")) as fds:
        client = client_to(*fds)
        with pytest.raises(UnsupportedFeature, match=r"pyxen 0\.0\.1 on there does not know this: update it there"):
            client.ask("topology")
        client.close()


def test_a_newer_server_may_have_more() -> None:
    """Features, verbs and fields that this pyxen does not know are left out."""
    info = {"domid": 1, "current_kib": 1, "target_kib": None, "maximum_kib": 1, "limit_kib": 1, "videoram_kib": 0}
    found = decoded(
        raw({**info, "claimed_kib": 0, "shared_kib": 0, "paged_kib": 0, "new": 3}), codec_of(pyxen.DomainMemory)
    )
    assert found.current_kib == 1
    with far_server(lambda far: far.hear(), welcome=usual_welcome(features=("events", "teleport"))) as fds:
        client = client_to(*fds)
        assert client.welcome.features == ("events", "teleport")
        client.close()


def test_an_argument_that_the_server_does_not_know() -> None:
    with far_client() as far:
        greeted(far)
        far.say(Call(1, "info", raw({"new": 1})))
        failed = far.hear()
        assert isinstance(failed, Failed)
        assert failed.failure.kind == "UnsupportedFeature"
        assert "update it there" in failed.failure.message


def test_a_name_of_an_argument_that_is_not_utf_8() -> None:
    with pytest.raises(Malformed):
        verb_of("info").loads(msgspec.Raw(b"\x81\xa1\xff\x01"))


# A client that means no good


def greeted(far: Far) -> None:
    far.say(Hello(PROTOCOL, "0"))
    assert isinstance(far.hear(), Welcome)


DEEP: Final = b"\x91" * 100_000 + b"\xc0"
FOREIGN: Final = msgspec.msgpack.encode(["Snap", 1, "x"])[:-1] + b"\xff"
HOSTILE: Final = {
    "a huge frame": struct.pack(">I", MOST_FRAME + 1),
    "the largest number": b"\xff" * 4,
    "no msgpack": struct.pack(">I", 4) + b"\xc1\xc1\xc1\xc1",
    "deep": struct.pack(">I", len(DEEP)) + DEEP,
    "text that is not UTF-8": struct.pack(">I", len(FOREIGN)) + FOREIGN,
    "an unknown message": struct.pack(">I", 6) + msgspec.msgpack.encode(["Exec"]),
    "text": b"GET / HTTP/1.1\r\n\r\n",
}


@pytest.mark.parametrize("greets", [False, True])
@pytest.mark.parametrize("what", HOSTILE)
def test_a_client_that_is_none(what: str, greets: bool) -> None:
    """The server ends; the fixture sees that it does."""
    with far_client() as far:
        if greets:
            greeted(far)
        far.write(HOSTILE[what])
        assert far.hear() is None


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("destroy", {"domain": encoded(("x", "y"), codec_of(Any)), "timeout": raw(None)}),
        ("destroy", {"domain": raw([2**40, str(UUID(int=1))]), "timeout": raw(None)}),
        ("destroy", {"domain": raw([-1, str(UUID(int=1))]), "timeout": raw(None)}),
        ("destroy", {"domain": raw([1, str(UUID(int=1))]), "timeout": raw("soon")}),
        ("destroy", {"domain": raw([1, str(UUID(int=1))]), "timeout": raw(-1.0)}),
        ("create", {"config": msgspec.Raw(b"\x91" * 500 + b"\xc0"), "paused": raw(False), "timeout": raw(None)}),
        ("create", {"config": raw({"name": "x", "nothing": 1}), "paused": raw(False), "timeout": raw(None)}),
        ("create", {"config": raw({"name": ["x"] * 10}), "paused": raw(False), "timeout": raw(None)}),
        ("rename", {"domain": raw([1, str(UUID(int=1))]), "name": raw("a\0b")}),
        ("attach", {"domain": raw([1, str(UUID(int=1))]), "device": raw(["Engine", {}]), "timeout": raw(None)}),
        ("find", {"key": raw([7, 1])}),
        ("no_such_verb", {}),
        ("_check", {}),
        ("close", {}),
        ("__class__", {}),
        ("await_console", {"uuid": raw(str(UUID(int=1))), "creating": raw(99)}),
        ("store_read", {"transaction": raw(77), "path": raw("/a")}),
    ],
)
def test_arguments_that_are_not_valid(name: str, values: dict[str, Any]) -> None:
    """The call fails with an error of pyxen's, and the server goes on."""
    with far_client() as far:
        greeted(far)
        far.say(Call(1, name, raw(values)), Call(2, "info", raw({})))
        heard = {message.id: message for message in (far.hear(), far.hear())}
        assert isinstance(heard[1], Failed)
        assert heard[1].failure.kind in {"InvalidArgument", "UnsupportedFeature", "DomainNotFound"}, heard[1]
        assert "unexpectedly" not in heard[1].failure.message
        assert isinstance(heard[2], Answer)


def test_too_many_calls() -> None:
    with far_client() as far:
        greeted(far)
        far.say(Call(1, "create", arguments("create", config=CONFIG, paused=True, autoballoon=None, timeout=None)))
        made = far.hear()
        while not isinstance(made, Done):
            made = far.hear()
        ref = decoded(made.result, codec_of(DomainRef))
        wait = arguments("wait", domain=ref, states=frozenset({pyxen.DomainState.SHUTDOWN}), timeout=None)
        for number in range(2, MOST_CALLS + 10):
            far.say(Call(number, "wait", wait))
        while not isinstance(message := far.hear(), Failed):
            assert isinstance(message, (Begun, Progress))
        assert "calls are going on" in message.failure.message


def test_numbers_that_were_used() -> None:
    with far_client() as far:
        greeted(far)
        far.say(Call(1, "info", raw({})))
        assert isinstance(far.hear(), Answer)
        far.say(Call(1, "info", raw({})))
        assert far.hear() is None


def test_a_client_that_does_not_read() -> None:
    """What waits for it is bounded: the server stops taking calls."""
    with far_client("memory:///unread?memory=100000") as far, pyxen.connect("memory:///unread?memory=100000") as there:
        for number in range(200):
            there.create(CONFIG.replace(name=f"web{number}", memory=8))
        greeted(far)
        os.set_blocking(far.write_fd, False)
        number, sent = 0, 0
        end = time.monotonic() + 5
        while time.monotonic() < end and number < 5000:
            number += 1
            data = msgspec.msgpack.encode(Call(number, "list", raw({})))
            try:
                sent += os.write(far.write_fd, struct.pack(">I", len(data)) + data)
            except BlockingIOError:
                break
        time.sleep(1)
        largest = max(link_backlogs())
        assert largest < 32 << 20


def link_backlogs() -> list[int]:
    from pyxen.backends.remote.link import _OPEN

    return [link.backlog for link in list(_OPEN)]


def test_a_part_of_a_stream_without_bytes() -> None:
    """It would be taken for the end of the stream, and what follows would be lost."""
    with far_client() as far:
        far.say(Hello(PROTOCOL, pyxen.__version__))
        assert isinstance(far.hear(), Welcome)
        far.say(Data(1, b""))
        assert far.hear() is None


def test_a_flood_of_pings_by_a_peer_that_does_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(link, "BACKLOG", 1 << 10)
    ours, theirs = pair()
    end = link.Link(os.dup(ours), ours, FromClient)  # its threads do not run: nothing is sent
    try:
        for _ in range(10_000):
            end.answer_ping()
        assert 0 < end.backlog < 2 << 10
    finally:
        end.close()
        os.close(theirs)


def test_more_of_a_stream_than_was_granted() -> None:
    with far_client() as far:
        greeted(far)
        call = arguments("restore_over", config=None, paused=False, allow=False, autoballoon=None, timeout=None)
        far.say(Call(1, "restore_over", call))
        while not isinstance(far.hear(), Begun):
            pass
        for _ in range(WINDOW // (64 << 10) * 4):
            far.say(Data(1, bytes(64 << 10)))
        while (message := far.hear()) is not None and not isinstance(message, Failed):
            assert isinstance(message, (Credit, Progress, Snap))  # what came is no saved domain


# A server that means no good


@pytest.mark.parametrize(
    ("first", "words"),
    [
        (b"", "ended"),
        (b"Welcome to host1!\nLast login: today\n" * 3, "not from pyxen serve: 'Welcome to host1!"),
        (GREETING + b"\xff" * 64, "not pyxen's protocol"),
        (GREETING + struct.pack(">I", len(DEEP)) + DEEP, "not pyxen's protocol"),
        (GREETING + struct.pack(">I", len(FOREIGN)) + FOREIGN, "not pyxen's protocol"),
        (GREETING, "ended"),
    ],
)
def test_a_server_that_is_none(first: bytes, words: str) -> None:
    with far_server(lambda far: far.write(first)) as fds, pytest.raises(ConnectFailed, match=words):
        client_to(*fds)


def call_of(far: Far) -> Call:
    while not isinstance(message := far.hear(), Call):
        assert message is not None
    return message


@pytest.mark.parametrize(
    "reply",
    [
        lambda number: Answer(number, msgspec.Raw(DEEP)),
        lambda number: Item(number, raw(None)),
        lambda number: Data(number, b"x"),
        lambda number: Credit(number, 5),
        lambda number: Ask(number, raw({"name": "x"})),
        lambda number: Done(number, raw(None)),
        lambda number: Begun(number + 7),
    ],
)
def test_answers_that_are_not_valid(reply: Any) -> None:
    """They end the link, or are as good as nothing: the call ends when the link does.

    An answer of the right kind whose value is not valid ends its call only, see test_newer_server.
    """

    def play(far: Far) -> None:
        far.say(reply(call_of(far).id))

    with far_server(play, welcome=usual_welcome()) as fds:
        client = client_to(*fds)
        with pytest.raises(ConnectFailed, match="list: the connection to there is lost"):
            client.ask("list")
        client.close()


def test_a_failure_of_a_class_that_is_not_known() -> None:
    def play(far: Far) -> None:
        failure = msgspec.structs.replace(failure_of(OperationFailed("why")), kind="Unheard", domid=-(2**63))
        far.say(Failed(call_of(far).id, failure))
        far.hear()

    with far_server(play, welcome=usual_welcome()) as fds:
        client = client_to(*fds)
        with pytest.raises(OperationFailed, match="Unheard: why"):
            client.ask("list")
        client.close()


def write(noise: bytes, far: Far) -> None:
    far.write(noise)


def test_random_bytes_at_both_ends() -> None:
    """Thirty of each: the far ends see that nothing stays."""
    chance = random.Random(17)  # noqa: S311 (the same bytes in every run)
    for _ in range(30):
        noise = chance.randbytes(chance.randrange(300))
        with far_client() as far:
            greeted(far)
            far.write(noise)
        with far_server(partial(write, noise), welcome=usual_welcome()) as fds:
            client = client_to(*fds)
            with pytest.raises(ConnectFailed):
                client.ask("list")
            client.close()


def test_no_thread_stays() -> None:
    with served("memory:///threads") as found:
        found.host.list()
    until(lambda: not [each for each in threading.enumerate() if each.name.startswith(("pyxen-remote", "pyxen-serve"))])
