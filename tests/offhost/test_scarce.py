"""Whichever request of pyxen's for a descriptor or a thread fails, with no other host open in this process."""

from __future__ import annotations

from collections.abc import Callable

import pyxen
from pyxen import DomainConfig
from tests.offhost.host import OffHost
from tests.scarce import check_each_shortage

Configure = Callable[..., DomainConfig]


def test_a_host(offhost: OffHost, config: Configure) -> None:
    def act() -> None:
        with pyxen.connect("xenlight:///") as host, host.events(), host.xenstore.watch("/tool"):
            web = host.create(config(), timeout=20)
            try:
                with web.console_stream(timeout=20):
                    web.begin.wait("running", timeout=0.1).exception()
                host.stats()
                host.topology()
            finally:
                web.destroy(timeout=20)

    def works() -> None:
        with pyxen.connect("xenlight:///") as host:
            for domain in host.guests:  # its destroy had no thread
                domain.destroy(timeout=20)
            host.create(config(name="after"), timeout=20).destroy(timeout=20)

    assert check_each_shortage(act, works) > 8
    assert offhost.left() == []
