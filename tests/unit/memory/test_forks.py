"""A simulated host in the child of a fork."""

from __future__ import annotations

import pyxen
from pyxen import DomainConfig
from tests.forks import check_no_lock_is_waited_for


def test_the_child_of_a_fork_waits_for_no_lock() -> None:
    with pyxen.connect("memory:///") as host:
        web = host.create(DomainConfig("web", kernel="/boot/vmlinuz", memory=64))
        locks = check_no_lock_is_waited_for(
            host,
            web,
            DomainConfig("db", kernel="/boot/vmlinuz", memory=64),
            read=lambda: host.xenstore.read("/local/domain/0/name"),
            watch=lambda: host.xenstore.watch("/tool"),
            topology=host.topology,
            pause=web.pause,
        )
        assert any(name.startswith("Engine") for name in locks)
        web.destroy()
