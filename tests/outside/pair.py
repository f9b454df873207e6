"""Two real hosts that ssh leads to, from outside and from each other."""

from __future__ import annotations

import subprocess
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Final, Self

from lab import Lab
from tests.backends.serving import ssh_with

__all__ = ["NAMES", "Pair"]

NAMES: Final = ("one", "two")
OTHER: Final = dict(zip(NAMES, reversed(NAMES), strict=True))

_SSH: Final = 22
_WAY: Final = 2222
"""The port of each host's own loopback that leads to the other one: the labs share no network."""
_MOMENT: Final = 60.0

_OUTSIDE: Final = """
Host one
    Port {one}
Host two
    Port {two}
Host *
    HostName 127.0.0.1
    User root
    IdentityFile {folder}/key
    IdentitiesOnly yes
    StrictHostKeyChecking no
    UserKnownHostsFile /dev/null
    ConnectTimeout 20
    LogLevel ERROR
"""

_INSIDE: Final = f"""
Host {" ".join(NAMES)}
    HostName 127.0.0.1
    Port {_WAY}
    User root
    StrictHostKeyChecking no
    UserKnownHostsFile /dev/null
    LogLevel ERROR
"""


class Pair:
    """Two hosts, ``one`` and ``two``: for ssh on this machine, and for ssh on each of them.

    Args:
        folder: An empty folder for ssh's files.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.labs: dict[str, Lab] = {}
        self._ways: dict[str, subprocess.Popen[bytes]] = {}

    def __enter__(self) -> Self:
        try:
            for name in NAMES:
                self._begin(name)
            self._connect()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End both."""
        self._disconnect()
        while self.labs:
            self.labs.popitem()[1].close()

    def replace(self, name: str) -> None:
        """End a host, as a reboot does: what ran there is gone. Another one begins, and has its name."""
        self._disconnect()
        self.labs.pop(name).close()
        self._begin(name)
        self._connect()

    def run(self, name: str, *command: str, timeout: float = _MOMENT) -> str:
        """Run a command on a host, and return what it prints."""
        return self.labs[name].run(list(command), check=True, timeout=timeout).stdout

    def led(self) -> AbstractContextManager[None]:
        """Let ``ssh one`` and ``ssh two`` lead there, for this process and those that it starts."""
        return ssh_with(self.folder, (self.folder / "config").read_text())

    def _begin(self, name: str) -> None:
        lab = Lab()
        lab.start()
        self.labs[name] = lab
        self.run(name, "hostname", name)
        self.run(name, "lab-sshd", timeout=3 * _MOMENT)
        self.run(name, "sh", "-c", f"cat >>/root/.ssh/config <<'END'\n{_INSIDE}END")

    def _connect(self) -> None:
        """Tell ssh where the hosts are, and let each find the other one."""
        ports = {name: lab.forward(_SSH) for name, lab in self.labs.items()}
        key = self.folder / "key"
        self.labs["one"].get("/root/.ssh/id_ed25519", key)  # both have the same, from the image
        key.chmod(0o600)
        (self.folder / "config").write_text(_OUTSIDE.format(folder=self.folder, **ports))
        for name, other in OTHER.items():
            forward = f"127.0.0.1:{_WAY}:127.0.0.1:{ports[other]}"
            options = ["-F", str(self.folder / "config"), "-o", "ExitOnForwardFailure=yes", "-R", forward]
            self._ways[name] = subprocess.Popen(["ssh", "-N", "-q", *options, name], stdin=subprocess.DEVNULL)
            self.run(name, "sh", "-c", f"for _ in $(seq 20); do ssh {other} true && exit; sleep 1; done; exit 1")

    def _disconnect(self) -> None:
        while self._ways:
            ssh = self._ways.popitem()[1]
            ssh.terminate()
            ssh.wait(_MOMENT)
