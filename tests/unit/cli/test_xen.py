"""The commands for Xen itself, for xenstore, and for events."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from typing import Any

import pytest

from pyxen.testing import FakeHost
from tests.unit.cli.conftest import Run
from tests.waiting import join

Told = Callable[..., Any]
Done = Callable[..., str]


def test_the_log(host: FakeHost, done: Done, told: Told) -> None:
    host.write_log("(XEN) one\n\x1b[2Jtwo\n")
    assert done("dmesg") == "(XEN) one\n\\x1b[2Jtwo\n"
    assert told("dmesg") == {"log": "(XEN) one\n\x1b[2Jtwo\n"}
    done("dmesg", "-c")
    assert done("dmesg") == ""


def test_the_log_is_cleared_or_followed(run: Run) -> None:
    assert run("dmesg", "-c", "-f").exit_code == 2


def test_keys_and_parameters(host: FakeHost, done: Done, run: Run) -> None:
    done("debug-keys", "-y", "hR")
    assert host.debug_keys_sent == "hR"
    host.hypfs_values["/params/loglvl"] = "none"
    done("set-parameters", "loglvl=all")
    assert run("set-parameters", "nothing=1").exit_code == 3
    assert run("debug-keys", "\x1b").exit_code == 1


def test_xenstore(host: FakeHost, done: Done, told: Told, run: Run) -> None:
    done("xenstore", "write", "/demo/a", "1", "/demo/a/b", "two \x1b[2J\nlines")
    assert done("xenstore", "read", "/demo/a", "/demo/a/b") == "1\ntwo \\x1b[2J\nlines\n"
    assert done("xenstore", "read", "-R", "/demo/a/b") == "two \x1b[2J\nlines\n"
    assert told("xenstore", "read", "/demo/a/b") == [{"path": "/demo/a/b", "value": "two \x1b[2J\nlines"}]
    assert done("xenstore", "ls", "/demo") == 'a = "1"\n  b = "two \\x1b[2J\\nlines"\n'
    assert done("xenstore", "ls", "-f", "/demo").splitlines()[0] == '/demo/a = "1"'
    listed = told("xenstore", "ls", "-p", "/demo")
    assert [each["path"] for each in listed] == ["/demo/a", "/demo/a/b"]
    assert listed[0]["permissions"]["owner"] == 0
    assert "/local/domain/1/name" in done("xenstore", "ls", "-f")
    done("xenstore", "rm", "-y", "/demo/a")
    assert run("xenstore", "read", "/demo/a").exit_code == 3
    assert not host.xenstore.exists("/demo/a")


@pytest.mark.parametrize(
    ("arguments", "status"),
    [
        (["read", "/nothing"], 3),
        (["ls", "/nothing"], 3),
        (["write", "/a"], 2),
        (["write", "/a b", "c"], 1),
        (["rm", "/"], 1),
        (["watch", "//x"], 1),
        (["watch", "/x", "-n", "2", "--timeout", "0"], 6),
    ],
)
def test_what_xenstore_refuses(run: Run, arguments: list[str], status: int) -> None:
    result = run("xenstore", *arguments)
    assert result.exit_code == status
    assert result.stderr


def test_a_watch(told: Told, done: Done) -> None:
    assert done("xenstore", "watch", "-n", "1", "/tool") == "/tool\n"
    assert told("xenstore", "watch", "-n", "1", "/tool") == {"path": "/tool", "watched": "/tool", "lost": False}


def test_events_that_do_not_come(run: Run) -> None:
    assert run("events", "--timeout", "0").exit_code == 0
    assert run("events", "--timeout", "0", "-n", "1").exit_code == 6
    assert run("events", "-k", "DomainEaten").exit_code == 2
    assert run("events", "nothing").exit_code == 3


@pytest.mark.parametrize("as_json", [False, True])
def test_events(host: FakeHost, run: Run, monkeypatch: pytest.MonkeyPatch, *, as_json: bool) -> None:
    web, subscribed = host.domains["web1"], threading.Event()
    subscribe = type(host._backend).subscribe

    def noticed(*arguments: Any) -> Any:
        try:
            return subscribe(*arguments)
        finally:
            subscribed.set()

    monkeypatch.setattr(type(host._backend), "subscribe", noticed)

    def rename() -> None:
        assert subscribed.wait(120)
        for name in ("web2", "web3", "web4"):
            web.rename(name)

    thread = threading.Thread(target=rename)
    thread.start()
    options = ["--json"] if as_json else []
    result = run("events", "web1", "-k", "DomainRenamed", "-n", "3", "--timeout", "120", *options)
    join(thread)
    assert result.exit_code == 0, result.output
    found = result.stdout.splitlines()
    if as_json:
        assert [(each["event"], each["new"]) for each in map(json.loads, found)] == [
            ("DomainRenamed", name) for name in ("web2", "web3", "web4")
        ]
    else:
        assert found[0].split(" ", 1)[1] == "DomainRenamed web2 1 old=web1 new=web2"
