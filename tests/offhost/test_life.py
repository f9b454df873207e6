"""Domains from their creation to their end: libxl and libxenguest build them whole, frame by frame."""

from __future__ import annotations

import pytest

import pyxen
from pyxen import DomainConfig
from pyxen.info import DomainState
from tests.offhost.host import OffHost


@pytest.mark.parametrize("kind", ["pvh", "pv"])
def test_created_and_destroyed(offhost: OffHost, host: pyxen.Host, kernels: dict[str, str], kind: str) -> None:
    free = offhost.world.free_kib()
    web = host.create(DomainConfig(name="web", type=kind, kernel=kernels[kind], memory=64, vcpus=2))
    info = web.info()
    assert (info.name, info.type, info.maxvcpus, info.uuid) == ("web", kind, 2, web.uuid)
    assert info.state in {DomainState.RUNNING, DomainState.BLOCKED}
    assert offhost.world.free_kib() <= free - 64 * 1024
    web.destroy()
    assert [domain.domid for domain in host.list()] == [0]
    assert offhost.world.free_kib() == free
    assert offhost.store.directory("/local/domain") == ["0"]
    assert "domain" not in offhost.store.directory("/") 
