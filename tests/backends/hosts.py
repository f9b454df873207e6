"""The hosts that the contract is tried on, and the guests that each can run."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from pyxen import Domain, DomainConfig

__all__ = ["URIS", "Guests", "guests_of"]

DEFAULT: Final = "memory:///contract?files=here&bridges=xenbr0"
URIS: Final = os.environ.get("PYXEN_TEST_URI", DEFAULT).split()
"""Where to connect to, separated by blanks. For a real host: ``PYXEN_TEST_URI=xenlight:/// pytest tests/backends``."""

LAB: Final = Path("/usr/share/pyxen-guests")


@dataclass(frozen=True, slots=True)
class Guests:
    """What a host can run.

    Attributes:
        tiny: Settings of a guest that idles, and follows ``poweroff``, ``reboot`` and ``crash`` on its command line.
        willing: Settings of a guest that does what it is asked for.
        wait: Waits until a willing guest has booted.
        ends: Whether the command line of a tiny guest decides how it ends.
    """

    tiny: dict[str, Any]
    willing: dict[str, Any]
    wait: Callable[[Domain], None]
    ends: bool = True


def guests_of(uri: str, folder: Path) -> Guests:
    """Return what the host of a URI can run; ``folder`` is for files that must be there."""
    if uri.startswith(("memory:", "test:")):
        kernel = folder / "vmlinuz"
        kernel.write_bytes(b"kernel")
        settings = {"type": "pvh", "kernel": str(kernel), "memory": 8}
        return Guests(settings, settings, lambda _: None, ends=uri.startswith("memory:"))
    linux = {"type": "pvh", "kernel": str(LAB / "vmlinux"), "ramdisk": str(LAB / "initramfs"), "memory": 160}
    tiny = {"type": "pvh", "kernel": str(LAB / "tiny-pvh"), "memory": 8}
    return Guests(tiny, {**linux, "cmdline": "console=hvc0 quiet"}, _wait_for_linux)


def _wait_for_linux(domain: Domain) -> None:
    log = Path(f"/var/log/xen/guest-{domain.info().name}.log")
    end = time.monotonic() + 180
    while not (log.exists() and "pyxen-guest ready" in log.read_text(errors="replace")):
        assert time.monotonic() < end, "the guest does not boot"
        time.sleep(0.1)


def config_of(settings: dict[str, Any], name: str, **more: Any) -> DomainConfig:
    """Return a configuration."""
    return DomainConfig(name, **{**settings, **more})
