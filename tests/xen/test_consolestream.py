"""Streams of real consoles: of guests, of bootloaders, and through daemons that end."""

from __future__ import annotations

import asyncio
import os
import pty
import queue
import signal
import subprocess
import termios
import threading
from pathlib import Path

import pytest

import pyxen
import pyxen.aio
from pyxen import (
    ConsoleStream,
    ConsoleType,
    Disk,
    Domain,
    DomainNotFound,
    Host,
    NotFound,
    OperationFailed,
    attach_terminal,
)
from tests.bootloader import write_bootloader
from tests.xen.support import GUESTS, MakeConfig, MakeDomain, joined, wait_until

SECONDS = 120
PID_FILE = Path("/run/xenconsoled.pid")


def until(stream: ConsoleStream, text: str) -> list[str]:
    """Read lines until one has a text in it."""
    lines = []
    for line in stream:
        lines.append(line)
        if text in line:
            return lines
    raise AssertionError(f"{text!r} does not come: {lines}")


def test_a_shell_in_a_guest(host: Host, linux: MakeConfig) -> None:
    told: queue.Queue[Domain] = queue.Queue()
    domain = host.create(linux("pv"), on_console=told.put, timeout=SECONDS)
    assert told.get(timeout=SECONDS) == domain
    with domain.console_stream(timeout=SECONDS) as stream:
        assert stream.path == domain.endpoints().consoles[0].path
        until(stream, "pyxen-guest ready")
        stream.write("echo sum $((20 + 22)); printf '\\377\\n'\r")
        until(stream, "sum 42")
        assert "\\xff" in until(stream, "\\xff")[-1]
        log = domain.console_log()
        assert log is not None
        assert "pyxen-guest ready" in Path(log).read_text(errors="replace")
        for which in (ConsoleType.SERIAL, 0), (ConsoleType.PV, 1):
            with pytest.raises(NotFound):
                domain.console(which[0], number=which[1])
        stream.write('dd if=/dev/zero bs=65536 count=3 2>/dev/null; echo "the e"nd\r')  # no end of a line
        parts = until(stream, "the end")
        assert max(map(len, parts)) <= 65536
        assert sum(map(len, parts)) > 3 * 65536
        domain.destroy()
        list(stream)
        assert stream.read() == b""
    with pytest.raises(DomainNotFound):
        domain.console_stream()


def test_a_guest_that_does_not_stop(running_linux: MakeDomain) -> None:
    domain = running_linux()
    wait_until(lambda: domain.endpoints().consoles != ())
    with domain.console_stream(timeout=SECONDS) as stream:
        stream.write("\ryes; yes\r")
    threading.Event().wait(1)  # nobody reads

    async def main() -> int:
        async with pyxen.aio.connect() as xen:
            handle = await xen.domains[domain.domid]
            lines: list[str] = []

            async def read_all() -> None:
                async with handle.console_stream(timeout=3) as stream:
                    async for line in stream:
                        lines.append(line)  # noqa: PERF401 (what came before the error counts)

            with pytest.raises(pyxen.OperationTimeout):
                await read_all()
            return lines.count("y")

    assert asyncio.run(main()) > 100
    domain.destroy()


def test_a_bootloader_has_its_console_from_the_beginning(host: Host, tiny: MakeConfig, folder: Path) -> None:
    told: queue.Queue[Domain] = queue.Queue()
    bootloader = write_bootloader(folder / "loader", str(GUESTS / "tiny-pv"))
    disk = Disk(str(folder / "disk"), vdev="xvda")
    (folder / "disk").write_bytes(bytes(1 << 20))
    config = tiny("pv", kernel=None, bootloader=bootloader, disks=[disk])
    creating = host.begin.create(config, on_console=told.put, timeout=SECONDS)
    domain = told.get(timeout=SECONDS)
    with domain.console_stream(timeout=SECONDS) as stream:
        until(stream, "boot menu")
        assert not creating.done()
        stream.write("else\n")
        until(stream, "no such entry: else")
        stream.write("boot\n")
        assert creating.result(SECONDS) == domain
        wait_until(lambda: stream.read(0) is not None or domain.endpoints().consoles != ())
        assert domain.config().cmdline in {None, "from-bootloader"}
        assert stream.get(3) is None or stream.path
        domain.destroy()
        list(stream)


def test_a_bootloader_that_fails(host: Host, tiny: MakeConfig, folder: Path) -> None:
    told: queue.Queue[Domain] = queue.Queue()
    (folder / "disk").write_bytes(bytes(1 << 20))
    bootloader = write_bootloader(folder / "loader", str(GUESTS / "tiny-pv"))
    config = tiny("pv", kernel=None, bootloader=bootloader, disks=[Disk(str(folder / "disk"), vdev="xvda")])
    creating = host.begin.create(config, on_console=told.put, timeout=SECONDS)
    with told.get(timeout=SECONDS).console_stream(timeout=SECONDS) as stream:
        until(stream, "boot menu")
        stream.write("fail\n")
        list(stream)
    with pytest.raises(OperationFailed):
        creating.result(SECONDS)


def test_consoles_of_an_hvm_guest(host: Host, tiny: MakeConfig) -> None:
    told: queue.Queue[Domain] = queue.Queue()
    domain = host.create(tiny("hvm", serial=["pty", "pty"]), on_console=told.put, timeout=180)
    assert told.get(timeout=SECONDS) == domain
    wait_until(lambda: len(domain.endpoints().consoles) == 3)
    paths = {(console.type, console.number): console.path for console in domain.endpoints().consoles}
    for (type_, number), path in paths.items():
        with domain.console_stream(type_, number=number) as stream:
            assert stream.path == path
    with domain.console_stream() as stream:
        assert stream.path == paths[ConsoleType.SERIAL, 0]
        assert stream.path == xl_tty(domain)
        domain.destroy()
        list(stream)  # QEMU has ended


def xl_tty(domain: Domain) -> str:
    """Return the terminal that xl opens."""
    node = f"/local/domain/{domain.domid}/serial/0/tty"
    return subprocess.run(
        ["xenstore-read", node], check=True, capture_output=True, text=True, timeout=60
    ).stdout.strip()


def test_a_xenconsoled_that_starts_again(host: Host, tiny: MakeConfig) -> None:
    domain = host.create(tiny("pv"))
    wait_until(lambda: domain.endpoints().consoles != ())
    with domain.console_stream(timeout=SECONDS) as stream:
        pid = int(PID_FILE.read_text())
        command = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")[:-1]
        os.kill(pid, signal.SIGTERM)
        wait_until(lambda: not Path(f"/proc/{pid}").exists())
        subprocess.run(command, check=True, timeout=120)
        assert stream.get(2) is None
        stream.write(b"x")
        domain.destroy()
        list(stream)


def test_a_terminal_is_attached(running_linux: MakeDomain) -> None:
    domain = running_linux()
    wait_until(lambda: domain.endpoints().consoles != ())
    stream = domain.console_stream(timeout=SECONDS)
    master, slave = pty.openpty()
    left: list[bool] = []
    thread = threading.Thread(target=lambda: left.append(attach_terminal(stream, stdin=slave, stdout=slave)))
    thread.start()
    wait_until(lambda: not termios.tcgetattr(slave)[3] & termios.ECHO)
    os.write(master, b"\recho sum $((20 + 22))\r")
    seen = b""
    while b"sum 42" not in seen:
        seen += os.read(master, 4096)
    os.write(master, b"\x1d")
    joined(thread)
    assert left == [False]
    assert termios.tcgetattr(slave)[3] & termios.ECHO
    os.close(master)
    os.close(slave)
    domain.destroy()
