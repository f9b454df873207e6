"""Attacks of one end of a link on the other, each by the messages that it may send."""

from __future__ import annotations

import os
import resource
import signal
import struct
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any, Final
from uuid import UUID

import msgspec
import pytest

import pyxen
from pyxen import ConnectFailed, DomainConfig, DomainState
from pyxen.backends.base import DomainRef
from pyxen.backends.remote.backend import RemoteBackend
from pyxen.backends.remote.failures import failure_of
from pyxen.backends.remote.messages import (
    MOST_CALLS,
    PROTOCOL,
    WINDOW,
    Answer,
    Ask,
    Begun,
    Call,
    Cancel,
    Credit,
    Data,
    Done,
    Drained,
    End,
    Failed,
    Hello,
    Item,
    Kept,
    Over,
    Progress,
    Refused,
    Reply,
    Settled,
    Snap,
    Welcome,
)
from pyxen.backends.remote.values import codec_of, encoded
from pyxen.backends.remote.verbs import verb_of
from pyxen.errors import OperationFailed
from pyxen.serve.policy import CHANGES, READ_ONLY
from tests.unit.remote.ends import SECONDS, Far, client_to, far_client, far_server, until, usual_welcome
from tests.unit.remote.sockets import at_socket
from tests.unit.remote.test_lost_link import arguments as arguments_for

CONFIG: Final = DomainConfig("web1", type="pvh", kernel="/boot/vmlinuz", memory=64)
SOME: Final = DomainRef(1, UUID(int=1))


def raw(value: Any) -> msgspec.Raw:
    return msgspec.Raw(msgspec.msgpack.encode(value))


def greeted(far: Far) -> None:
    far.say(Hello(PROTOCOL, "0"))
    assert isinstance(far.hear(), Welcome)


def answer_to(far: Far, number: int, kind: Any) -> Any:
    """Return the next message of a kind about a call."""
    while True:
        message = far.hear()
        assert message is not None, "the link has ended"
        if getattr(message, "id", None) == number and isinstance(message, kind):
            return message


# A client with --read-only


def test_no_verb_that_changes_is_carried_out() -> None:
    """Each is called as it is, whatever the server says that it allows."""
    with far_client("memory:///no-change", policy=READ_ONLY) as far, pyxen.connect("memory:///no-change") as there:
        web1 = there.create(CONFIG)

        def seen() -> object:
            return [(info.name, info.is_running) for info in there.list()], web1.config()

        before = seen()
        greeted(far)
        for number, name in enumerate(sorted(CHANGES), 1):
            values = arguments_for(name)
            if "domain" in values:
                values["domain"] = DomainRef(web1.domid, web1.uuid)
            far.say(Call(number, name, verb_of(name).dumps(values)))
            far.say(Data(number, b"x"), Reply(number, allowed=True), Kept(number))
            failed = answer_to(far, number, (Failed, Answer, Begun, Done))
            assert isinstance(failed, Failed), name
            assert failed.failure.kind == "NotPrivileged", failed
        assert seen() == before


def test_a_log_is_not_cleared() -> None:
    with far_client("memory:///", policy=READ_ONLY) as far:
        greeted(far)
        far.say(Call(1, "log", verb_of("log").dumps({"position": None, "clear": True})))
        assert answer_to(far, 1, Failed).failure.kind == "NotPrivileged"


def test_who_only_looks_has_nothing_long_to_say() -> None:
    """What is read takes many times its own: a list of empty lists of 32 MiB takes two GiB."""
    with far_client("memory:///", policy=READ_ONLY) as far:
        greeted(far)
        far.write(struct.pack(">I", (64 << 10) + 1))
        assert far.hear() is None


# A client


def test_a_client_begins_a_hundred_thousand_operations() -> None:
    """Those above the bound fail at once, and memory does not grow with them."""
    with far_client("memory:///begins") as far, pyxen.connect("memory:///begins") as there:
        web1 = there.create(CONFIG)
        greeted(far)
        states = frozenset({DomainState.SHUTDOWN})
        wait = verb_of("wait").dumps({"domain": DomainRef(web1.domid, web1.uuid), "states": states, "timeout": None})
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        counts = {"failed": 0, "begun": 0}

        def listen() -> None:
            while counts["failed"] + counts["begun"] < 100_000:
                message = far.hear()
                counts["failed"] += isinstance(message, Failed)
                counts["begun"] += isinstance(message, Begun)

        listening = threading.Thread(target=listen)
        listening.start()
        for number in range(1, 100_001):
            far.say(Call(number, "wait", wait))
        listening.join(600)
        assert counts == {"begun": MOST_CALLS, "failed": 100_000 - MOST_CALLS}
        assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 64 << 10  # KiB
        far.say(*[Cancel(number) for number in range(1, 100_001)])
        far.say(Call(100_001, "info", raw({})))
        assert answer_to(far, 100_001, Answer)


@pytest.mark.parametrize(
    "message",
    [
        Cancel(7),
        Cancel(1, "x" * 256),
        Kept(7),
        Reply(7, allowed=True),
        Data(7, b"x"),
        Credit(7, WINDOW),
        End(7),
        Drained(7),
        Snap(7, "x"),
    ],
)
def test_a_message_about_a_call_that_is_not_there(message: Any) -> None:
    """It is as good as nothing: the call may have ended meanwhile."""
    with far_client() as far:
        greeted(far)
        far.say(message, message, Call(1, "info", raw({})))
        assert answer_to(far, 1, Answer)


@pytest.mark.parametrize("message", [Credit(1, WINDOW), Data(1, b"x")])
def test_more_than_was_agreed_on_a_stream(message: Any) -> None:
    """A console is open; more is granted than was sent. A save takes no bytes at all."""
    verb = "console" if isinstance(message, Credit) else "save_over"
    with far_client("memory:///agreed") as far, pyxen.connect("memory:///agreed") as there:
        web1 = there.create(CONFIG)
        machine: Any = there._backend._machine  # type: ignore[attr-defined]
        until(lambda: bool(machine.domains[web1.domid].booted))
        greeted(far)
        values = {**arguments_for(verb), "domain": DomainRef(web1.domid, web1.uuid)}
        far.say(Call(1, verb, verb_of(verb).dumps(values)))
        answer_to(far, 1, (Answer, Begun))
        far.say(message)
        while far.hear() is not None:
            pass
        web1.destroy()


def test_a_greeting_of_the_far_future() -> None:
    """It has more fields, and a larger number than we will see; the answer is one that it understands."""
    with far_client() as far:
        data = msgspec.msgpack.encode(["Hello", 2**40, "99.0", {"new": [1, 2]}, "more"])
        far.write(struct.pack(">I", len(data)) + data)
        refused = far.hear()
        assert isinstance(refused, Refused)
        assert "update" in refused.failure.message
        assert far.hear() is None


@pytest.mark.parametrize("number", [2**63, 2**64 - 1, -1, 0, 1.5, "1", None])
def test_the_number_of_a_protocol_that_is_none(number: Any) -> None:
    with far_client() as far:
        data = msgspec.msgpack.encode(["Hello", number, "99.0"])
        far.write(struct.pack(">I", len(data)) + data)
        refused = far.hear()
        assert refused is None or isinstance(refused, Refused)
        assert refused is None or far.hear() is None


def test_two_greetings() -> None:
    with far_client() as far:
        greeted(far)
        far.say(Hello(PROTOCOL, "0"))
        assert far.hear() is None


def test_a_call_before_the_welcome() -> None:
    with far_client() as far:
        far.say(Call(1, "info", raw({})))
        assert far.hear() is None


# A server


def first_call(far: Far) -> Call:
    while not isinstance(message := far.hear(), Call):
        assert message is not None
    return message


NOTHING: Final = encoded(None, codec_of(None))


@pytest.mark.parametrize(
    "messages",
    [
        lambda n: [Answer(n + 7, NOTHING), Item(n + 7, NOTHING), Over(n + 7), Settled(n + 7), Done(n + 7, NOTHING)],
        lambda n: [Ask(n + 7, raw({})), Begun(n + 7), Progress(n + 7, None, None, None, 0)],
        lambda n: [Data(n + 7, b"x"), Credit(n + 7, 1), End(n + 7), Drained(n + 7), Snap(n + 7)],
        lambda n: [Failed(n + 7, failure_of(OperationFailed("x")))],
        lambda n: [Settled(n), Settled(n)],
        lambda n: [Begun(n), Begun(n)],
    ],
)
def test_answers_to_what_was_never_asked(messages: Any) -> None:
    """They are as good as nothing, and the call that was asked gets its own answer; a second answer is nothing, too."""

    def play(far: Far) -> None:
        number = first_call(far).id
        far.say(*messages(number), Done(number, NOTHING), Done(number, NOTHING))
        far.say(Failed(number, failure_of(OperationFailed("late"))), Settled(number), Begun(number))
        number = first_call(far).id
        far.say(Answer(number, encoded([], codec_of(list[pyxen.DomainInfo]))))
        far.say(Answer(number, NOTHING), Answer(number, NOTHING))
        far.hear()

    with far_server(play, welcome=usual_welcome()) as fds:
        client = client_to(*fds)
        operation = client.begin("pause", domain=SOME)
        assert operation.result(timeout=SECONDS) is None
        assert client.ask("list") == []
        client.close()


@pytest.mark.parametrize(
    ("verb", "reply"),
    [
        ("pause", lambda n: Answer(n, NOTHING)),
        ("pause", lambda n: Item(n, NOTHING)),
        ("pause", Over),
        ("pause", lambda n: Ask(n, raw({"name": "x"}))),
        ("list", Begun),
        ("list", lambda n: Done(n, NOTHING)),
        ("list", lambda n: Progress(n, None, None, "x", 5)),
        ("list", lambda n: Item(n, NOTHING)),
        ("list", Over),
    ],
)
def test_an_answer_of_another_kind(verb: str, reply: Any) -> None:
    """It ends the link, and the call with it: nobody knows what it means, and the right one may never come."""
    over = threading.Event()

    def play(far: Far) -> None:
        far.say(reply(first_call(far).id))
        assert over.wait(SECONDS)

    with far_server(play, welcome=usual_welcome()) as fds:
        client = client_to(*fds)
        began = time.monotonic()
        values: dict[str, Any] = {"domain": SOME} if verb == "pause" else {}
        with pytest.raises(ConnectFailed, match="not pyxen's protocol"):
            (client.begin if verb_of(verb).takes_time else client.ask)(verb, **values)
        assert time.monotonic() - began < 25  # a link that is silent counts as lost after 30
        over.set()
        client.close()


def test_a_success_that_is_nothing() -> None:
    """A server that says that a call has made nothing, and that this stays, ends it. Its log is taken once."""

    def play(far: Far) -> None:
        number = first_call(far).id
        far.say(Begun(number), *[Done(number, NOTHING, log=("x",), undoable=True)] * 3)
        far.say(Settled(number))
        far.hear()

    with far_server(play, welcome=usual_welcome()) as fds:
        client = client_to(*fds)
        operation = client.begin("pause", domain=SOME)
        assert operation.result(timeout=SECONDS) is None
        assert operation.log == ["x"]
        client.close()


def test_a_reason_that_is_none() -> None:
    def play(far: Far) -> None:
        number = first_call(far).id
        far.say(Begun(number), Failed(number, failure_of(OperationFailed("x")), stopped="\x1b[2J"))
        far.hear()

    with far_server(play, welcome=usual_welcome()) as fds:
        client = client_to(*fds)
        operation = client.begin("pause", domain=SOME)
        with pytest.raises(OperationFailed):
            operation.result(timeout=SECONDS)
        assert operation.stopped == "cancelled"
        client.close()


@pytest.mark.parametrize("protocol", [0, PROTOCOL + 1, 2**40])
def test_a_server_of_another_protocol(protocol: int) -> None:
    """One that welcomes all the same is refused here."""
    welcome = usual_welcome(protocol=protocol, version="99.0")
    refused = pytest.raises(ConnectFailed, match=rf"pyxen 99\.0 there speaks protocol {protocol}.*update the older")
    with far_server(lambda far: far.hear(), welcome=welcome) as fds, refused:
        client_to(*fds)


def test_a_server_that_grants_without_end() -> None:
    source, sink = os.pipe()

    def play(far: Far) -> None:
        number = first_call(far).id
        far.say(Begun(number), Credit(number, WINDOW), Credit(number, WINDOW))
        while far.hear() is not None:
            pass

    with far_server(play, welcome=usual_welcome()) as fds:
        client = client_to(*fds)
        backend = RemoteBackend(client, "xenlight+ssh://there/")
        with pytest.raises(ConnectFailed, match="more of a stream was granted than was sent"):
            backend.restore_over(source, None, paused=False, timeout=None).result(timeout=SECONDS)
        client.close()
    os.close(source)
    os.close(sink)


# The process around a client


def test_a_fork_after_connect(path: Path) -> None:
    """In the child, the host is closed, and its end does no harm; in the parent, all goes on."""
    with at_socket(path, "memory:///forked") as found:
        script = f"""
import os, pyxen
from pyxen import DomainConfig
host = pyxen.connect({found.uri!r})
web1 = host.create(DomainConfig("web1", type="pvh", kernel="/boot/vmlinuz", memory=8))
events = host.events()
waiting = web1.begin.wait("shutdown", timeout=600)
child = os.fork()
if child == 0:
    try:
        for call in (host.list, web1.info, web1.pause, host.events):
            try:
                call()
            except pyxen.HostClosed:
                continue
            os._exit(1)
        waiting.cancel()
        events.close()
        host.close()
        with pyxen.connect({found.uri!r}) as again:
            assert len(again.list()) == 2
    except BaseException:
        import traceback
        traceback.print_exc()
        os._exit(2)
    os._exit(0)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
web1.pause()
assert not waiting.done()
web1.destroy()
assert len(host.list()) == 1
host.close()
"""
        done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=300, check=False)
        assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("end", ["pass", "raise SystemExit(0)", "os.kill(os.getpid(), 9)"])
def test_an_exit_without_close(end: str, path: Path) -> None:
    """It ends at once, and what it had going is undone there."""
    with at_socket(path, "memory:///exited") as found:
        script = f"""
import os, pyxen
from pyxen import DomainConfig
host = pyxen.connect({found.uri!r})
events = host.events()
kept = host.create(DomainConfig("web1", type="pvh", kernel="/boot/vmlinuz", memory=8))
waiting = kept.begin.wait("shutdown", timeout=600)
console = kept.console()
print("all is going", flush=True)
{end}
"""
        with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True) as program:
            assert program.stdout is not None
            assert program.stdout.readline() == "all is going\n"
            assert program.wait(60) in {0, -signal.SIGKILL}
        until(lambda: len(found.listener) == 0)
        with pyxen.connect("memory:///exited") as there:
            there.domains["web1"].destroy()
