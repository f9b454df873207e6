"""What `Domain.remus` refuses before anything is begun."""

from __future__ import annotations

import math
from typing import Any

import pytest

from pyxen import Host, InvalidArgument, RemusOptions
from tests.unit.aio.fakehost import FakeBackend


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"interval": 0}, "0 seconds"),
        ({"interval": -1}, "use 0.001 to"),
        ({"interval": math.nan}, "nan seconds"),
        ({"interval": 0.0001}, "use 0.001 to"),
        ({"interval": 3e6}, "to 2147484"),
        ({"netbuf": False}, "netbuf=False: .* allow_unsafe=True"),
        ({"diskbuf": False}, "diskbuf=False: .* allow_unsafe=True"),
        ({"netbuf": False, "diskbuf": False}, "netbuf=False, diskbuf=False: "),
        ({"netbuf": False, "allow_unsafe": True, "netbufscript": "/srv/setup"}, "leave the script out"),
    ],
)
def test_what_cannot_be_replicated(options: dict[str, Any], problem: str) -> None:
    with pytest.raises(InvalidArgument, match=problem):
        RemusOptions(**options)


def test_to_nobody_is_unsafe() -> None:
    backend = FakeBackend()
    with (
        Host(backend) as host,
        pytest.raises(InvalidArgument, match=r"destination=None makes no backup: .* allow_unsafe=True"),
    ):
        host.domains["web1"].remus(None)
    assert not backend.requests
