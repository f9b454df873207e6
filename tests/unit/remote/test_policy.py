"""What a client with --read-only may do."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from pyxen import DomainConfig, LiveDevice, NotPrivileged, Vfb, Vnc
from pyxen.backends.remote.verbs import VERBS
from pyxen.serve.policy import AS_ROOT, BELOW_ROOT, CHANGES, LOOKS, READ_ONLY, without_secrets
from tests.unit.remote.ends import served

HIDDEN = "hidden"


def test_every_verb_has_its_place() -> None:
    """A verb that is in neither set would be refused; one in both would be allowed by mistake."""
    assert set(VERBS) == LOOKS | CHANGES
    assert set() == LOOKS & CHANGES
    assert set() == AS_ROOT & BELOW_ROOT


def test_the_docs_name_all_verbs() -> None:
    """They are what a file of settings lists."""
    page = (Path(__file__).parents[3] / "docs" / "howto" / "remote.md").read_text()
    _, looks, changes = re.split(r'^Those of `"read-only"`:$|^All others:$', page, flags=re.MULTILINE)
    assert set(re.findall(r"`([a-z_]+)`", looks)) == LOOKS
    assert set(re.findall(r"`([a-z_]+)`", changes.split("\n\n")[1])) == CHANGES


def test_the_docs_warn_of_verbs_that_amount_to_root() -> None:
    """Each verb that they name there is one, and the server says so."""
    page = (Path(__file__).parents[3] / "docs" / "howto" / "remote.md").read_text()
    _, warning = page.split("is as good as root:**")
    named = set(re.findall(r"`([a-z_]+)`", warning.split("\n\nAt most")[0]))
    assert named - {"remove_orphans"} <= AS_ROOT  # which removes only what `claims_add` names
    assert len(named) > 10


def test_what_changes_is_refused() -> None:
    with served("memory:///readonly1", policy=READ_ONLY) as found:
        found.there.create(DomainConfig("web1", type="pvh", kernel="/boot/vmlinuz", memory=64))
        assert [info.name for info in found.host.list()] == ["Domain-0", "web1"]
        web1 = found.host.domains["web1"]
        for change in (web1.destroy, web1.pause, web1.console, lambda: found.host.log(clear=True)):
            with pytest.raises(NotPrivileged, match="--read-only"):
                change()
        with pytest.raises(NotPrivileged, match="--read-only"):
            found.host.xenstore.read("/local/domain/0/name")
        assert web1.info().is_running


def test_passwords_are_left_out() -> None:
    config = DomainConfig(
        "web1", type="hvm", memory=64, vnc=Vnc(enable=True, passwd=HIDDEN), vfbs=[Vfb(vnc=Vnc(passwd=HIDDEN))]
    )
    shown = without_secrets(config)
    assert "hidden" not in str(shown.to_dict())
    assert shown.vnc.enable is True
    device = LiveDevice(config=Vfb(vnc=Vnc(passwd=HIDDEN)))
    assert HIDDEN not in str([each.to_dict() for each in without_secrets((device,))])
    with served("memory:///readonly2", policy=READ_ONLY) as found:
        there = found.there.create(DomainConfig("web1", type="hvm", memory=64, vnc=Vnc(enable=True, passwd=HIDDEN)))
        assert there.config().vnc.passwd == HIDDEN
        here = found.host.domains["web1"]
        assert here.config() == there.config().replace(vnc=Vnc())
        vnc = here.endpoints().vnc
        assert vnc is not None
        assert vnc.password is None
