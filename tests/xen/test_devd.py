"""What a driver domain does, in dom0: libxl runs the hotplug script of a device, and who serves devices does so too."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

import pyxen
import pyxen.aio
from pyxen import (
    Domain,
    DomainConfig,
    Feature,
    Host,
    NotFound,
    Operation,
    OperationCancelled,
    OperationFailed,
    OperationTimeout,
    UnsupportedFeature,
    Vif,
)
from tests.xen.support import MakeConfig, children, wait_until

COMMAND = [sys.executable, "-c", "from pyxen.cli.devd import devd; devd(foreground=True, verbose=True)"]

Script = Callable[..., Vif]
"""Makes a vif with a hotplug script: what that does where it is run by who serves devices, not by libxl in dom0."""


def servers(parent: int | None = None) -> list[int]:
    """Return the worker processes of a process, by default of this one, that run."""
    return [pid for pid in children(parent) if b"/pyxen-worker-" in command_line(pid)]


def command_line(pid: int) -> bytes:
    """Return the arguments of a process; empty if it has ended."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


def left() -> tuple[list[threading.Thread], list[str], list[int]]:
    """Return the threads, the descriptors and the children of this process."""
    return threading.enumerate(), sorted(os.listdir("/proc/self/fd")), children()


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """Where the scripts of the tests write what they do."""
    path = tmp_path / "log"
    path.touch()
    return path


@pytest.fixture
def vif(tmp_path: Path, log: Path) -> Script:
    """A vif whose script notes each call, and its process where it is run by who serves devices."""

    def make(served: str = ":") -> Vif:
        path = tmp_path / "vif-noted"
        path.write_text(
            f"#!/bin/sh\n"
            f'echo "$1 $XENBUS_PATH" >> {log}\n'
            f"if [ $1 = online ] && tr '\\0' ' ' < /proc/$PPID/cmdline | grep -q pyxen-worker; then\n"
            f'    echo "served $$" >> {log}\n'
            f"    {served}\n"
            f"fi\n"
        )
        path.chmod(0o755)
        return Vif(bridge="xenbr0", script=str(path))

    return make


def calls(log: Path, domain: Domain, devid: int) -> int:
    """Return how often the script was called to bring a vif up."""
    return log.read_text().splitlines().count(f"online backend/vif/{domain.domid}/{devid}")


def pid_of_script(log: Path) -> int:
    """Return the process of the script that who serves devices runs, as soon as there is one."""
    wait_until(lambda: "served" in log.read_text())
    return int(log.read_text().rpartition("served ")[2])


@pytest.fixture
def guest(host: Host, tiny: MakeConfig) -> Iterator[Domain]:
    """A guest that gets vifs."""
    domain = host.create(tiny())
    yield domain
    domain.destroy()


@contextmanager
def serving(uri: str = "xenlight:///driver") -> Iterator[Operation[None]]:
    """Serve devices; nothing of it is left."""
    before = left()
    with pyxen.connect(uri) as host:
        operation = host.begin.devd()
        yield operation
        assert operation.done()
        assert servers() == [pid for pid in before[2] if b"/pyxen-worker-" in command_line(pid)]
    assert left() == before


@pytest.mark.parametrize("uri", ["xenlight:///", "xenlight:///driver"])
def test_scripts_are_run_until_it_is_cancelled(guest: Domain, vif: Script, log: Path, uri: str) -> None:
    guest.attach(vif())
    assert calls(log, guest, 0) == 1
    with serving(uri) as operation:
        wait_until(lambda: calls(log, guest, 0) == 2)  # what is there already is served too
        guest.attach(vif())
        wait_until(lambda: calls(log, guest, 1) == 2)
        assert not operation.done()
        assert operation.cancel()
        with pytest.raises(OperationCancelled):
            operation.result(60)
    guest.attach(vif())
    assert calls(log, guest, 2) == 1
    assert (calls(log, guest, 0), calls(log, guest, 1)) == (2, 2)


def test_a_deadline() -> None:
    before = left()
    with pyxen.connect("xenlight:///driver") as host:
        with pytest.raises(OperationTimeout):
            host.devd(timeout=0.5)
        assert children() == before[2]
    assert left() == before


def test_a_cancelled_task(guest: Domain, vif: Script, log: Path) -> None:
    async def main() -> None:
        async with pyxen.aio.connect("xenlight:///driver") as host:
            task = asyncio.create_task(host.devd())
            await asyncio.to_thread(pid_of_script, log)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

    guest.attach(vif())
    before = left()
    asyncio.run(main())
    assert left() == before


def test_a_script_comes_to_its_end(guest: Domain, vif: Script, log: Path) -> None:
    guest.attach(vif(f"sleep 1; echo ended >> {log}"))
    with serving() as operation:
        pid_of_script(log)
        operation.cancel()
        with pytest.raises(OperationCancelled):
            operation.result(60)
        assert "ended" in log.read_text()


@pytest.mark.parametrize("served", ["sleep 300", "trap '' TERM; sleep 300; sleep 300"], ids=["slow", "deaf"])
def test_a_script_that_does_not_end(guest: Domain, vif: Script, log: Path, served: str) -> None:
    guest.attach(vif(served))
    with serving() as operation:
        script = pid_of_script(log)
        wait_until(lambda: len(children(script)) == 1)
        (process,) = children(script)
        operation.cancel()
        with pytest.raises(OperationCancelled):
            operation.result(60)
        wait_until(lambda: not command_line(script) and not command_line(process))


def test_its_process_is_killed(guest: Domain, vif: Script, log: Path) -> None:
    guest.attach(vif("sleep 300"))
    others = servers()
    with serving() as operation:
        script = pid_of_script(log)
        (server,) = [pid for pid in servers() if pid not in others]
        os.kill(server, signal.SIGKILL)
        with pytest.raises(OperationFailed, match="worker process"):
            operation.result(60)
        wait_until(lambda: not command_line(script))


def test_we_are_killed(guest: Domain, vif: Script, log: Path) -> None:
    guest.attach(vif("sleep 300"))
    program = "import pyxen\nwith pyxen.connect('xenlight:///driver') as host: host.devd()"
    process = subprocess.Popen([sys.executable, "-c", program])
    script = pid_of_script(log)
    (server,) = servers(process.pid)
    process.kill()
    process.wait()
    wait_until(lambda: not command_line(server) and not command_line(script))


def test_the_command(guest: Domain, vif: Script, log: Path) -> None:
    guest.attach(vif("echo told by the script"))
    process = subprocess.Popen(COMMAND, stderr=subprocess.PIPE, text=True)
    try:
        wait_until(lambda: calls(log, guest, 0) == 2)
        (server,) = servers(process.pid)
        os.kill(server, signal.SIGTERM)  # as systemd does, and this alone ends nothing
        guest.attach(vif())
        wait_until(lambda: calls(log, guest, 1) == 2)
    finally:
        process.terminate()
        errors = process.communicate(timeout=60)[1]
    assert process.returncode == 0
    assert "told by the script" in errors
    assert "calling hotplug script" in errors
    assert not command_line(server)


def test_a_driver_domain_controls_nothing(tiny: MakeConfig) -> None:
    with pyxen.connect("xenlight:///driver") as host:
        assert host.supports(Feature.DEVD)
        assert not host.supports(Feature.ALL_DOMAINS)
        config: DomainConfig = tiny()
        for call in (host.info, host.list, lambda: host.create(config), lambda: host.domains["Domain-0"]):
            with pytest.raises(UnsupportedFeature, match="driver domain"):
                call()


def test_xenstore_does_not_say_which_domain_this_is() -> None:
    subprocess.run(["xenstore-rm", "/local/domain/0/domid"], check=True, timeout=120)
    try:
        with pyxen.connect("xenlight:///driver") as host, pytest.raises(NotFound, match="no node domid"):
            host.devd()
    finally:
        subprocess.run(["xenstore-write", "/local/domain/0/domid", "0"], check=True, timeout=120)
