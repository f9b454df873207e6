"""Hints from watch events, which name a node that changed but not its value."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from pyxen.backends.xenlight.xenstore.connection import WatchEvent
from pyxen.backends.xenlight.xenstore.nodes import DeviceKey

__all__ = ["COMING", "DEVICES", "GOING", "WatchHints", "from_guest"]

COMING = "@introduceDomain"
GOING = "@releaseDomain"
"""The special node for domains that have shut down or are gone."""
DEVICES = "/libxl"


def from_guest(path: str) -> bool:
    """Tell whether a guest can write to a node, and so flood us with watch events."""
    return path.startswith("/local/domain/") and path.split("/")[4:5] in (["control"], ["device"])


@dataclass(slots=True)
class WatchHints:
    """What to look at again, according to the watch events that have arrived."""

    look: bool = False
    """Whether to look at the list of domains."""
    comings: int = 0
    """How many domains were introduced."""
    settings: set[int] = field(default_factory=set)
    """Domids whose settings to look at."""
    records: set[int] = field(default_factory=set)
    """Domids whose devices to look at, all of them."""
    devices: set[DeviceKey] = field(default_factory=set)
    """Devices to look at."""
    drawers: set[tuple[int, int]] = field(default_factory=set)
    """Drives whose drawers to look at, by domid and devid."""

    @classmethod
    def of(cls, events: Iterable[WatchEvent]) -> WatchHints:
        """Return the hints of some watch events."""
        watch_hints = cls()
        for path, _ in events:
            if path.startswith("@"):
                watch_hints.look = True
                watch_hints.comings += path == COMING or path.startswith(f"{COMING}/")
            elif path.startswith("/"):
                watch_hints._note(path.split("/")[1:])
        return watch_hints

    def forget(self, domids: set[int]) -> None:
        """Drop all hints about these domids, except to look at the list."""
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
