"""What guests do to xenstore, with the rights that xenstored gives them."""

from __future__ import annotations

from collections.abc import Callable

import pytest

import pyxen
from pyxen import DomainConfig
from tests.offhost.host import OffHost
from tests.offhost.store import StoreError

Configure = Callable[..., DomainConfig]


def test_a_guest_writes_what_it_may(offhost: OffHost, host: pyxen.Host, config: Configure) -> None:
    guest = offhost.guest(host.create(config("pv")).domid)
    guest.store.write("data/report", "well")
    assert offhost.store.read(f"/local/domain/{guest.domid}/data/report") == "well"


@pytest.mark.parametrize("path", ["name", "memory/target", "/local/domain/0/name", "/tool/x", "console/tty"])
def test_and_nothing_else(offhost: OffHost, host: pyxen.Host, config: Configure, path: str) -> None:
    guest = offhost.guest(host.create(config()).domid)
    with pytest.raises(StoreError, match="EACCES"):
        guest.store.write(path, "mine")


def test_a_guest_may_write_no_more_than_its_quota(offhost: OffHost, host: pyxen.Host, config: Configure) -> None:
    guest, refusal = offhost.guest(host.create(config()).domid), None
    for number in range(5000):
        try:
            guest.store.write(f"data/{number}", "x")
        except StoreError as error:
            refusal = error.args[0]
            break
    assert refusal == "ENOSPC"
    assert host.domains["web"].info().name == "web"


@pytest.mark.parametrize("value", [b"\xff\xfe", b"\x1b[31m", b"a\nb", b"9" * 2000, b""])
def test_any_bytes_of_a_guest(offhost: OffHost, host: pyxen.Host, config: Configure, value: bytes) -> None:
    web = host.create(config())
    guest = offhost.guest(web.domid)
    for path in ("data/x", "control/shutdown", "control/feature-poweroff", "device/suspend/event-channel"):
        guest.store.write(path, value)
    assert host.domains["web"].info().domid == web.domid
    web.destroy()
    assert offhost.left() == []


def test_a_storm_of_writes_does_not_hide_an_end(offhost: OffHost, host: pyxen.Host, config: Configure) -> None:
    web = host.create(config())
    guest = offhost.guest(web.domid)
    with host.events() as events:
        for number in range(2000):
            guest.store.write("data/x", str(number))
        guest.shut_down()
        while not isinstance(event := events.get(timeout=10), pyxen.DomainShutdown):
            assert event is not None
        assert event.domid == web.domid
