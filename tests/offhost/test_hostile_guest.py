"""Odd values in every node that a guest may write, while everything is done to it."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import pyxen
from pyxen import Disk, Domain, DomainState, Vif
from pyxen.errors import Error, OperationTimeout
from tests.offhost.host import OffHost
from tests.offhost.store import SocketStore, StoreError
from tests.offhost.sweep import Configure

VALUES = (
    b"\xff\xfe\x80",
    b"\x1b]0;planted\x07\x1b[31m",
    b"a\nDomain 0: b\r\n",
    b"9" * 2000,
    b"",
    b"-1",
    b"36893488147419103232",
    b"/local/domain/0/../../../../etc/passwd",
    b"4\x006",
    None,
)
"""What the guest writes; None: it removes the nodes."""

SOON = 0.2  # seconds for a guest that will not do what it is asked to
PATIENCE = 10.0  # seconds more for one that may have read that it is to suspend, as docs/reliability.md says
BOUND = 5.0  # seconds beside, on a busy machine


def nodes(offhost: OffHost, path: str) -> Iterator[str]:
    """Yield a node and all below it."""
    yield path
    for name in offhost.store.directory(path):
        yield from nodes(offhost, f"{path}/{name}")


def may_write(offhost: OffHost, domid: int) -> list[str]:
    """Return the nodes that a guest may write, those below others first."""
    found = []
    for path in nodes(offhost, f"/local/domain/{domid}"):
        owner, *others = offhost.store.permissions(path)
        rights = {permission[1:]: permission[0] for permission in others}
        if owner[1:] == str(domid) or rights.get(str(domid), owner[0]) in "wb":
            found.append(path)
    return found[::-1]


def spoil(offhost: OffHost, domid: int, value: bytes | None) -> None:
    """Write a value into all nodes that a guest may write, and into new ones below them; or remove them all.

    It is written on dom0's connection: xenstored makes a guest wait that writes as much as this in so short a time.
    """
    for path in may_write(offhost, domid):
        try:
            if value is None:
                offhost.store.remove(path)
            else:
                offhost.store.write(path, value)
                offhost.store.write(f"{path}/0", value)
        except StoreError as error:
            assert error.args[0] == "ENOENT"  # noqa: PT017 (libxl may have removed it meanwhile)


def looks(host: pyxen.Host, web: Domain) -> list[Callable[[], object]]:
    """Return what only looks at the guest."""
    return [
        host.list,
        web.info,
        host.stats,
        web.endpoints,
        web.config,
        lambda: web.console().close(),
        web.vcpus,
        lambda: host.xenstore.list(web.xenstore_path),
    ]


def verbs(web: Domain, folder: Path) -> list[Callable[[], object]]:
    """Return what is done to the guest."""
    return [
        lambda: web.set_memory(12),
        lambda: web.set_vcpus(1),
        lambda: web.attach(Vif(bridge="xenbr0"), timeout=SOON),
        lambda: web.detach(Vif(devid=0), timeout=SOON),
        lambda: web.detach("xvda", timeout=SOON),
        lambda: web.rename("shop"),
        web.pause,
        web.unpause,
        lambda: web.suspend(timeout=SOON),
        lambda: web.shutdown(timeout=SOON),
        lambda: web.reboot(timeout=SOON),
        lambda: web.save(folder / "saved", timeout=SOON),
        lambda: web.wait(timeout=SOON),
    ]


def ends_well(act: Callable[[], object]) -> None:
    """See that something ends with its result or an error of pyxen's, which is safe to print."""
    try:
        act()
    except Error as error:
        assert "\x1b" not in str(error)  # noqa: PT017 (either is fine)


@pytest.mark.parametrize("kind", ["pv", "pvh"])
def test_every_node_that_it_may_write(
    offhost: OffHost, host: pyxen.Host, config: Configure, tmp_path: Path, kind: str
) -> None:
    disk = tmp_path / "disk"
    disk.write_bytes(bytes(1 << 20))
    web = host.create(config(kind, vcpus=2, disks=[Disk(disk, vdev="xvda", format="raw")], vifs=[Vif(bridge="xenbr0")]))
    assert len(may_write(offhost, web.domid)) > 10
    values = itertools.cycle(VALUES)
    with host.events() as events, host.xenstore.watch(web.xenstore_path) as changes:
        for value in VALUES[:-1]:
            spoil(offhost, web.domid, value)
            for look in looks(host, web):
                ends_well(look)
        for act in verbs(web, tmp_path):
            spoil(offhost, web.domid, next(values))
            ends_well(act)
        spoil(offhost, web.domid, None)
        for look in looks(host, web):
            ends_well(look)
        offhost.world.crash(web.domid)
        while not isinstance(event := events.get(timeout=20), pyxen.DomainShutdown):
            assert event is not None
        assert changes.get(timeout=20) is not None
    web.destroy(timeout=20)
    assert offhost.left() == []


def test_a_guest_that_writes_over_its_request(
    offhost: OffHost, host: pyxen.Host, config: Configure, tmp_path: Path
) -> None:
    domains = [host.create(config(name=name)) for name in ("web", "shop")]
    over = threading.Event()

    def write(domid: int) -> None:
        with SocketStore(offhost.socket) as store:
            while not over.is_set():
                store.write(f"/local/domain/{domid}/control/shutdown", "x")

    writers = [threading.Thread(target=write, args=[domain.domid]) for domain in domains]
    for writer in writers:
        writer.start()
    began = time.monotonic()
    web, shop = domains
    for operation in (web.begin.suspend(timeout=SOON), shop.begin.save(tmp_path / "shop", timeout=SOON)):
        assert isinstance(operation.exception(PATIENCE + BOUND), OperationTimeout)
    assert time.monotonic() - began < SOON + PATIENCE + BOUND
    over.set()
    for writer in writers:
        writer.join(BOUND)
    assert all(info.state is not DomainState.SHUTDOWN for info in host.list())
    assert not [*tmp_path.iterdir()]
    for domain in domains:
        domain.destroy(timeout=20)
    assert offhost.left() == []
