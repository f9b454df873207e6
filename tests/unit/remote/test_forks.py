"""A host behind a link in the child of a fork."""

from __future__ import annotations

from pathlib import Path

import pyxen
from pyxen import DomainConfig
from pyxen.operation import Operation
from tests.forks import check_no_lock_is_waited_for
from tests.unit.remote.sockets import at_socket


def test_the_child_of_a_fork_waits_for_no_lock(path: Path) -> None:
    with at_socket(path, "memory:///forks") as found, pyxen.connect(found.uri) as host:
        web = host.create(DomainConfig("web", kernel="/boot/vmlinuz", memory=64))
        locks = check_no_lock_is_waited_for(
            host,
            web,
            DomainConfig("db", kernel="/boot/vmlinuz", memory=64),
            read=lambda: host.xenstore.read("/local/domain/0/name"),
            watch=lambda: host.xenstore.watch("/tool"),
            console=web.console,
            number_of=lambda: host._backend._client.number_of(Operation("create")),  # type: ignore[attr-defined]
        )
        owners = {name.split()[0] for name in locks}
        assert {"Client", "Calls", "Link", "Streams"} <= owners
        web.destroy()
