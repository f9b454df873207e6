"""What a watch event hints at: it names a node that changed, but not how."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from pyxen.backends.xenlight.xenstore.connection import WatchEvent
from pyxen.backends.xenlight.xenstore.nodes import DeviceKey

__all__ = ["COMING", "DEVICES", "GOING", "WatchHints", "from_guest"]

COMING = "@introduceDomain"
GOING = "@releaseDomain"
"""A domain has shut down, or is gone."""
DEVICES = "/libxl"


def from_guest(path: str) -> bool:
    """Tell whether a guest can write to a node, and so do that all the time."""
    return path.startswith("/local/domain/") and path.split("/")[4:5] in (["control"], ["device"])


@dataclass(slots=True)
class WatchHints:
    """What to look at, from all the watch events that have come."""

    look: bool = False
    """At the list of domains."""
    comings: int = 0
    """How many domains were introduced."""
    settings: set[int] = field(default_factory=set)
    """At the settings of these domids."""
    records: set[int] = field(default_factory=set)
    """At all devices of these domids."""
    devices: set[DeviceKey] = field(default_factory=set)
    """At these devices."""
    drawers: set[tuple[int, int]] = field(default_factory=set)
    """At the drawers of these drives: domid and devid."""

    @classmethod
    def of(cls, events: Iterable[WatchEvent]) -> WatchHints:
        """Read watch events."""
        watch_hints = cls()
        for path, _ in events:
            if path.startswith("@"):
                watch_hints.look = True
                watch_hints.comings += path == COMING or path.startswith(f"{COMING}/")
            elif path.startswith("/"):
                watch_hints._note(path.split("/")[1:])
        return watch_hints

    def forget(self, domids: set[int]) -> None:
        """Drop what is said of these domids, other than to look at the list."""
        self.settings -= domids
        self.records -= domids
        self.devices = {key for key in self.devices if key[0] not in domids}
        self.drawers = {disk for disk in self.drawers if disk[0] not in domids}

    def _note(self, parts: list[str]) -> None:
        match parts:
            case ["libxl", domid, "device", kind, devid, *_] if domid.isdecimal() and devid.isdecimal():
                self.devices.add((int(domid), kind, int(devid)))
            case ["libxl", domid] | ["libxl", domid, "device"] | ["libxl", domid, "device", _] if domid.isdecimal():
                self.records.add(int(domid))
            case ["local", "domain", domid, "device", "vbd", devid, "eject"] if domid.isdecimal() and devid.isdecimal():
                self.drawers.add((int(domid), int(devid)))
            case ["local", "domain", domid, "name" | "memory", *_] if domid.isdecimal():
                self.settings.add(int(domid))
            case ["local", "domain", _, "control", *_]:
                self.look = True
            case _:
                pass
