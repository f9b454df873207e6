"""libvirt's daemon, as Debian has it, with libvirt's test driver: without Xen, and it hangs as long as a test wants."""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from tests.oracle import debian
from tests.oracle.debian import Packages, cached, host_codename

__all__ = ["Daemon", "running", "set_up"]

_PACKAGE: Final = "libvirt-daemon"  # its libraries are the machine's own: libvirt-python needs them, too
_SECONDS: Final = 60
_NOBODY: Final = 65534


def _recipe() -> str:
    return hashlib.sha256(f"{host_codename()} {_PACKAGE}".encode()).hexdigest()


def set_up() -> None:
    """Put the daemon of the machine's own release into the cache, unless it is there."""

    def make(folder: Path) -> None:
        Packages(host_codename(), folder / "apt").unpack([_PACKAGE], folder / "tree")
        shutil.rmtree(folder / "apt")

    debian.set_up("libvirtd", _recipe(), make)


class Daemon:
    """A running daemon.

    Attributes:
        uri: The URI of its test driver.
    """

    def __init__(self, process: subprocess.Popen[bytes], socket: Path) -> None:
        self._process = process
        self.uri = f"test+unix:///default?socket={socket}"

    @contextlib.contextmanager
    def hanging(self) -> Iterator[None]:
        """Let it hang: the kernel takes what is sent to it, and nobody answers."""
        self._process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self._process.send_signal(signal.SIGCONT)


@contextlib.contextmanager
def running(folder: Path) -> Iterator[Daemon]:
    """Run a daemon of a user who is not root, with its files in a new folder, which that user must reach.

    Raises:
        SetupFailed: It was not set up.
    """
    program = cached("libvirtd", _recipe()) / "tree" / "usr" / "sbin" / "libvirtd"
    copy, log = folder / "libvirtd", folder / "log"  # the cache may be where only root may read
    shutil.copy(program, copy)
    user = None
    if os.geteuid() == 0:
        user = _NOBODY
        os.chown(folder, user, user)
    environment = {"PATH": os.environ["PATH"], "HOME": str(folder), "XDG_RUNTIME_DIR": str(folder)}
    with log.open("w") as output:
        process = subprocess.Popen(
            [copy, f"--pid-file={folder / 'pid'}"],
            env=environment,
            stdout=output,
            stderr=output,
            user=user,
            group=user,
            extra_groups=None if user is None else [],
        )
    try:
        socket = folder / "libvirt" / "libvirt-sock"
        end = time.monotonic() + _SECONDS
        while not socket.exists():
            if process.poll() is not None or time.monotonic() > end:
                raise AssertionError(f"libvirtd does not start:\n{log.read_text()[-4000:]}")
            time.sleep(0.02)
        yield Daemon(process, socket)
    finally:
        process.send_signal(signal.SIGCONT)
        process.terminate()
        try:
            process.wait(_SECONDS)
        finally:
            process.kill()
