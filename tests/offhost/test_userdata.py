"""Notes that libxl keeps with a domain, and the configuration of its next start."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from pyxen import DomainConfig, Host
from pyxen.errors import LossyConversion
from tests.offhost.host import OffHost
from tests.offhost.world import Reason

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


def test_notes_stay_with_a_domain_that_is_preserved(offhost: OffHost, host: Host, config: Configure) -> None:
    """Libxl names its files by domid and uuid: under the old uuid nobody finds them, and no destroy removes them."""
    web = host.create(config(on_crash="preserve"))
    notes = {"mine": b"\0x", "a.b-c_d": b"y"}
    for key, note in notes.items():
        web.set_userdata(key, note)
    other = offhost.root / "var/lib/xen" / f"userdata-d.{web.domid}.{web.uuid}.libvirt-xml"
    other.write_bytes(b"<domain/>")
    offhost.shut_down(web.domid, Reason.CRASH)
    old = web.preserve("-old")
    assert {key: old.userdata(key) for key in notes} == notes
    assert old.userdata("libvirt-xml") == b"<domain/>"
    assert not list(other.parent.glob(f"userdata-*.{web.uuid}.*"))
    old.destroy()
    assert offhost.left() == []


def test_what_holds_no_note_does_not_prevent_a_preservation(offhost: OffHost, host: Host, config: Configure) -> None:
    web = host.create(config(on_crash="preserve"))
    prefix = offhost.root / "var/lib/xen" / f"userdata-d.{web.domid}.{web.uuid}"
    empty, folder = prefix.with_name(f"{prefix.name}.empty"), prefix.with_name(f"{prefix.name}.folder")
    empty.touch()
    folder.mkdir()
    offhost.shut_down(web.domid, Reason.CRASH)
    assert web.preserve("-old").info().name == "web-old"
    empty.unlink()
    folder.rmdir()
