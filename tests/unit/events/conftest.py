"""A host in this process, and who watches and reads its events."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pyxen import EventReader
from pyxen.backends.xenlight.xenstore.watcher import Watcher
from tests.unit.events.support import read
from tests.unit.xenhost import XenHost


@pytest.fixture
def xen(tmp_path: Path) -> Iterator[XenHost]:
    xen = XenHost(tmp_path)
    yield xen
    xen.close()


@pytest.fixture
def watcher(xen: XenHost) -> Iterator[Watcher]:
    watcher = Watcher(xen.look, xen.connect)
    yield watcher
    watcher.close()


@pytest.fixture
def events(watcher: Watcher) -> Iterator[EventReader[Any]]:
    with read(watcher) as events:
        yield events
