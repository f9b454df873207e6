"""The real libxl behind a server: the main verbs over a link, and a link that drops."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import pyxen
from pyxen import ConnectFailed, Disk, DomainConfig, DomainExists, FileMissing, Host
from pyxen.records.info import DomainState
from tests.offhost.host import OffHost
from tests.offhost.internals import after_the_check_of_names
from tests.unit.remote.ends import Served, served, until

Configure = Callable[..., DomainConfig]


@pytest.fixture
def link(offhost: OffHost) -> Iterator[Served]:  # noqa: ARG001 (must be there first)
    """The pretended host behind a server."""
    with served("xenlight:///") as found:
        yield found


def names(host: Host) -> list[str | None]:
    return [info.name for info in host.list()]


def test_the_main_verbs(offhost: OffHost, link: Served, config: Configure, tmp_path: Path) -> None:
    host = link.host
    assert host.info() == link.there.info() or host.info().xen_version == link.there.info().xen_version
    with host.events(pyxen.DomainCreated) as events:
        web = host.create(config(vcpus=2), paused=True, timeout=60)
        event = events.get(timeout=30)
    assert event is not None
    assert event.uuid == web.uuid
    assert web.info().state is DomainState.PAUSED
    web.unpause()
    with pytest.raises(DomainExists):
        host.create(config())
    with pytest.raises(FileMissing, match="/no/such"):
        host.create(config(name="other", kernel="/no/such"))
    assert web.config().vcpus == 2
    image = tmp_path / "disk"
    image.write_bytes(bytes(1 << 20))
    web.disks.attach(Disk(str(image), vdev="xvdb", backendtype="phy" if image.is_block_device() else None), timeout=60)
    assert [each.config.vdev for each in web.disks] == ["xvdb"]
    web.set_userdata("note", b"\0\xff")
    assert web.userdata("note") == b"\0\xff"
    assert host.xenstore.read(f"/local/domain/{web.domid}/name") == "web"
    web.rename("shop")
    assert names(host) == names(link.there) == ["Domain-0", "shop"]
    web.destroy()
    assert offhost.left() == []


def test_a_link_that_drops_during_a_create(
    offhost: OffHost, link: Served, config: Configure, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, is_cut = threading.Event(), threading.Event()

    def wait() -> None:
        begun.set()
        assert is_cut.wait(60)

    after_the_check_of_names(monkeypatch, wait)  # or it may have ended before the link drops
    creating = link.host.begin.create(config(), timeout=60)
    try:
        assert begun.wait(60)
        link.cut()
    finally:
        is_cut.set()
    with pytest.raises(ConnectFailed, match="is lost"):
        creating.result(timeout=60)
    assert link.ended()
    until(lambda: names(link.there) == ["Domain-0"])
    assert offhost.left() == []


def test_lists_beside_creates(link: Served, config: Configure) -> None:
    """A query over the link waits for no operation there."""
    stop, longest = threading.Event(), [0.0]

    def look() -> None:
        while not stop.is_set():
            began = time.monotonic()
            link.host.list()
            longest[0] = max(longest[0], time.monotonic() - began)

    thread = threading.Thread(target=look, daemon=True)
    thread.start()
    made = [link.host.create(config(name=f"web{number}"), timeout=60) for number in range(3)]
    until(lambda: longest[0] > 0)
    stop.set()
    thread.join(60)
    assert not thread.is_alive()
    assert longest[0] < 60
    for web in made:
        web.destroy()
