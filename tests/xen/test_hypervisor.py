"""Xen itself, compared with what xl and xenhypfs show of it."""

from __future__ import annotations

import asyncio
import re
import subprocess
import time
from collections.abc import Iterator

import pytest

import pyxen
from pyxen import Host, InvalidArgument, LogReader, NotFound
from tests.xen.support import xl


def xenhypfs(*arguments: str) -> str:
    """Run the tool that comes with libxenhypfs."""
    command = ["xenhypfs", *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=60).stdout


def read_for(lines: LogReader, seconds: float) -> list[str]:
    """Return the lines up to a pause of this length."""
    return list(iter(lambda: lines.get(seconds), None))


def answer_to_h(host: Host, lines: LogReader) -> list[str]:
    """Return what Xen writes for the debug key ``h``."""
    host.debug_keys("h")
    answer = read_for(lines, 1)
    assert "'h' pressed" in answer[0]
    return answer


@pytest.fixture
def verbose(host: Host) -> Iterator[None]:
    """Let Xen write everything to its log."""
    before = host.hypfs["/params/loglvl"]
    host.set_parameters("loglvl=all")
    yield
    host.hypfs["/params/loglvl"] = str(before)


def test_the_log_is_that_of_xl(host: Host) -> None:
    assert host.log() == xl("dmesg")


def test_the_log_is_cleared_as_xl_does(host: Host) -> None:
    host.debug_keys("h")
    text = host.log(clear=True)
    assert "'h' pressed -> showing installed handlers" in text
    assert xl("dmesg") == host.log() == ""
    xl("debug-keys", "h")
    shown = xl("dmesg", "-c")
    assert "'h' pressed" in shown
    assert host.log() == ""


def test_debug_keys_are_those_of_xl(host: Host) -> None:
    host.log(clear=True)
    xl("debug-keys", "h")
    of_xl = host.log(clear=True)
    host.debug_keys("h")
    assert host.log(clear=True) == of_xl
    host.debug_keys("hh")
    assert host.log(clear=True) == 2 * of_xl


def test_lines_are_followed_while_the_log_wraps(host: Host) -> None:
    """Several times as much is written as Xen keeps, and each line is read once."""
    with host.follow_log(timeout=200) as lines:
        once = answer_to_h(host, lines)
        times = (1 << 17) // sum(len(line) + 1 for line in once)
        read = []
        for _ in range(times):
            host.debug_keys("h")
            read += read_for(lines, 0)
        read += read_for(lines, 1)
        assert [line for line in read if line in once] == times * once  # Xen may say other things meanwhile
        assert lines.lost == 0


def test_what_was_overwritten_is_counted(host: Host) -> None:
    with host.follow_log() as lines:
        once = answer_to_h(host, lines)
        size = sum(len(line) + 1 for line in once)
        times = (1 << 17) // size
        for _ in range(times):
            host.debug_keys("h")
        read = read_for(lines, 0.5)
        assert lines.lost > 0
        assert [line for line in read if line in once][-len(once) :] == once
        assert sum(len(line) + 1 for line in read) + lines.lost >= times * size


def test_the_log_is_followed_in_asyncio() -> None:
    async def main() -> None:
        async with pyxen.aio.connect() as host, host.follow_log(timeout=60) as lines:
            await host.debug_keys("h")
            async for line in lines:
                assert "'h' pressed" in line
                break
            assert lines.lost == 0

    asyncio.run(main())


def test_a_reader_ends_at_its_deadline(host: Host) -> None:
    begin = time.monotonic()
    assert isinstance(list(host.follow_log(timeout=0.3)), list)
    assert time.monotonic() - begin >= 0.3


def test_hypfs_is_that_of_the_tool(host: Host) -> None:
    entries = host.hypfs.list(recursive=True)
    assert len(entries) == len(xenhypfs("tree").splitlines()) - 1  # it shows the root, too
    parents = {entry.path.rpartition("/")[0] for entry in entries}
    listed = {f"{parent} {line}" for parent in parents for line in xenhypfs("ls", parent or "/").splitlines()}
    shown = {
        f"{entry.path.rpartition('/')[0]} {f'<{entry.type}>':8} r{'w' if entry.writable else '-'} {entry.name}"
        for entry in entries
    }
    assert shown == listed
    values = {path: host.hypfs[path] for path in host.hypfs}
    texts = [str(int(value)) if isinstance(value, bool) else str(value) for value in values.values()]
    script = 'for path; do xenhypfs cat "$path" || exit; done'
    command = ["sh", "-c", script, "sh", *values]
    done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=100)
    assert done.stdout == "".join(f"{text}\n" for text in texts)


def test_hypfs_is_written_as_the_tool_does(host: Host, verbose: None) -> None:  # noqa: ARG001 (for its effect)
    host.hypfs["/params/loglvl"] = "error"
    assert xenhypfs("cat", "/params/loglvl").strip() == host.hypfs["/params/loglvl"]
    xenhypfs("write", "/params/loglvl", "info")
    assert host.hypfs["/params/loglvl"] == xenhypfs("cat", "/params/loglvl").strip()
    with pytest.raises(InvalidArgument, match="/params/loglvl"):
        host.hypfs["/params/loglvl"] = "loud"


def test_parameters_are_set_as_xl_does(host: Host, verbose: None) -> None:  # noqa: ARG001 (for its effect)
    host.set_parameters("loglvl=error/warning guest_loglvl=none/warning")
    of_us = [host.hypfs[f"/params/{name}"] for name in ("loglvl", "guest_loglvl")]
    xl("set-parameters", "loglvl=all guest_loglvl=all")
    assert [host.hypfs[f"/params/{name}"] for name in ("loglvl", "guest_loglvl")] != of_us
    xl("set-parameters", "loglvl=error/warning guest_loglvl=none/warning")
    assert [host.hypfs[f"/params/{name}"] for name in ("loglvl", "guest_loglvl")] == of_us


@pytest.mark.parametrize("text", ["loglvl=loud", "guest_loglvl=error loglvl=loud"])
def test_a_value_that_xen_refuses(host: Host, text: str) -> None:
    with pytest.raises(InvalidArgument, match="Xen does not take loglvl=loud") as caught:
        host.set_parameters(text)
    assert re.search("setting parameters", "\n".join(caught.value.log))
    with pytest.raises(NotFound):
        host.set_parameters("conring_size=64k")
