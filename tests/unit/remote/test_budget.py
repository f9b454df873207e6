"""Clients of a server that begin long messages: together they take no more memory than is meant for that."""

from __future__ import annotations

import os
import socket
import struct
import threading
import time
from pathlib import Path
from typing import Any, Final
from uuid import UUID

import msgspec
import pytest

import pyxen
from pyxen import DomainConfig, OperationFailed
from pyxen.backends.base import DomainRef
from pyxen.backends.remote import link
from pyxen.backends.remote.failures import failure_of
from pyxen.backends.remote.messages import (
    CHUNK,
    GREETING,
    MOST_FRAME,
    PROTOCOL,
    Answer,
    Call,
    FromServer,
    Hello,
    Pong,
    Reply,
    Welcome,
)
from pyxen.backends.remote.verbs import VERBS, verb_of
from pyxen.serve import listener, server
from pyxen.serve.budget import Budget, Share
from pyxen.serve.policy import LONG, LOOKS, Policy
from pyxen.serve.settings import Settings
from tests.unit.remote.ends import SECONDS, Far, far_client, until
from tests.unit.remote.sockets import AtSocket, at_socket

SHORT: Final = Policy(LOOKS | {"unpause", "shutdown", "console"}, passwords=False, source="serve.toml")
NOTES: Final = Policy(frozenset({"set_userdata", "info"}), passwords=False, source="serve.toml")
LONGEST_SHORT: Final = CHUNK + (4 << 10)
MIB: Final = 1 << 20
SOME: Final = DomainRef(1, UUID(int=1))
NONE: Final = msgspec.Raw(msgspec.msgpack.encode({}))
LONG_FAILURE: Final = failure_of(OperationFailed("x", log=("y" * 60_000,) * 10))


def greeted(far: Far) -> None:
    far.say(Hello(PROTOCOL, "0"))
    assert isinstance(far.hear(), Welcome)


def at(path: Path) -> Far:
    end = socket.socket(socket.AF_UNIX)
    end.connect(str(path))
    far = Far(*_fds(end), FromServer)
    assert far.hear_first(len(GREETING)) == GREETING
    greeted(far)
    return far


def begun(path: Path, size: int) -> Far:
    """Connect, and begin a message of a size."""
    far = at(path)
    far.write(struct.pack(">I", size))
    return far


def _fds(end: socket.socket) -> tuple[int, int]:
    fd = end.detach()
    return fd, fd


def taken(found: AtSocket) -> int:
    return sum(found.listener._budget._of.values())


def heard(far: Far, kind: Any) -> Any:
    while not isinstance(message := far.hear(), kind):
        assert message is not None
    return message


def test_the_verbs_that_may_be_long() -> None:
    """Those with a configuration, a device, bytes, a list or a mapping, or with a question about a configuration."""
    found = {
        name
        for name in VERBS
        for argument, codec in zip(verb_of(name).names, verb_of(name).codecs, strict=True)
        if argument in {"allow", "device"} or any(kind in str(codec.wire) for kind in ("bytes", "dict", "list"))
    }
    short = {"psr_set", "set_node_affinity", "set_scheduler", "wait"}  # a few numbers, settings or states
    in_a_union = {"remus"}  # its destination may be a list
    assert found - short | in_a_union == LONG
    assert set() == LOOKS & LONG


def test_a_client_without_long_verbs_says_nothing_long() -> None:
    with far_client("memory:///short", policy=SHORT) as far:
        greeted(far)
        far.write(struct.pack(">I", LONGEST_SHORT + 1))
        assert far.hear() is None


def test_many_links_of_a_client_without_long_verbs(path: Path) -> None:
    """Each ends at the length of its message, before anything is kept of it."""
    with at_socket(path, "memory:///many-short", Settings(policy=SHORT)) as found:
        links = [begun(path, MOST_FRAME) for _ in range(8)]
        for far in links:
            while far.hear() is not None:
                pass
            far.close()
        assert taken(found) == 0
        until(lambda: len(found.listener) == 0)


def test_the_longest_part_of_a_stream_fits() -> None:
    data = msgspec.msgpack.encode(["Data", 2**53 - 1, bytes(CHUNK)])
    assert len(data) <= LONGEST_SHORT


def test_a_message_that_takes_too_long_ends_the_link(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each byte is a sign of life, so silence does not end it."""
    monkeypatch.setattr(link, "_TO_COME", 0.3)
    with far_client("memory:///slow") as far:
        greeted(far)
        far.write(struct.pack(">I", 1000))
        over = threading.Event()

        def trickle() -> None:
            for _ in range(900):
                if over.wait(0.05):
                    return
                far.write(b"\x90")

        thread = threading.Thread(target=trickle)
        thread.start()
        try:
            while far.hear() is not None:
                pass
        finally:
            over.set()
            thread.join(SECONDS)


def test_a_link_that_is_not_held_to_that_takes_its_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """A client waits for an answer over a slow line."""
    monkeypatch.setattr(link, "_TO_COME", 0.0)
    here, there = socket.socketpair()
    came: list[Any] = []
    found = link.Link(*_fds(here), FromServer)
    found.start(came.append, lambda _: None, "test-slow")
    data = msgspec.msgpack.encode(Pong())
    there.sendall(struct.pack(">I", len(data)))
    assert found.ended is None
    there.sendall(data)
    until(lambda: len(came) == 1)
    found.close()
    there.close()


# What all share


def test_long_messages_of_a_user_share_a_bound(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that is beyond it waits, and its client hears meanwhile that the server is there; what ends makes room."""
    monkeypatch.setattr(server, "_TICK", 0.05)
    with at_socket(path, "memory:///budget", Settings(policy=NOTES)) as found:
        first = begun(path, MOST_FRAME - MIB)
        until(lambda: taken(found) == MOST_FRAME - MIB)
        second = begun(path, 2 * MIB)
        heard(second, Pong)
        assert taken(found) == MOST_FRAME - MIB
        short = at(path)
        short.say(Call(1, "info", NONE))
        assert heard(short, Answer).id == 1
        first.close()
        until(lambda: taken(found) == 2 * MIB)
        second.close()
        short.close()
        until(lambda: taken(found) == 0)


def test_who_waits_for_the_budget_is_not_taken_for_silent(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "_TICK", 0.05)
    with at_socket(path, "memory:///budget", Settings(policy=NOTES)) as found:
        others = [Share(found.listener._budget, user) for user in (7, 8)]
        assert all(other.take(MOST_FRAME, 0) for other in others)
        waiting = begun(path, 2 * MIB)
        heard(waiting, Pong)  # it waits, and has nothing more to say
        monkeypatch.setattr(server, "_SILENCE", 1.0)
        since = time.monotonic()
        while time.monotonic() - since < 2.5:
            heard(waiting, Pong)
        monkeypatch.undo()  # who has said all is silent from then on
        others[0].give(MOST_FRAME)
        until(lambda: taken(found) == MOST_FRAME + 2 * MIB)
        waiting.close()


def test_a_long_call_gives_back_what_it_took(path: Path) -> None:
    """Whether it succeeds, fails or is not known; many of them take their turns."""
    note = verb_of("set_userdata").dumps({"domain": SOME, "key": "x", "data": bytes(12 * MIB)})
    with at_socket(path, "memory:///note", Settings()) as found:
        far = at(path)
        for number in range(1, 7):
            far.say(Call(number, "set_userdata", note))
            assert taken(found) <= MOST_FRAME
        far.say(Call(7, "no_verb_at_all", note), Reply(7, allowed=True, failure=LONG_FAILURE), Call(8, "info", NONE))
        while heard(far, Answer).id != 8:
            pass
        until(lambda: taken(found) == 0)
        far.close()


def test_users_have_a_share_each() -> None:
    budget = Budget(total=10, each=6)
    alice, bob = Share(budget, 1), Share(budget, 2)
    assert alice.take(6, 0)
    assert not Share(budget, 1).take(1, 0)
    assert bob.take(4, 0)
    assert not bob.take(1, 0)
    alice.give(3)
    assert bob.take(2, 0)
    alice.close()
    alice.give(3)  # a call that ends after its link
    assert not bob.take(1, 0)
    bob.close()
    assert Share(budget, 3).take(6, 0)
    assert Share(budget, 4).take(4, 0)


def test_all_consoles_of_a_user_have_a_bound(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each may have two MiB in the server that the guest does not read, and a user may have many connections."""
    monkeypatch.setattr(listener, "MOST_STREAMS_OF_USER", 2)
    with (
        at_socket(path, "memory:///consoles") as found,
        pyxen.connect("memory:///consoles") as there,
        pyxen.connect(found.uri) as one,
        pyxen.connect(found.uri) as other,
    ):
        there.create(DomainConfig("web1", type="pvh", kernel="/boot/vmlinuz", memory=64))
        until(lambda: there.domains["web1"].info().is_running)
        consoles = [host.domains["web1"].console() for host in (one, other)]
        before = len(os.listdir("/proc/self/fd"))
        for host in (one, other):
            with pytest.raises(OperationFailed, match="too many consoles and transfers of one user are open there"):
                host.domains["web1"].console()
        until(lambda: len(os.listdir("/proc/self/fd")) <= before)
        consoles.pop().close()
        until(lambda: streams(found) == 1)
        other.close()
        consoles.append(one.domains["web1"].console())
        assert streams(found) == 2
        one.close()
        until(lambda: streams(found) == 0)
        for console in consoles:
            console.close()


def streams(found: AtSocket) -> int:
    return sum(found.listener._streams._of.values())
