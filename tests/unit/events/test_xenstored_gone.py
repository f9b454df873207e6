"""Events when xenstored goes and comes back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pyxen import ConnectFailed, EventReader
from pyxen.backends.xenlight.xenstore.connection import Connection
from pyxen.backends.xenlight.xenstore.watcher import Watcher
from tests.unit.events.support import read, told, wait_until, watchers_threads
from tests.unit.xenhost import XenHost


def test_after_xenstored_was_restarted(
    xen: XenHost, events: EventReader[Any], caplog: pytest.LogCaptureFixture
) -> None:
    for domid in (5, 6, 7):
        xen.create(domid, f"d{domid}")
    told(events, 6)
    xen.server.close()
    wait_until(lambda: "events are interrupted" in caplog.text)
    old = xen.server
    again = xen.folder / "again"  # nobody connects there: it is as it should be before anyone looks
    again.mkdir()
    new = type(old)(again)
    new._nodes, new.introduced = old._nodes, old.introduced
    del xen.domains[5]
    new.remove("/local/domain/5")
    new.remove("/libxl/5")
    Path(new.path).rename(old.path)
    new.path = old.path
    xen.server = new
    wait_until(lambda: xen.server.clients() == 1)
    assert told(events, 3) == ["EventsLost None", "DeviceRemoved 5 d5 console0@0", "DomainDestroyed 5 d5"]
    xen.rename(6, "six")
    xen.create(8, "d8")
    xen.destroy(7)
    assert told(events, 5)[0] == "DomainRenamed 6 six d6->six"


def test_nobody_joins_while_xenstored_is_gone(xen: XenHost, watcher: Watcher, events: EventReader[Any]) -> None:
    xen.server.close()
    for _ in range(2):
        with pytest.raises(ConnectFailed):
            read(watcher)
    xen.restart_xenstored()
    with read(watcher) as late:
        assert told(events, 1) == ["EventsLost None"]
        xen.rename(0, "dom0")
        assert told(events, 1) == told(late, 1) == ["DomainRenamed 0 dom0 Domain-0->dom0"]


def test_no_xenstored_at_all(tmp_path: Path) -> None:
    watcher = Watcher(list, lambda: Connection(sockets=[str(tmp_path / "none")], devices=()))
    with pytest.raises(ConnectFailed):
        read(watcher)
    wait_until(lambda: not watchers_threads())
    watcher.close()
