"""The hosts that the contract is tried on, and the guests that each can run."""

from __future__ import annotations

import contextlib
import os
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from pyxen import Domain, DomainConfig, Host
from tests.backends.files import Files, FilesHere, FilesInLab
from tests.backends.serving import AT_SOCKET, SERVED, SIMULATED, socket_to, ssh_to, ssh_with
from tests.backends.support import SECONDS, wait_until
from tests.linux import LINUX

if TYPE_CHECKING:
    from lab import Lab

__all__ = ["Guests", "Place", "boot", "config_of", "guests_of", "place_of", "uris_for"]

DEFAULT: Final = "memory:///contract?files=here&bridges=xenbr0"
URIS: Final = os.environ.get("PYXEN_TEST_URI", f"{DEFAULT} {SERVED}").split()
"""Where to connect to, separated by blanks. For a real host: ``PYXEN_TEST_URI=xenlight:/// pytest tests/backends``.

A host named ``lab`` is a lab's dom0, seen from outside: ``xen+tcp://lab/system``, ``xen+ssh://root@lab/system``,
``xenlight+ssh://root@lab/``.
``xenlight+ssh://memory/`` is a simulated host behind ``pyxen serve``.
"""

PART: Final = {"test_consoles", "test_events", "test_looking", "test_operations", "test_xenstore"}
"""The modules of the contract that are also tried over a socket, which differs from ssh in how it is opened only."""

XEN: Final = os.environ.get("PYXEN_TEST_XEN")
"""The release of Xen in that lab; default: the lab's own."""

GUESTS: Final = "/usr/share/pyxen-guests"

_WITHOUT_XEN: Final = ("test:", *SIMULATED)


@dataclass(frozen=True, slots=True)
class Place:
    """Where a host is.

    Attributes:
        uri: How to connect to it.
        files: Its files.
        xen_log: Reads its Xen's log.
    """

    uri: str
    files: Files
    xen_log: Callable[[], str]


def uris_for(module: str) -> list[str]:
    """Return where the tests of a module are run."""
    also = "PYXEN_TEST_URI" not in os.environ and module.rpartition(".")[2] in PART
    return [*URIS, AT_SOCKET] if also else URIS


@contextlib.contextmanager
def place_of(uri: str) -> Iterator[Place]:
    """Find the place that a URI names; a lab runs as long as it is needed."""
    if uri == SERVED:
        with ssh_to(DEFAULT.replace("contract", "served")):
            yield Place(uri, FilesHere(), _no_xen)
        return
    if uri == AT_SOCKET:
        with socket_to(DEFAULT.replace("contract", "at-socket")) as way:
            yield Place(way, FilesHere(), _no_xen)
        return
    if urlsplit(uri).hostname != "lab":
        yield Place(uri, FilesHere(), _no_xen if uri.startswith(_WITHOUT_XEN) else _own_xen_log)
        return
    from lab import Lab, releases

    with Lab(XEN or releases.DEFAULT) as dom0, TemporaryDirectory() as folder:
        files, log = FilesInLab(dom0), partial(_xen_log_of, dom0)
        if uri.startswith("xenlight+ssh:"):
            _install_remote(dom0)
            with ssh_with(Path(folder), _settings_of_ssh(dom0, Path(folder))):
                yield Place(uri, files, log)
            return
        dom0.run(["lab-libvirtd"], check=True, timeout=60)
        yield Place(_way_in(uri, dom0, Path(folder)), files, log)


def _no_xen() -> str:
    return ""


def _own_xen_log() -> str:
    return subprocess.run(["xl", "dmesg"], check=True, capture_output=True, text=True, timeout=120).stdout


def _xen_log_of(dom0: Lab) -> str:
    return dom0.run(["xl", "dmesg"], check=True, timeout=60).stdout


def _way_in(uri: str, dom0: Lab, folder: Path) -> str:
    if "+tcp:" in uri:
        return uri.replace("lab", f"127.0.0.1:{dom0.forward(16509)}")
    key = _key_of(dom0, folder)
    return uri.replace("lab", f"127.0.0.1:{dom0.forward(22)}") + f"?keyfile={key}&no_verify=1"


def _key_of(dom0: Lab, folder: Path) -> Path:
    dom0.run(["lab-sshd"], check=True, timeout=60)
    key = folder / "key"
    dom0.get("/root/.ssh/id_ed25519", key)
    key.chmod(0o600)
    return key


def _install_remote(dom0: Lab) -> None:
    """Install what ``pyxen serve`` needs from PyPI, where Debian has none of it, or too old a one."""
    from tests.outside.packages import fetch_from_pypi, folder_of_modules

    if dom0.run(["python3", "-c", "import msgspec"], timeout=60).status == 0:
        return
    with TemporaryDirectory() as folder:
        fetch_from_pypi(dom0.release, Path(folder, "modules"), "typer", "rich", "msgspec")
        dom0.put(Path(folder, "modules"), folder_of_modules(dom0.release))


def _settings_of_ssh(dom0: Lab, folder: Path) -> str:
    """Return settings with which ssh finds a lab by its name."""
    return (
        f"Host lab\n    HostName 127.0.0.1\n    Port {dom0.forward(22)}\n    IdentityFile {_key_of(dom0, folder)}\n"
        "    IdentitiesOnly yes\n    StrictHostKeyChecking no\n    UserKnownHostsFile /dev/null\n    LogLevel ERROR\n"
    )


class Guests:
    """What a host can run.

    Attributes:
        tiny: Settings of a guest that idles, and follows ``poweroff``, ``reboot`` and ``crash`` on its command line.
        willing: Settings of a guest that does what it is asked for, and stays when it was asked to reboot.
        linux: Settings of a guest that has drivers, too: it lets go of its devices, and follows a target of memory.
        ends: Whether the command line of a tiny guest decides how it ends.
    """

    def __init__(
        self, tiny: dict[str, Any], willing: dict[str, Any], linux: dict[str, Any], *, ends: bool = True
    ) -> None:
        self.tiny = tiny
        self.willing = willing
        self.linux = linux
        self.ends = ends

    def create_willing(self, host: Host) -> Domain:
        """Create a willing guest, ready to do what it is asked for."""
        return host.create(config_of(self.willing, "willing1"), timeout=SECONDS)

    def create_linux(self, host: Host) -> Domain:
        """Create a guest that has drivers, and has booted."""
        return host.create(config_of(self.linux, "linux1"), timeout=SECONDS)


class RealGuests(Guests):
    """Those of a real host. Linux has to boot: it is saved when it has, for to restore it is much faster."""

    def __init__(self, folder: str) -> None:
        tiny = {"type": "pvh", "kernel": f"{GUESTS}/tiny-pvh", "memory": 8}
        willing = {"type": "pv", "kernel": f"{GUESTS}/tiny-pv", "memory": 4, "cmdline": "willing"}
        super().__init__(tiny, {**willing, "on_reboot": "preserve"}, {"type": "pv", **LINUX})
        self._saved = f"{folder}/booted"
        self._is_saved = False

    def create_willing(self, host: Host) -> Domain:
        return _started(host, config_of(self.willing, "willing1"))

    def create_linux(self, host: Host) -> Domain:
        if not self._is_saved:
            boot(host, config_of(self.linux, "linux1")).save(self._saved, timeout=SECONDS)
            self._is_saved = True
        return host.restore(self._saved, timeout=SECONDS)


def boot(host: Host, config: DomainConfig) -> Domain:
    """Create a Linux guest of the lab's, and wait until it is up and has nothing to do."""
    domain = _started(host, config)
    wait_until(lambda: _rests(domain))
    return domain


def _started(host: Host, config: DomainConfig) -> Domain:
    """Create a guest of the lab's, and wait until it says that it is ready."""
    domain = host.create(config, paused=True, timeout=SECONDS)
    with domain.console() as console:
        domain.unpause()
        seen = b""
        while b"pyxen-guest ready" not in seen:
            data = os.read(console.fileno(), 4096)
            assert data, seen
            seen += data
    return domain


def _rests(domain: Domain) -> bool:
    """Tell whether a guest has nothing to do: in QEMU's emulation, one that has may die of being saved."""
    before = domain.info().cpu_time_ns
    time.sleep(1)
    return domain.info().cpu_time_ns - before < 0.1 * 1e9


def guests_of(place: Place, folder: str) -> Guests:
    """Return what the host of a place can run; ``folder`` is one of the host's, for the files of guests."""
    if not place.uri.startswith(_WITHOUT_XEN):
        return RealGuests(folder)
    kernel = place.files.zeros(f"{folder}/vmlinuz", 1024)
    tiny = {"type": "pvh", "kernel": kernel, "memory": 8}
    willing, linux = {**tiny, "on_reboot": "preserve"}, {**tiny, "memory": 112}
    return Guests(tiny, willing, linux, ends=place.uri.startswith(SIMULATED))


def config_of(settings: dict[str, Any], name: str, **more: Any) -> DomainConfig:
    """Return a configuration."""
    return DomainConfig(name, **{**settings, **more})
