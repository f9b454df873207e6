"""Xen itself: its log, its debug keys, its parameters, its file system."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

import pyxen
from pyxen import (
    DomainNotFound,
    Feature,
    Host,
    HostClosed,
    HypfsType,
    InvalidArgument,
    NotFound,
    PsrKind,
    PsrMonitoring,
    UnsupportedFeature,
)
from tests.backends.support import Make, supporting


def test_the_log(host: Host) -> None:
    with supporting(host, Feature.LOG):
        text = host.log()
        assert isinstance(text, str)
        assert host.log().startswith(text[: len(text) // 2])


def test_a_cleared_log_begins_again(host: Host) -> None:
    with supporting(host, Feature.LOG):
        before = host.log(clear=True)
        assert len(host.log()) <= len(before)


def test_a_reader_of_the_log_ends_in_time(host: Host) -> None:
    with supporting(host, Feature.LOG), host.follow_log(timeout=0) as lines:
        assert list(lines) == []
        assert lines.get(0) is None
        assert lines.lost == 0


def test_a_reader_that_was_closed(host: Host) -> None:
    with supporting(host, Feature.LOG):
        lines = host.follow_log()
        lines.close()
        lines.close()
        assert list(lines) == []
        with pytest.raises(HostClosed, match="this reader of the log was closed"):
            lines.get(1)


@pytest.mark.parametrize("keys", ["", "\x1b", "é", "q\n", "q" * 300, None, 3, b"q"])
def test_debug_keys_that_are_none(host: Host, keys: Any) -> None:
    if host.supports("debug_keys"):
        with pytest.raises(InvalidArgument) as caught:
            host.debug_keys(keys)
        assert caught.value.operation == "debug_keys"


def test_hypfs_is_a_tree(host: Host) -> None:
    with supporting(host, Feature.HYPFS):
        top = {entry.name: entry for entry in host.hypfs.list()}
        assert top["params"].type is top["buildinfo"].type is HypfsType.DIR
        assert not top["params"].writable
        paths = list(host.hypfs)
        assert len(host.hypfs) == len(paths) == len(set(paths))
        assert paths == sorted(paths)
        assert {"/buildinfo/version/major", "/params/loglvl"} <= set(paths)
        assert "/params/loglvl" in host.hypfs
        assert "/params" in {entry.path for entry in host.hypfs.list(recursive=True)}
        for entry in host.hypfs.list("/params"):
            assert entry.path == f"/params/{entry.name}"


def test_the_values_in_hypfs(host: Host) -> None:
    with supporting(host, Feature.HYPFS):
        version = (int(host.hypfs[f"/buildinfo/version/{part}"]) for part in ("major", "minor"))
        assert host.info().xen_version.startswith(".".join(map(str, version)))
        types = {"string": str, "uint": int, "int": int, "bool": bool, "blob": bytes}
        for entry in host.hypfs.list(recursive=True):
            if entry.type is not HypfsType.DIR:
                assert type(host.hypfs[entry.path]) is types[entry.type]
        assert host.hypfs.get("/nothing") is None
        assert "/nothing" not in host.hypfs


def test_what_hypfs_has_not(host: Host) -> None:
    with supporting(host, Feature.HYPFS):
        for path in ("/nothing", "/params/nothing", "/params/loglvl/below"):
            with pytest.raises(NotFound, match=path):
                host.hypfs[path]
            with pytest.raises(NotFound, match=path):
                host.hypfs.list(path)
            with pytest.raises(NotFound, match=path):
                host.hypfs[path] = 1


def test_directories_and_values(host: Host) -> None:
    with supporting(host, Feature.HYPFS):
        with pytest.raises(InvalidArgument, match="/params is a directory"):
            host.hypfs["/params"]
        with pytest.raises(InvalidArgument, match="/params/loglvl is not a directory"):
            host.hypfs.list("/params/loglvl")
        for path in ("/params", "/buildinfo/version/major"):
            with pytest.raises(InvalidArgument, match=f"{path} cannot be written"):
                host.hypfs[path] = "1"


@pytest.mark.parametrize("path", ["", "params", "/a\0b", "/a\nb", "/é", "/" * 1100, None, 3, b"/params"])
def test_paths_that_are_not_valid(host: Host, path: Any) -> None:
    if host.supports("hypfs"):
        calls: list[Callable[[], object]] = [
            lambda: host.hypfs[path],
            lambda: host.hypfs.list(path),
            lambda: host.hypfs.write(path, 1),
        ]
        for call in calls:
            with pytest.raises(InvalidArgument):
                call()


@pytest.mark.parametrize(
    "value", [None, 1.5, b"all", "a\0b", "é", "x" * 5000, 1 << 64, -(1 << 64), pytest.param(10**5000, id="huge")]
)
def test_values_that_are_not_valid(host: Host, value: Any) -> None:
    if host.supports("hypfs"):
        before = host.hypfs["/params/loglvl"]
        with pytest.raises(InvalidArgument):
            host.hypfs["/params/loglvl"] = value
        assert host.hypfs["/params/loglvl"] == before


@pytest.mark.parametrize("text", ["", " ", "loglvl", "=all", "loglvl=a\0b", "loglvl=\t", "no", "no=", None, 1])
def test_what_is_no_parameter(host: Host, text: Any) -> None:
    """Libxl crashes on a name without a value."""
    if host.supports("set_parameters"):
        with pytest.raises((InvalidArgument, NotFound)) as caught:
            host.set_parameters(text)
        assert caught.value.operation == "set_parameters"


@pytest.mark.parametrize("text", ["nothing=1", "nonothing", "dom0_mem=1"])
def test_parameters_that_cannot_be_changed(host: Host, text: str) -> None:
    if host.supports("set_parameters"):
        with pytest.raises(NotFound, match="no parameter that can be changed"):
            host.set_parameters(text)


@pytest.mark.needs(Feature.PARAMETERS, Feature.HYPFS)
def test_a_parameter_is_set(host: Host) -> None:
    before = str(host.hypfs["/params/guest_loglvl"])
    try:
        host.set_parameters(" guest_loglvl=error  guest_loglvl=all/all ")
        assert host.hypfs["/params/guest_loglvl"] != ""
        with pytest.raises(NotFound, match="nothing"):
            host.set_parameters("guest_loglvl=error nothing=1")
    finally:
        host.set_parameters(f"guest_loglvl={before}")
    assert host.hypfs["/params/guest_loglvl"] == before


def test_flask(host: Host) -> None:
    """Hosts of these tests run without it."""
    if not host.supports("flask"):
        return
    calls: list[Callable[[], object]] = [
        host.flask.enforcing,
        lambda: host.flask.set_enforcing(True),
        lambda: host.flask.load_policy(b"policy"),
        lambda: host.flask.label(host.list()[0]),
        lambda: host.flask.ssidref("system_u:system_r:domU_t"),
    ]
    for call in calls:
        with pytest.raises(UnsupportedFeature, match="flask=enforcing") as caught:
            call()
        assert caught.value.feature == "flask"
        assert caught.value.backend
    refused: list[Callable[[], object]] = [
        lambda: host.flask.label(-1),
        lambda: host.flask.label(1 << 40),
        lambda: host.flask.label("1"),  # type: ignore[arg-type]  # wrong on purpose
        lambda: host.flask.ssidref(""),
        lambda: host.flask.ssidref("a\0b"),
        lambda: host.flask.ssidref("x" * 5000),
        lambda: host.flask.ssidref(1),  # type: ignore[arg-type]  # wrong on purpose
        lambda: host.flask.set_enforcing(1),  # type: ignore[arg-type]  # wrong on purpose
        lambda: host.flask.load_policy(b""),
    ]
    for call in refused:
        with pytest.raises(InvalidArgument):
            call()


def test_caches_that_cannot_be_watched(host: Host, make: Make) -> None:
    """The processors that these tests run on cannot."""
    with supporting(host, Feature.PSR):
        assert host.psr.monitoring() == PsrMonitoring(enabled=False, total_rmids=0, events=())
        assert host.psr.allocations() == ()
        domain = make(memory=16)
        assert not host.psr.is_attached(domain)
        calls: list[Callable[[], object]] = [
            host.psr.cache_kib,
            lambda: host.psr.attach(domain),
            lambda: host.psr.detach(domain),
            lambda: host.psr.sample(domain),
            *(partial(host.psr.get, domain, kind) for kind in PsrKind),
            *(partial(host.psr.set, domain, kind, 1) for kind in PsrKind),
            lambda: host.psr.set(domain, "l3", 1, sockets=[0]),
        ]
        for call in calls:
            with pytest.raises(UnsupportedFeature, match="psr=cat") as caught:
                call()
            assert caught.value.feature == "psr"
        for other in (
            lambda: host.psr.get(domain, "l3", socket=7),
            lambda: host.psr.set(domain, "l3", 1, sockets=[0, 7]),
        ):
            with pytest.raises(InvalidArgument, match="no socket 7; it has 0"):
                other()
        for value in (-1, 1 << 64, None, "1"):
            with pytest.raises(InvalidArgument):
                host.psr.set(domain, "l2", value)  # type: ignore[arg-type]  # wrong on purpose
        with pytest.raises(InvalidArgument, match="l3, l3_code"):
            host.psr.get(domain, "l4")  # type: ignore[arg-type]  # wrong on purpose
        domain.destroy()
        with pytest.raises(DomainNotFound):
            host.psr.attach(domain)


def test_overlays_that_are_not_valid(host: Host) -> None:
    if host.supports("device_tree"):
        for overlay in (b"", b"x", b"\xd0\x0d\xfe\xed" + bytes(100), b"\0" * (600 << 10)):
            with pytest.raises(InvalidArgument):
                host.device_tree.add(overlay)


def test_a_host_that_was_closed_says_nothing(uri: str, host: Host) -> None:
    if host.supports("log"):
        other = pyxen.connect(uri)
        lines = other.follow_log()
        other.close()
        assert list(lines) == []
        calls: list[Callable[[], object]] = [
            other.log,
            other.follow_log,
            lines.get,
            lambda: other.debug_keys("h"),
            lambda: other.set_parameters("loglvl=all"),
            other.hypfs.list,
        ]
        for call in calls:
            with pytest.raises(HostClosed):
                call()
