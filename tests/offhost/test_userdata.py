"""Notes that libxl keeps with a domain, and the configuration of its next start."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from pyxen import DomainConfig, Host
from pyxen.errors import LossyConversion
from tests.offhost.host import OffHost

Configure = Callable[..., DomainConfig]


def test_what_is_not_there_is_removed_already(offhost: OffHost, host: Host, config: Configure) -> None:
    web = host.create(config())
    web.set_userdata("note", None)
    web.set_userdata("note", b"\0x")
    assert web.userdata("note") == b"\0x"
    web.set_userdata("note", None)
    web.set_userdata("note", None)
    assert web.userdata("note") is None
    web.destroy()
    assert offhost.left() == []


def test_the_configuration_of_the_next_start(offhost: OffHost, host: Host, config: Configure) -> None:
    web = host.create(config())
    web.update_config(None)
    web.update_config(config(memory=24))
    assert b"memory = 24" in (web.userdata("xl") or b"")
    assert web.config().memory == 16
    with pytest.raises(LossyConversion):
        web.update_config(config(memory=24.5))
    web.update_config(None)
    web.update_config(None)
    assert web.userdata("xl") is None
    assert host.apply(config(memory=16, cmdline="quiet"), persistent=True).reasons
    assert b"quiet" in (web.userdata("xl") or b"")
    web.destroy()
    assert offhost.left() == []
