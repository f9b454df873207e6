"""For tests that run in dom0 of a real Xen host: ``make lab-test``, or pytest on a host of your own."""

from __future__ import annotations

import contextlib
import re
import tempfile
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import pyxen
from pyxen import Disk, Domain, DomainConfig, Host
from pyxen.config.enum_names import DomainTypeName
from tests.linux import LINUX
from tests.spoilt import pytest_runtest_makereport, pytest_runtest_protocol  # noqa: F401 (hooks)
from tests.xen.support import GUESTS, MakeConfig, at_rest, ready, wait_until, xenstore_entries, xl


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what needs more processors than the host has; `tools/test.py` runs it on a host that has them."""
    if config.option.setupplan:
        return  # only the names of the fixtures are looked at, without a host
    tell = re.search(r"^nr_cpus\s*: (\d+)", xl("info"), re.MULTILINE)
    if tell is None or int(tell[1]) < 2:
        left_out = [item for item in items if item.get_closest_marker("two_cpus")]
        items[:] = [item for item in items if item not in left_out]
        config.hook.pytest_deselected(items=left_out)


@pytest.fixture(scope="session", autouse=True)
def xen_log() -> Callable[[], str]:
    """Read Xen's log."""
    return lambda: xl("dmesg")


@pytest.fixture(scope="session")
def host() -> Iterator[Host]:
    """The host that the tests run on."""
    with pyxen.connect() as host:
        yield host


@pytest.fixture(scope="session")
def tiny() -> MakeConfig:
    """Make the configuration of a guest that idles: ``tiny("pvh", name="a", cmdline="poweroff")``."""

    def make(type: DomainTypeName = "pvh", *, name: str = "tiny", **settings: Any) -> DomainConfig:  # noqa: A002 (as the field)
        files: dict[str, Any] = {"kernel": str(GUESTS / f"tiny-{type}"), "memory": 8}
        if type == "hvm":
            disk = Disk(str(GUESTS / "tiny-hvm.img"), vdev="hda", readonly=False)
            files = {"memory": 32, "disks": [disk], "boot": "c"}
        return DomainConfig(name, type=type, **{**files, **settings})

    return make


@pytest.fixture(scope="session")
def willing(host: Host, tiny: MakeConfig) -> Callable[..., Domain]:
    """Have a tiny PV guest that shuts down and suspends when it is asked to: ``willing(on_reboot="preserve")``."""
    return lambda **settings: ready(host.create(tiny("pv", name="willing", memory=4, cmdline="willing", **settings)))


@pytest.fixture(scope="session")
def linux() -> MakeConfig:
    """Make the configuration of a Linux guest: it has drivers and a shell, and shuts down when it is asked to."""

    def make(type: DomainTypeName = "pvh", **settings: Any) -> DomainConfig:  # noqa: A002 (as the field)
        name = f"linux-{uuid.uuid4().hex[:8]}"  # each has a console log of its own
        return DomainConfig(name, type=type, **{**LINUX, **settings})

    return make


@contextlib.contextmanager
def saved(host: Host, config: DomainConfig) -> Iterator[Path]:
    """Have a Linux guest as it was saved when it was up and running: to restore it is much faster than to boot it."""
    with tempfile.TemporaryDirectory(dir="/var/tmp") as folder:
        domain = at_rest(host.create(config))
        domain.save(Path(folder, "booted"), timeout=120)
        yield Path(folder, "booted")


@pytest.fixture(scope="session")
def running_linux(host: Host, linux: MakeConfig) -> Iterator[Callable[..., Domain]]:
    """Have a PV Linux guest that is up and running: ``running_linux(on_poweroff="preserve")``."""
    with saved(host, linux("pv")) as file:
        yield lambda **settings: host.restore(file, linux("pv", **settings), timeout=120)


@pytest.fixture(scope="session")
def booted(host: Host, linux: MakeConfig) -> Iterator[Path]:
    """A saved PVH Linux guest. Other than a PV guest it can migrate in the lab; but it takes twice as long to boot."""
    with saved(host, linux()) as file:
        yield file


@pytest.fixture(scope="session")
def moving_linux(host: Host, booted: Path, linux: MakeConfig) -> Callable[..., Domain]:
    """Have a PVH Linux guest that is up and running: ``moving_linux(on_poweroff="preserve")``."""
    return lambda **settings: host.restore(booted, linux(**settings), timeout=120)


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder on a disk: guests are too large for a dom0's memory."""
    with tempfile.TemporaryDirectory(dir="/var/tmp") as path:
        yield Path(path)


@pytest.fixture
def slow_script(tmp_path: Path) -> str:
    """A hotplug script that takes too long to make a device, and not to take it away."""
    path = tmp_path / "vif-slow"
    path.write_text('#!/bin/sh\n[ "$1" = online ] && sleep 60\nexit 0\n')
    path.chmod(0o755)
    return str(path)


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
