"""Configurations that are kept."""

from __future__ import annotations

from uuid import uuid4

import pytest

from pyxen import DomainExists, DomainNotFound, Feature, Host, ValidationError
from tests.backends.support import Make, supporting


def test_define_start_and_forget(host: Host, config: Make) -> None:
    with supporting(host, Feature.DEFINE):
        kept = host.define(config("web1"))
        assert (kept.name, kept.autostart, kept.domid) == ("web1", False, None)
        assert host.defined() == [kept]
        domain = host.start("web1", paused=True)
        assert domain.uuid == kept.uuid
        assert domain.info().name == "web1"
        assert host.defined()[0].domid == domain.domid
        with pytest.raises(DomainExists):
            host.start(kept.uuid)
        host.undefine("web1")
        assert host.defined() == []
        assert domain in host.domains


def test_it_is_the_same_domain_each_time(host: Host, config: Make) -> None:
    with supporting(host, Feature.DEFINE):
        kept = host.define(config("web1"))
        first = host.start("web1")
        first.destroy()
        second = host.start(str(kept.uuid))
        assert (second.uuid, second.info().name) == (first.uuid, "web1")
        assert second != first


def test_autostart(host: Host, config: Make) -> None:
    with supporting(host, Feature.DEFINE):
        assert host.define(config("web1"), autostart=True).autostart
        assert host.define(config("web1", vcpus=2)).autostart  # as it was
        host.set_autostart("web1", False)
        assert not host.defined()[0].autostart
        assert not host.define(config("web1")).autostart


def test_defining_again_takes_its_place(host: Host, config: Make) -> None:
    with supporting(host, Feature.DEFINE):
        kept = host.define(config("web1"))
        assert host.define(config("web1", vcpus=2)).uuid == kept.uuid
        assert len(host.defined()) == 1
        domain = host.start("web1", paused=True)
        assert domain.config().vcpus == 2
        with pytest.raises(DomainExists):
            host.define(config("web1", uuid=uuid4()))


def test_by_name(host: Host, config: Make) -> None:
    with supporting(host, Feature.DEFINE):
        for name in ("web2", "web1", "web3"):
            host.define(config(name))
        assert [kept.name for kept in host.defined()] == ["web1", "web2", "web3"]


def test_what_is_not_kept(host: Host, config: Make) -> None:
    with supporting(host, Feature.DEFINE):
        host.define(config("web1"))
        for call in (host.undefine, host.start, lambda key: host.set_autostart(key, True)):
            with pytest.raises(DomainNotFound, match="web1"):
                call("nobody")
        with pytest.raises(ValidationError):
            host.define(config("web2", memory=64, maxmem=32))
        assert len(host.defined()) == 1
