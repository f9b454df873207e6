"""A host of libvirt in the child of a fork."""

from __future__ import annotations

import pyxen
from pyxen import DomainConfig
from pyxen.backends.libvirt import event_loop
from tests.forks import check_no_lock_is_waited_for, told_under


def test_the_child_of_a_fork_waits_for_no_lock() -> None:
    with pyxen.connect("test:///default") as host:
        locks = check_no_lock_is_waited_for(
            host,
            host.domains["test"],
            DomainConfig("db", kernel="/boot/vmlinuz", memory=64),
            defined=host.defined,
        )
        owners = {name.split()[0] for name in locks}
        assert {"Link", "LibvirtBackend", "Poller", "Watcher"} <= owners


def test_a_child_begins_a_loop_of_its_own() -> None:
    def name() -> str | None:
        with pyxen.connect("test:///default") as host:
            return host.domains["test"].name

    with pyxen.connect("test:///default"):
        for lock in (event_loop._lock, event_loop._ending._cond):  # type: ignore[attr-defined]
            assert told_under([lock], {"name": name}) == {"name": "'test'"}
