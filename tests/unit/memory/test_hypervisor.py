"""Xen itself on a host in memory, which a test can let say and have anything; in both faces."""

from __future__ import annotations

import asyncio
import operator
import os
import threading
from pathlib import Path
from typing import Any

import pytest

import pyxen
from pyxen import (
    FileMissing,
    HostClosed,
    HypfsEntry,
    HypfsType,
    InvalidArgument,
    NotFound,
    OperationFailed,
    UnsupportedFeature,
)
from pyxen.testing import FakeHost
from tests.waiting import join

ODD = "(XEN) \x1b[31mred\x07 \udcff é\n"
"""What a guest may let Xen write: an escape sequence, a bell, a byte that is not UTF-8."""


def test_the_log_is_what_was_written(fake: FakeHost) -> None:
    assert fake.log() == ""
    fake.write_log(ODD)
    fake.write_log("(XEN) two\n")
    assert fake.log(clear=True) == "(XEN) \x1b[31mred\x07 \\xff é\n(XEN) two\n"
    assert fake.log() == ""


def test_lines_are_followed(fake: FakeHost) -> None:
    fake.write_log("old\nhalf ")
    with fake.follow_log() as lines, fake.follow_log(whole=True) as whole:
        assert lines.get(0) is None
        assert whole.get(0) == "old"
        fake.write_log("a line\nanother")
        assert (lines.get(0), lines.get(0)) == ("half a line", None)
        fake.write_log(" line\n")
        assert (lines.get(0), lines.get(0)) == ("another line", None)
        assert [whole.get(0), whole.get(0), whole.get(0)] == ["half a line", "another line", None]
    assert "closed" in repr(lines)


def test_a_clear_between_loses_nothing_that_was_read(fake: FakeHost) -> None:
    with fake.follow_log() as lines:
        fake.write_log("one\n")
        assert lines.get(0) == "one"
        fake.log(clear=True)
        fake.write_log("two\n")
        assert lines.get(0) == "two"
        assert lines.lost == 0
        fake.write_log("lost\n")
        fake.log(clear=True)
        fake.write_log("three\n")
        assert lines.get(0) == "three"
        assert lines.lost == len("lost\n")


def test_what_was_overwritten_is_counted(fake: FakeHost) -> None:
    with fake.follow_log() as lines:
        fake.write_log("begun")
        assert lines.get(0) is None
        for number in range(10_000):
            fake.write_log(f"line {number}\n")
        read = list(iter(lambda: lines.get(0), None))
        assert read[0] == "begun"
        assert read[-1] == "line 9999"
        written = sum(len(f"line {number}\n") for number in range(10_000))
        assert lines.lost == written - sum(len(line) + 1 for line in read[1:]) > 0


def test_a_line_without_an_end_is_given_in_parts(fake: FakeHost) -> None:
    with fake.follow_log() as lines:
        read = []
        for _ in range(5):
            fake.write_log("x" * 20_000)
            read.append(lines.get(0))
        assert read == [None, None, None, "x" * 80_000, None]


def test_a_reader_waits_for_a_line(fake: FakeHost) -> None:
    with fake.follow_log() as lines:
        writer = threading.Timer(0.1, fake.write_log, ["later\n"])
        writer.start()
        assert next(lines) == "later"
        join(writer)
        closer = threading.Timer(0.1, lines.close)
        closer.start()
        assert list(lines) == []
        join(closer)


def test_lines_are_followed_in_asyncio(fake: FakeHost) -> None:
    async def main() -> None:
        async with fake.aio() as host:
            fake.write_log("old\n")
            async with host.follow_log(timeout=60) as lines:
                assert await lines.get(0) is None
                fake.write_log("one\ntwo\n")
                assert await lines.get() == "one"
                async for line in lines:
                    assert line == "two"
                    break
                reading = asyncio.ensure_future(anext(lines))
                await asyncio.sleep(0)
                fake.write_log("three\n")
                assert await reading == "three"
                assert lines.lost == 0
            assert "closed" in repr(lines)
            assert [line async for line in lines] == []
            with pytest.raises(HostClosed, match="closed"):
                await lines.get(1)
            assert [line async for line in host.follow_log(timeout=0, whole=True)] == ["old", "one", "two", "three"]
            assert (await host.log(clear=True)).startswith("old\n")
            assert await host.log() == ""

    asyncio.run(main())


@pytest.mark.parametrize("timeout", [float("nan"), -1, "5"])
def test_a_timeout_that_is_not_valid(fake: FakeHost, timeout: float) -> None:
    with pytest.raises(InvalidArgument, match="timeout="):
        fake.follow_log(timeout=timeout)
    with fake.follow_log() as lines, pytest.raises(InvalidArgument, match="timeout="):
        lines.get(timeout)


def test_debug_keys_are_recorded(fake: FakeHost) -> None:
    fake.debug_keys("q")
    fake.debug_keys("r0")
    assert fake.debug_keys_sent == "qr0"


@pytest.mark.parametrize(
    ("verb", "call"),
    [
        ("log", lambda host: host.log()),
        ("log", lambda host: host.follow_log()),
        ("debug_keys", lambda host: host.debug_keys("q")),
        ("set_parameters", lambda host: host.set_parameters("loglvl=all")),
        ("hypfs_read", lambda host: host.hypfs["/params/loglvl"]),
        ("hypfs_list", lambda host: list(host.hypfs)),
        ("hypfs_write", lambda host: host.hypfs.write("/params/loglvl", "all")),
    ],
)
def test_each_can_fail(fake: FakeHost, verb: str, call: object) -> None:
    assert callable(call)
    fake.fail(verb, OperationFailed("stuck"))
    with pytest.raises(OperationFailed, match=f"{verb}: stuck"):
        call(fake)
    assert fake.debug_keys_sent == ""
    call(fake)


def test_hypfs_has_what_the_test_puts_there(fake: FakeHost) -> None:
    fake.hypfs_values |= {
        "/params/ept/ad": True,
        "/params/count": 3,
        "/params/delta": -3,
        "/params/note": "text",
        "/buildinfo/config": b"\0\x01",
    }
    assert fake.hypfs.get("/params/ept/ad") is True
    assert fake.hypfs["/buildinfo/config"] == b"\0\x01"
    assert fake.hypfs.list("/params/ept") == (HypfsEntry("/params/ept/ad", HypfsType.BOOL, 1, writable=True),)
    assert [entry.name for entry in fake.hypfs.list("/params")] == [
        *("count", "delta", "ept", "guest_loglvl", "loglvl", "note")
    ]
    written: list[tuple[str, str | int, object]] = [
        ("/params/ept/ad", "off", False),
        ("/params/ept/ad", 1, True),
        ("/params/count", "0x20", 32),
        ("/params/delta", -7, -7),
        ("/params/note", "more", "more"),
    ]
    for path, value, found in written:
        fake.hypfs[path] = value
        assert fake.hypfs[path] == found
    for path, refused in (("/params/ept/ad", "perhaps"), ("/params/count", -1), ("/params/count", "many")):
        with pytest.raises(InvalidArgument, match=f"{path}.*does not take"):
            fake.hypfs[path] = refused
    fake.set_parameters("noept/ad")
    assert fake.hypfs.get("/params/ept/ad") is False
    with pytest.raises(InvalidArgument, match="does not take count=many"):
        fake.set_parameters("count=many")


def test_hypfs_in_asyncio(fake: FakeHost) -> None:
    async def main() -> None:
        async with fake.aio() as host:
            assert await host.hypfs["/buildinfo/version/major"] == 4
            assert await host.hypfs.get("/nothing") is None
            with pytest.raises(NotFound):
                await host.hypfs["/nothing"]
            await host.hypfs.write("/params/loglvl", "all")
            assert [path async for path in host.hypfs] == list(fake.hypfs)
            assert await host.hypfs.list() == fake.hypfs.list()
            with pytest.raises(TypeError, match=r"await hypfs\.get"):
                operator.contains(host.hypfs, "/nothing")
            with pytest.raises(TypeError, match="async for"):
                operator.methodcaller("__iter__")(host.hypfs)
            await host.debug_keys("h")
            await host.set_parameters("loglvl=none")

    asyncio.run(main())
    assert fake.hypfs["/params/loglvl"] == "none"
    assert fake.debug_keys_sent == "h"


def test_the_release_is_in_hypfs() -> None:
    with FakeHost(xen="4.17.5-pre") as fake:
        version = [fake.hypfs[f"/buildinfo/version/{part}"] for part in ("major", "minor", "extra")]
        assert version == [4, 17, ".5-pre"]
        assert "Hypfs of memory:///" in repr(fake.hypfs)
        assert isinstance(fake.hypfs, pyxen.Hypfs)


def test_flask_is_off_unless_a_test_turns_it_on(fake: FakeHost, tmp_path: Path) -> None:
    assert "Flask of memory:///" in repr(fake.flask)
    with pytest.raises(UnsupportedFeature, match="flask=enforcing"):
        fake.flask.enforcing()
    fake.enable_flask({1: "system_u:system_r:dom0_t", 5: "system_u:system_r:domU_t"})
    assert fake.flask.enforcing()
    fake.flask.set_enforcing(False)
    assert not fake.flask.enforcing()
    assert fake.flask.label(5) == "system_u:system_r:domU_t"
    assert fake.flask.ssidref("system_u:system_r:dom0_t") == 1
    with pytest.raises(InvalidArgument, match="no label 0"):
        fake.flask.label(fake.domains[0].info())
    with pytest.raises(InvalidArgument, match="no label other"):
        fake.flask.ssidref("other")
    policy = tmp_path / "policy"
    policy.write_bytes(b"policy")
    fake.flask.load_policy(policy)
    fake.flask.load_policy(b"another")


def test_content_that_is_not_valid(fake: FakeHost, tmp_path: Path) -> None:
    fake.enable_flask({})
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "empty").touch()
    with (tmp_path / "large").open("wb") as large:
        large.truncate((64 << 20) + 1)
    refused: list[tuple[Any, str]] = [
        (tmp_path / "fifo", "not a regular file"),
        (tmp_path, "not a regular file"),
        (tmp_path / "empty", "is empty"),
        (tmp_path / "large", "has more than 67108864 bytes"),
        (b"", "is empty"),
        ("a\0b", "is not a path"),
        ("\ud800", "is not a path"),
        (None, "takes a str"),
        (3, "takes a str"),
    ]
    for given, why in refused:
        with pytest.raises(InvalidArgument, match=why) as caught:
            fake.flask.load_policy(given)
        assert caught.value.operation == "load_policy"
    with pytest.raises(FileMissing, match="nothing"):
        fake.flask.load_policy(tmp_path / "nothing")


def test_the_others_in_asyncio(fake: FakeHost) -> None:
    async def main() -> None:
        async with fake.aio() as host:
            with pytest.raises(UnsupportedFeature, match="psr: memory cannot do this"):
                await host.psr.monitoring()
            with pytest.raises(UnsupportedFeature, match="device_tree: memory cannot do this"):
                await host.device_tree.add(b"overlay")
            with pytest.raises(UnsupportedFeature, match="flask=enforcing"):
                await host.flask.label(0)
            with pytest.raises(InvalidArgument, match="takes a Domain, not str"):
                await host.psr.attach("web1")  # type: ignore[arg-type]  # wrong on purpose
            with pytest.raises(UnsupportedFeature):
                await host.psr.attach(await host.domains[0])

    asyncio.run(main())
