"""A configuration that somebody else wrote reaches libxl checked, or not at all; nothing but our errors comes out."""

from __future__ import annotations

import contextlib
import copy
import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pyxen import DomainConfig, libxljson
from pyxen.backends.xenlight.libxl import marshal
from pyxen.backends.xenlight.libxl.received_json import read
from pyxen.errors import ConfigError, Error, InvalidArgument, LossyConversion, ParseError, UnsupportedFeature
from pyxen.testing.strategies import domain_configs

PVH: dict[str, Any] = libxljson.to_dict(
    DomainConfig(name="web", type="pvh", kernel="/k", memory=64, vcpus=2, maxvcpus=4, cpuid="host,nx=0")
)

Change = Callable[[dict[str, Any]], object]


def changed(change: Change) -> str:
    document = copy.deepcopy(PVH)
    change(document)
    return json.dumps(document)


def test_what_is_right_comes_through() -> None:
    received = read(json.dumps(PVH), "file")
    assert received.config.name == "web"
    assert json.loads(received.json) == PVH


@settings(max_examples=100, deadline=None, database=None, suppress_health_check=[HealthCheck.too_slow])
@given(config=domain_configs(resolved=True))
def test_what_pyxen_writes_it_takes_back(config: DomainConfig) -> None:
    try:
        document = json.loads(marshal.prepare(config).json)
    except (ConfigError, UnsupportedFeature):
        return
    assert json.loads(read(json.dumps(document), "file").json) == document


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda d: d["b_info"].update(avail_vcpus=[-100]), "avail_vcpus: takes numbers from 0"),
        (lambda d: d["b_info"].update(avail_vcpus=[2**31]), "avail_vcpus: takes numbers from 0"),
        (lambda d: d["b_info"].update(avail_vcpus=[2**70]), "avail_vcpus: takes numbers from 0"),
        (lambda d: d["b_info"].update(avail_vcpus=[400]), "beyond max_vcpus=4"),
        (lambda d: d["b_info"].update(avail_vcpus=[0, 1.5]), "whole numbers"),
        (lambda d: d["b_info"].update({"type.pv": {}}), "cannot both be set"),
        (lambda d: d["b_info"].pop("type.pvh"), "no settings of a pvh guest"),
        (lambda d: d["c_info"].update(type="hvm"), "no settings of a hvm guest"),
        (lambda d: d["c_info"].update(type=["pvh"]), "takes a string"),
        (lambda d: d["c_info"].update(name="a\0b"), "c_info.name: has a character"),
        (lambda d: d["c_info"].update(name="\ud800"), "c_info.name: has a character"),
        (lambda d: d["c_info"].pop("name"), "a domain needs a name"),
        (lambda d: d.pop("c_info"), "no settings"),
        (lambda d: d.update(b_info=[]), "takes an object"),
        (lambda d: d.update(disks={}), "takes a list"),
        (lambda d: d["b_info"].update(max_vcpus=-1), "max"),
        (lambda d: d["b_info"].update(target_memkb=2**65), "takes a whole number from 0"),
        (lambda d: d["b_info"].update(vnuma_nodes=[{"memkb": 1024, "distances": [], "pnode": 0}]), "one for each node"),
        (lambda d: d["b_info"]["cpuid"]["cpuid"][0].update(edx="0"), "takes 32 characters"),
    ],
)  # fmt: skip
def test_what_would_end_the_process(change: Change, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        read(changed(change), "file")


@pytest.mark.parametrize(
    "text",
    ["", "[]", "7", "{", "[" * 100_000, '{"b_info":' * 100_000, '{"a": 1, "a": 2}', b"\xff{}", "1" * 5000],
)  # fmt: skip
def test_what_is_no_configuration(text: str | bytes) -> None:
    with pytest.raises(ParseError):
        read(text, "file")


def test_unsigned_numbers_as_newer_releases_write_them() -> None:
    received = read(changed(lambda d: d["b_info"].update(rtc_timeoffset=-3600)), "file")
    assert received.document["b_info"]["rtc_timeoffset"] == 2**32 - 3600


def test_a_bitmap_is_in_order() -> None:
    received = read(changed(lambda d: d["b_info"].update(avail_vcpus=[1, 0, 1])), "file")
    assert received.document["b_info"]["avail_vcpus"] == [0, 1]


def test_what_this_release_does_not_know_is_left_out(caplog: pytest.LogCaptureFixture) -> None:
    received = read(changed(lambda d: d["b_info"].update({"new\x1b": {"deep": [1]}})), "file")
    assert received.document == PVH
    assert "b_info.new\\x1b: it is left out" in caplog.text


def test_allow_sees_it_first() -> None:
    seen: list[DomainConfig] = []
    read(json.dumps(PVH), "file", seen.append)
    assert [config.kernel for config in seen] == ["/k"]
    with pytest.raises(InvalidArgument, match="allow refused the configuration of web"):
        read(json.dumps(PVH), "file", lambda config: config.kernel != "/k")
    with pytest.raises(ZeroDivisionError):
        read(json.dumps(PVH), "file", lambda _: bool(1 // 0))


def test_allow_is_not_bypassed_by_what_pyxen_cannot_show() -> None:
    text = changed(lambda d: d["b_info"].update(avail_vcpus=[0, 3]))
    read(text, "file")
    with pytest.raises(LossyConversion):
        read(text, "file", lambda _: True)


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5) | st.floats(allow_nan=False, allow_infinity=False),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=300, deadline=None, database=None)
@given(data=st.data())
def test_nothing_but_our_errors_comes_out(data: st.DataObject) -> None:
    document = copy.deepcopy(PVH)
    part = data.draw(st.sampled_from([document, document["c_info"], document["b_info"]]))
    part[data.draw(st.sampled_from([*part, "disks", "vnuma_nodes", "ioports", "cpuid", "type.hvm"]))] = data.draw(
        ANYTHING
    )
    with contextlib.suppress(Error):
        read(json.dumps(document), "file")
