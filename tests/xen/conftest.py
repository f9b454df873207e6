"""For tests that run in dom0 of a real Xen host: ``make lab-test``, or pytest on a host of your own."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from typing import Any

import pytest

import pyxen
from pyxen import Disk, DomainConfig, Host
from tests.xen.support import GUESTS, MakeConfig, wait_until, xenstore_entries


@pytest.fixture(scope="session")
def host() -> Iterator[Host]:
    """The host that the tests run on."""
    with pyxen.connect() as host:
        yield host


@pytest.fixture(scope="session")
def tiny() -> MakeConfig:
    """Make the configuration of a guest that idles: ``tiny("pvh", name="a", cmdline="poweroff")``."""

    def make(type: str = "pvh", *, name: str = "tiny", **settings: Any) -> DomainConfig:  # noqa: A002
        files: dict[str, Any] = {"kernel": str(GUESTS / f"tiny-{type}"), "memory": 8}
        if type == "hvm":
            disk = Disk(str(GUESTS / "tiny-hvm.img"), vdev="hda", readonly=False)
            files = {"memory": 32, "disks": [disk], "boot": "c"}
        return DomainConfig(name, type=type, **{**files, **settings})

    return make


@pytest.fixture(scope="session")
def linux() -> MakeConfig:
    """Make the configuration of a Linux guest, which answers when it is asked to shut down."""

    def make(type: str = "pvh", **settings: Any) -> DomainConfig:  # noqa: A002
        name = f"linux-{uuid.uuid4().hex[:8]}"  # each has a console log of its own
        files: dict[str, Any] = {"kernel": str(GUESTS / "vmlinux"), "ramdisk": str(GUESTS / "initramfs"), "memory": 160}
        return DomainConfig(name, type=type, **{**files, "cmdline": "console=hvc0 quiet", **settings})

    return make


@pytest.fixture(autouse=True)
def nothing_left(host: Host) -> Iterator[None]:
    """Check that a test leaves no domain and no entry in xenstore; end what one that failed left."""
    before, entries = {info.domid for info in host.list()}, xenstore_entries()
    yield
    left = [domain for domain in host.domains if domain.domid not in before]
    for domain in left:
        domain.destroy()
    assert not left
    wait_until(lambda: {info.domid for info in host.list()} <= before)  # until Xen has their memory back
    assert xenstore_entries() <= entries
