"""What `Domain.remus` refuses before anything is begun."""

from __future__ import annotations

import math
from typing import Any

import pytest

from pyxen import Host, InvalidArgument
from pyxen.remus import RemusOptions
from tests.unit.aio.fakehost import FakeBackend


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"interval": 0}, "0 seconds"),
        ({"interval": -1}, "from 0.001"),
        ({"interval": math.nan}, "nan seconds"),
        ({"interval": 0.0001}, "from 0.001"),
        ({"interval": 3e6}, "to 2147484"),
        ({"netbuf": False}, "netbuf=False: .* allow_unsafe=True"),
        ({"diskbuf": False}, "diskbuf=False: .* allow_unsafe=True"),
        ({"netbuf": False, "diskbuf": False}, "netbuf=False, diskbuf=False: "),
        ({"netbuf": False, "allow_unsafe": True, "netbufscript": "/srv/setup"}, "leave one of both out"),
    ],
)
def test_what_cannot_be_replicated(options: dict[str, Any], problem: str) -> None:
    backend = FakeBackend()
    with Host(backend) as host:
        domain = host.domains["web1"]
        with pytest.raises(InvalidArgument, match=problem):
            domain.remus("root@host2", **options)
        with pytest.raises(InvalidArgument, match=problem):
            domain.remus_over(0, 1, **options)
    assert not backend.requests


@pytest.mark.parametrize(
    ("destination", "options", "problem"),
    [
        (None, {}, "say where"),
        (None, {"blackhole": True}, "blackhole=True: .* allow_unsafe=True"),
        ("host2", {"blackhole": True, "allow_unsafe": True}, "a blackhole has no destination"),
    ],
)
def test_where_nothing_can_be_replicated_to(destination: str | None, options: dict[str, Any], problem: str) -> None:
    backend = FakeBackend()
    with Host(backend) as host, pytest.raises(InvalidArgument, match=problem):
        host.domains["web1"].remus(destination, **options)
    assert not backend.requests


def test_options_come_as_they_were_said() -> None:
    backend = FakeBackend()
    backend.at_once = {"remus"}
    with Host(backend) as host:
        host.domains["web1"].remus("host2", interval=0.5, diskbuf=False, allow_unsafe=True)
    [(_, arguments)] = backend.requests
    assert arguments["destination"] == "host2"
    assert arguments["options"] == RemusOptions(interval=0.5, diskbuf=False, allow_unsafe=True)
