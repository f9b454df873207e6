"""What libxl records of a domain for itself, and whether it can read that."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import pyxen
from pyxen import DomainConfig, Pci, libxljson
from pyxen.errors import UnsupportedFeature
from tests.offhost.host import OffHost
from tests.offhost.internals import through_libxl, write_as_json_c

Configure = Callable[..., DomainConfig]

WEST = -3600


@pytest.mark.parametrize("offset", [WEST, -1, -(2**31), 2**31 - 1])
def test_an_offset_of_the_clock(offhost: OffHost, host: pyxen.Host, config: Configure, offset: int) -> None:
    web = host.create(config(rtc_timeoffset=offset))
    assert web.config().rtc_timeoffset == offset
    web.rename("web2")
    assert web.config().rtc_timeoffset == offset
    web.destroy()
    assert offhost.left() == []


def record_of(offhost: OffHost, domain: pyxen.Domain) -> Path:
    """Return the file of libxl's record of a domain."""
    return offhost.root / "var/lib/xen" / f"userdata-d.{domain.domid}.{domain.uuid}.libxl-json"


def test_a_record_that_libxl_cannot_read(offhost: OffHost, host: pyxen.Host, config: Configure) -> None:
    """As libxl of Xen 4.21 and newer writes it, and reads it no more than this one does."""
    web = host.create(config(rtc_timeoffset=WEST))
    path = record_of(offhost, web)
    record = json.loads(path.read_bytes().rstrip(b"\0"))
    record["b_info"]["rtc_timeoffset"] = WEST
    path.write_bytes(json.dumps(record).encode() + b"\0")
    says = "cannot read its own record of this domain: b_info.rtc_timeoffset=-3600"
    with pytest.raises(UnsupportedFeature, match=re.escape(says)) as caught:
        web.config()
    assert caught.value.feature == "b_info.rtc_timeoffset"
    web.destroy()
    assert offhost.left() == []


def test_a_record_that_libxl_cannot_read_for_another_reason(
    offhost: OffHost, host: pyxen.Host, config: Configure
) -> None:
    web = host.create(config())
    record_of(offhost, web).write_bytes(b"{\0")
    with pytest.raises(pyxen.OperationFailed):
        web.config()
    web.destroy()


def test_policies_of_cpuid_are_read(
    offhost: OffHost, host: pyxen.Host, config: Configure, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = host.create(config(cpuid="host,nx=0"))
    plain = before.config().cpuid
    assert max(leaf.leaf for leaf in plain.leaves) > 2**31
    before.destroy()
    write_as_json_c(monkeypatch)
    web = host.create(config(cpuid="host,nx=0"))
    assert web.config().cpuid == plain
    web.rename("web2")
    web.destroy()
    assert offhost.left() == []


@pytest.mark.parametrize(
    "settings",
    [{"pcis": [Pci("03:00.*")]}, {"pcis": [Pci("03:00.1", vslot=5), Pci("04:00.*")]}, {"irqs": [5, 2**32 - 1]}],
)
def test_large_numbers_of_hardware_are_read(
    host: pyxen.Host, config: Configure, monkeypatch: pytest.MonkeyPatch, settings: dict[str, Any]
) -> None:
    wanted = config("pv", **settings)
    write_as_json_c(monkeypatch)
    written = through_libxl(host)(wanted)
    assert "-1" in written
    read = libxljson.loads(written)
    assert [getattr(read, name) for name in settings] == [getattr(wanted, name) for name in settings]


def test_what_libxl_would_not_read_is_not_created(
    offhost: OffHost, host: pyxen.Host, config: Configure, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_as_json_c(monkeypatch)
    with pytest.raises(UnsupportedFeature, match=r"b_info.rtc_timeoffset=-3600: .* 0 to 2147483647 work"):
        host.create(config(rtc_timeoffset=WEST))
    assert offhost.left() == []
    host.create(config(rtc_timeoffset=-WEST)).destroy()
