"""In dom0: a guest starts from an image that was made outside, says who it is on its console, and is reached by ssh.

``python3 -m tests.outside.booting CONFIG USER PASSWORD KEY [KIND]``. The guest has a network card in ``xenbr0``, where
busybox answers DHCP. What it says on its console is printed when something is missing.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pyxen
from pyxen import ConsoleStream, Domain, DomainConfig, Vif

SECONDS = 1200.0
"""How long a system may take to boot in the emulated machine, and each answer of it."""

PATIENT = "systemd.default_timeout_start_sec=1200 systemd.service_watchdogs=0"
"""For the kernel that pygrub finds: a system that is emulated beside others must not end its services for slowness."""

MEMORY = 384
MAC = "00:16:3e:00:00:77"
LEASES = """start 192.168.77.50
end 192.168.77.60
max_leases 11
interface xenbr0
option subnet 255.255.255.0
lease_file {folder}/leases
pidfile {folder}/pid
"""


@contextmanager
def dhcp(folder: Path) -> Iterator[None]:
    """Answer DHCP on xenbr0."""
    (folder / "udhcpd.conf").write_text(LEASES.format(folder=folder))
    (folder / "leases").touch()
    with (folder / "udhcpd.log").open("w") as log:
        server = subprocess.Popen(["busybox", "udhcpd", "-f", str(folder / "udhcpd.conf")], stdout=log, stderr=log)
    try:
        yield
    finally:
        server.terminate()
        server.wait(60)


def address_from(folder: Path) -> str:
    """Wait until the guest has an address, and return it."""
    end = time.monotonic() + SECONDS
    while " sending ACK to " not in (log := (folder / "udhcpd.log").read_text()):
        assert time.monotonic() < end, f"the guest has not asked for an address:\n{log}"
        time.sleep(0.5)
    return log.rpartition(" sending ACK to ")[2].split()[0]


class Terminal:
    """A person at a guest's console."""

    def __init__(self, console: ConsoleStream) -> None:
        self._console = console
        self._said = ""
        self._read = 0

    def expect(self, text: str) -> None:
        """Wait until the guest writes a text, after what was expected before."""
        end = time.monotonic() + SECONDS
        while (place := self._said.find(text, self._read)) < 0:
            data = self._console.read(timeout=10) if time.monotonic() < end else None
            assert data != b"", f"the console has ended, without {text!r}:\n{self._said}"
            assert time.monotonic() < end, f"the console does not say {text!r}:\n{self._said}"
            self._said += (data or b"").decode(errors="replace")
        self._read = place + len(text)

    def type(self, line: str) -> None:
        """Type a line."""
        self._console.write(f"{line}\r")


def log_in(guest: Domain, hostname: str, user: str, password: str) -> None:
    """Log in on the console, and ask the system for its name."""
    with guest.console_stream(timeout=4 * SECONDS) as console:
        terminal = Terminal(console)
        if user != "root":  # cloud-init sets the password, maybe after the first prompt
            terminal.expect(" finished at ")
            terminal.type("")
        for prompt, answer in (
            (f"{hostname} login: ", user),
            ("Password: ", password),
            ("$ " if user != "root" else "# ", ""),
        ):
            terminal.expect(prompt)
            terminal.type(answer)
        terminal.type("echo name=$(hostname)")
        terminal.expect(f"name={hostname}\r")
        terminal.type("exit")


def by_ssh(address: str, user: str, key: str) -> str:
    """Return what the system says of itself to one who comes with the key."""
    options = ["-i", key, "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null", "-o", "BatchMode=yes"]
    command = [
        "ssh",
        "-q",
        *options,
        "-o",
        "ConnectTimeout=60",
        f"{user}@{address}",
        "hostname; cat /sys/hypervisor/guest_type",
    ]
    end = time.monotonic() + SECONDS
    while (done := subprocess.run(command, check=False, capture_output=True, text=True, timeout=SECONDS)).returncode:
        assert time.monotonic() < end, f"ssh: {done.stdout}{done.stderr}"
        time.sleep(2)
    return done.stdout


def main(path: str, user: str, password: str, key: str, kind: str | None = None) -> None:
    """Start the guest, log in twice, and shut it down."""
    config: DomainConfig = pyxen.xlcfg.load(path)
    config = config.replace(vifs=[Vif(bridge="xenbr0", mac=MAC)], memory=MEMORY, type=kind or config.type)
    if config.bootloader is not None:
        config = config.replace(cmdline=PATIENT)
    with tempfile.TemporaryDirectory() as scratch, dhcp(Path(scratch)), pyxen.connect() as xen:
        guest = xen.create(config, timeout=SECONDS)
        try:
            log_in(guest, config.name, user, password)
            print(" ".join(by_ssh(address_from(Path(scratch)), user, key).split()), flush=True)
            guest.shutdown(timeout=SECONDS)
        finally:
            for each in xen.guests:
                each.destroy()


if __name__ == "__main__":
    main(*sys.argv[1:])
