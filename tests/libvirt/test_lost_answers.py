"""Queries whose answer is lost with the link: an error, and never a wrong answer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import libvirt
import pytest

import pyxen
from pyxen import ConnectFailed, Disk, DomainConfig, Host, Vif
from pyxen.backends.base import DomainRef
from pyxen.backends.libvirt.backend import LibvirtBackend
from tests.libvirt.test_unanswered import broken
from tests.xen.support import wait_until

WEB = DomainConfig(
    "web1",
    type="pvh",
    kernel="/boot/vmlinuz",
    memory=64,
    vcpus=1,
    maxvcpus=2,
    disks=[Disk("/dev/null", vdev="xvda")],
    vifs=[Vif(bridge="xenbr0")],
)


def fails_once(monkeypatch: pytest.MonkeyPatch, cls: type, name: str, error: libvirt.libvirtError) -> None:
    real = getattr(cls, name)

    def call(*_: Any) -> Any:
        monkeypatch.setattr(cls, name, real)
        raise error

    monkeypatch.setattr(cls, name, call)


def busy() -> libvirt.libvirtError:
    """Return what libvirt raises when something else holds a domain."""
    text = "Timed out during operation: cannot acquire state change lock"
    error = libvirt.libvirtError(text)
    error.err = (libvirt.VIR_ERR_OPERATION_TIMEOUT, libvirt.VIR_FROM_LIBXL, text, 2, None, None, None, -1, -1)
    return error


@pytest.mark.parametrize("call", ["vcpus", "blockStats", "interfaceStats", "maxVcpus"])
def test_statistics(host: Host, link: LibvirtBackend, monkeypatch: pytest.MonkeyPatch, call: str) -> None:
    domain = host.create(WEB)
    link._reader._kept.clear()
    fails_once(monkeypatch, libvirt.virDomain, call, broken())
    with pytest.raises(ConnectFailed):
        domain.stats()
    wait_until(lambda: not link._link._broken)


def test_networks(monkeypatch: pytest.MonkeyPatch) -> None:
    with pyxen.connect("test:///default") as host:
        assert [network.bridge for network in host.libvirt.networks()] == ["virbr0"]
        fails_once(monkeypatch, libvirt.virNetwork, "bridgeName", broken())
        with pytest.raises(ConnectFailed):
            host.libvirt.networks()


@pytest.mark.parametrize("error", [broken, busy])
def test_how_many_vcpus_a_domain_can_have_is_asked_again(
    host: Host, link: LibvirtBackend, monkeypatch: pytest.MonkeyPatch, error: Callable[[], libvirt.libvirtError]
) -> None:
    domain = host.create(WEB)
    link._reader._kept.clear()
    link._reader._bulk = False  # as with libvirt's Xen driver
    fails_once(monkeypatch, libvirt.virDomain, "maxVcpus", error())
    with link._link.look() as connection, pytest.raises(libvirt.libvirtError):
        link._reader.all(connection)
    assert domain.info().maxvcpus == 2


def test_a_domain_that_cannot_be_asked_for_is_not_said_to_be_gone(
    host: Host, link: LibvirtBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    domain = host.create(WEB)
    with host.events():
        ref = DomainRef(domain.domid, domain.uuid)
        fails_once(monkeypatch, libvirt.virConnect, "lookupByUUIDString", broken())
        assert link._watcher._is_there(ref)
        wait_until(lambda: not link._link._broken)
