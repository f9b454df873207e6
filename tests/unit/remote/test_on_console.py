"""The console of a new domain over a link: it is told, however soon the create is over."""

from __future__ import annotations

import dataclasses
import queue
from typing import Any

import pytest

from pyxen import Domain, DomainConfig, NotPrivileged, Operation
from pyxen.serve.policy import ALL
from tests.unit.remote.ends import served, until

CONFIG = DomainConfig("web1", type="pvh", kernel="/boot/vmlinuz", memory=64)
NO_CALL = 99


@pytest.mark.parametrize("the_server_sees_it", [False, True])
def test_it_is_told_though_the_create_is_over(the_server_sees_it: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    told: queue.SimpleQueue[Domain] = queue.SimpleQueue()
    with served(f"memory:///told-{the_server_sees_it}") as ends:
        number_of = ends.client.number_of

        def too_late(creating: Operation[Any]) -> int:
            creating.result(30)
            until(lambda: not list(ends.client._calls.numbers_of(creating)))
            return NO_CALL if the_server_sees_it else number_of(creating)

        monkeypatch.setattr(ends.client, "number_of", too_late)
        domain = ends.host.create(CONFIG, on_console=told.put)
        assert told.get(timeout=30) == domain


@pytest.mark.parametrize("it_is_over", [False, True])
def test_a_create_is_taken_back_if_it_cannot_be_told(it_is_over: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    policy = dataclasses.replace(ALL, verbs=ALL.verbs - {"await_console"}, source="a test")
    with served(f"memory:///no-console-{it_is_over}", policy=policy) as ends:
        number_of = ends.client.number_of

        def over_meanwhile(creating: Operation[Any]) -> int:
            number = number_of(creating)
            if it_is_over:
                creating.result(30)
                assert ends.there.guests.get(CONFIG.name) is not None
            return number

        monkeypatch.setattr(ends.client, "number_of", over_meanwhile)
        with pytest.raises(NotPrivileged, match="await_console"):
            ends.host.create(CONFIG, on_console=print)
        until(lambda: ends.there.guests.get(CONFIG.name) is None)
