"""Guests as the lab's tests make them, with xl."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lab import Lab

GUESTS = "/usr/share/pyxen-guests"
KEEP = [f'on_{event}="preserve"' for event in ("poweroff", "reboot", "crash", "watchdog")]
TINY = {
    "pv": ['type="pv"', f'kernel="{GUESTS}/tiny-pv"', "memory=4", *KEEP],
    "pvh": ['type="pvh"', f'kernel="{GUESTS}/tiny-pvh"', "memory=4", "shadow_memory=1", *KEEP],
}
LINUX = [f'kernel="{GUESTS}/vmlinux"', f'ramdisk="{GUESTS}/initramfs"', "memory=160"]


def create(dom0: Lab, name: str, lines: list[str]) -> None:
    dom0.run(["sh", "-c", 'printf "%s\\n" "$@" > /tmp/guest.cfg', "sh", f'name="{name}"', *lines], check=True)
    dom0.run(["xl", "create", "/tmp/guest.cfg"], check=True, timeout=120)


def await_line(dom0: Lab, log: str, text: str, seconds: float) -> str:
    deadline = time.monotonic() + seconds
    while text not in (shown := dom0.run(["sh", "-c", f"cat {log}"]).stdout):
        assert time.monotonic() < deadline, f"no {text!r} in {log}: {shown[-2000:]}"
        time.sleep(0.5)
    return shown
