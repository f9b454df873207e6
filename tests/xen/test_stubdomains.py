"""Stub domains, as far as a host without stub domains of QEMU can have them: the node that libxl writes for one."""

from __future__ import annotations

import subprocess

from pyxen import Host
from tests.xen.support import MakeConfig


def test_a_stub_domain(host: Host, tiny: MakeConfig) -> None:
    guest = host.create(tiny("hvm", name="web"), paused=True, timeout=120)
    stub = host.create(tiny(name="web-dm"), paused=True)
    try:
        assert stub.info().cpu_time_ns == 0  # so pyxen asks again until it has run
        assert {*host.guests} == {guest, stub}
        target = ["xenstore-write", f"{stub.xenstore_path}/target", str(guest.domid)]
        subprocess.run(target, check=True, capture_output=True, timeout=120)
        assert [*host.guests] == [guest]
        stub.unpause()
        assert stub.wait("unpaused", timeout=60) is not None
        for _ in range(3):
            assert [info.stubdomain_of for info in host.list()] == [None, None, guest.domid]
        assert stub.info().stubdomain_of == guest.domid
        assert [*host.guests] == [guest]
        assert stub in host.domains
    finally:
        stub.destroy()
        guest.destroy()
