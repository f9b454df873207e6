"""A domain that migrates over ssh, which an emulated machine is slow at."""

from __future__ import annotations

import subprocess

import pytest

from pyxen import Host
from pyxen.errors import MigrationFailed
from tests.xen.moving import check_alone, nothing_open
from tests.xen.support import MakeDomain


@pytest.fixture(scope="module")
def ssh() -> None:
    """Let this host be another one that ssh leads to."""
    subprocess.run(["lab-sshd"], check=True, capture_output=True, timeout=120)


@pytest.mark.timeout(900)  # a minute for the guest's memory, and more on a busy machine
@pytest.mark.usefixtures("ssh")
@pytest.mark.long
def test_a_guest_goes_where_it_may(host: Host, moving_linux: MakeDomain) -> None:
    guest = moving_linux()
    name = guest.info().name
    with pytest.raises(MigrationFailed, match=r"(?s)goes on here; .*Permission denied"):
        guest.migrate("nobody@dom0")
    check_alone(host, guest, name)
    with nothing_open():
        guest.migrate("root@dom0", timeout=400)
    moved = host.domains[guest.uuid]
    assert moved != guest
    check_alone(host, moved, name)
    moved.destroy()
