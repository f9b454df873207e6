"""Whichever request for a descriptor or a thread fails with libvirt: an error that says so, and nothing is left."""

from __future__ import annotations

import pyxen
from pyxen import DomainConfig
from tests.scarce import check_each_shortage

DRIVER = "test:///default"


def test_a_host() -> None:
    def act() -> None:
        with pyxen.connect(DRIVER) as host:
            host.list()
            with host.events():
                web = host.create(DomainConfig("web", kernel="/boot/vmlinuz", memory=64))
                try:
                    web.pause()
                    web.begin.wait("running", timeout=0.2).exception()
                finally:
                    web.destroy()

    def works() -> None:
        with pyxen.connect(DRIVER) as host:
            for domain in host.guests:
                if domain.name == "web":
                    domain.destroy()

    assert check_each_shortage(act, works) > 4
