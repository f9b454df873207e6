"""Hosts of libvirt's own test driver: real libvirt, without a daemon or a hypervisor."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

import pyxen
from pyxen import DomainConfig, Host
from pyxen.backends.libvirt.backend import LibvirtBackend

NODE = """<node>
  <cpu><nodes>2</nodes><sockets>2</sockets><cores>2</cores><threads>2</threads><mhz>1400</mhz></cpu>
  <memory>8000000</memory>
</node>
"""


@pytest.fixture
def uri(tmp_path: Path) -> str:
    """The URI of a host without domains, that nobody else sees."""
    (tmp_path / "node.xml").write_text(NODE)
    return f"test://{tmp_path}/node.xml"


@pytest.fixture
def host(uri: str) -> Iterator[Host]:
    with pyxen.connect(uri) as host:
        yield host


@pytest.fixture
def link(host: Host) -> LibvirtBackend:
    """The backend of that host."""
    assert isinstance(host._backend, LibvirtBackend)
    return host._backend


@pytest.fixture
def web1() -> DomainConfig:
    return DomainConfig("web1", type="pvh", kernel="/boot/vmlinuz", memory=64, vcpus=2)
