"""The xenstore nodes that events are made from, read for many domains at once.

libxl keeps a record of each device under ``/libxl``, which the guest cannot change. The record is written and removed
in one transaction with the rest of the device's nodes.
"""

from __future__ import annotations

import errno
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from pyxen.backends.xenlight.xenstore.connection import Connection, Request, Verb
from pyxen.errors import ConnectFailed

__all__ = [
    "Device",
    "DeviceKey",
    "device_keys",
    "devices",
    "ejected",
    "introduced",
    "look",
    "of_domains",
    "read_dom0s",
    "read_values",
    "settings",
    "unwatch",
    "watch",
]

DeviceKey = tuple[int, str, int]
"""Domid, kind and devid."""

_WATCHED = ("name", "memory/target", "device/vbd", "control/shutdown")

_FORMAT = re.compile(r"^(aio|qcow2?|vhd|qed):")


@dataclass(slots=True)
class Device:
    """A device, from libxl's record."""

    backend: int | None
    vdev: str = ""
    medium: str = ""
    """A disk's medium; empty for an empty drive and other devices."""


def of_domains(domids: Iterable[int]) -> list[str]:
    """Return the nodes to watch for some domains: name, memory target, drawers of drives, and shutdown requests.

    The shutdown requests reveal a guest that is suspended twice: it must have been resumed to be asked again and agree.
    """
    return [f"/local/domain/{domid}/{node}" for domid in domids for node in _WATCHED]


def watch(xenstore: Connection, paths: Sequence[str]) -> set[str]:
    """Watch some nodes and their children, and return those that were not watched before.

    Each new watch sends an initial event. The token of a watch is its path.

    Raises:
        ConnectFailed: xenstored refuses.
    """
    new = set()
    answers = xenstore.batch([(Verb.WATCH, f"{path}\0{path}\0".encode()) for path in paths])
    for path, answer in zip(paths, answers, strict=True):
        if not isinstance(answer, OSError):
            new.add(path)
        elif answer.errno != errno.EEXIST:
            raise ConnectFailed(f"xenstored does not let itself be watched: {answer.strerror}")
    return new


def unwatch(xenstore: Connection, paths: Iterable[str]) -> None:
    """Undo `watch`."""
    xenstore.batch([(Verb.UNWATCH, f"{path}\0{path}\0".encode()) for path in paths])


def introduced(xenstore: Connection, domids: Sequence[int]) -> list[bool]:
    """Tell for each domain whether it is currently introduced to xenstored."""
    answers = xenstore.ask([(Verb.IS_DOMAIN_INTRODUCED, f"{domid}\0".encode()) for domid in domids])
    return [answer is not None and answer.startswith(b"T") for answer in answers]


def settings(xenstore: Connection, domids: Sequence[int]) -> list[tuple[str | None, int | None]]:
    """Return name and memory target (in KiB) of some domains; None for a missing value.

    The target includes the graphics card's memory, as that of `DomainMemory` does: libxl writes it without.
    """
    names = ("name", "memory/target", "memory/videoram")
    values = read_values(xenstore, [f"/local/domain/{domid}/{node}" for domid in domids for node in names])
    targets = [
        None if (number := _number(target)) is None else number + (_number(videoram) or 0)
        for target, videoram in zip(values[1::3], values[2::3], strict=True)
    ]
    return list(zip(values[::3], targets, strict=True))


def ejected(xenstore: Connection, disks: Sequence[tuple[int, int]]) -> list[bool]:
    """Tell for each disk, given by domid and devid, whether the guest's driver asks to eject the medium."""
    values = read_values(xenstore, [f"/local/domain/{domid}/device/vbd/{devid}/eject" for domid, devid in disks])
    return [value == "eject" for value in values]


def device_keys(xenstore: Connection, domids: Sequence[int]) -> list[DeviceKey]:
    """Return all devices of some domains."""
    kinds = _below(xenstore, [f"/libxl/{domid}/device" for domid in domids])
    pairs = [(domid, kind) for domid, names in zip(domids, kinds, strict=True) for kind in names]
    numbers = _below(xenstore, [f"/libxl/{domid}/device/{kind}" for domid, kind in pairs])
    return [
        (domid, kind, int(number))
        for (domid, kind), names in zip(pairs, numbers, strict=True)
        for number in sorted(filter(str.isdecimal, names), key=int)
    ]


def devices(xenstore: Connection, keys: Sequence[DeviceKey]) -> list[Device | None]:
    """Return some devices; None for a device that does not exist."""
    records = [f"/libxl/{domid}/device/{kind}/{devid}" for domid, kind, devid in keys]
    there = _below(xenstore, records)
    nodes = ("backend", "dev", "params")
    values = read_values(xenstore, [f"{record}/{node}" for record in records for node in nodes])
    found: list[Device | None] = []
    for names, backend, vdev, medium in zip(there, values[::3], values[1::3], values[2::3], strict=True):
        gone = not names or (backend is None and "backend" in names)  # or it was removed after its names were read
        found.append(None if gone else Device(_provider(backend), vdev or "", _medium(medium)))
    return found


def _provider(backend: str | None) -> int | None:
    """Return the domid in ``/local/domain/0/backend/vbd/7/51712``."""
    parts = (backend or "").split("/")
    return _number(parts[3]) if len(parts) > 3 else None


def _medium(params: str | None) -> str:
    # During one change of media, libxl writes it both with and without the format as a prefix.
    return _FORMAT.sub("", params or "", count=1)


def read_values(xenstore: Connection, paths: Iterable[str]) -> list[str | None]:
    """Return the values of some nodes; None for a node that does not exist."""
    return look(xenstore, list(paths), ())[0]


def read_dom0s(xenstore: Connection, paths: Iterable[str]) -> list[str | None]:
    """Return the values of the nodes that dom0 owns; None for those of other domains, and where there is no node."""
    requests: list[Request] = []
    for path in paths:
        node = f"{path}\0".encode()
        requests += [(Verb.READ, node), (Verb.GET_PERMS, node)]
    answers = xenstore.ask(requests)
    values: list[str | None] = []
    for value, owner in zip(answers[::2], answers[1::2], strict=True):
        # The owner is the first entry of the permissions. A guest cannot give a node away to dom0.
        trusted = owner is not None and owner.split(b"\0")[0][1:] == b"0"
        values.append(_value(value) if trusted else None)
    return values


def look(
    xenstore: Connection, paths: Sequence[str], folders: Sequence[str]
) -> tuple[list[str | None], list[list[str]]]:
    """Return the values of nodes, and the names of the children of others, in one round trip.

    A node that does not exist has no value and no children. One with more children than fit into a message takes more
    round trips.
    """
    requests: list[Request] = [(Verb.READ, f"{path}\0".encode()) for path in paths]
    answers = xenstore.ask([*requests, *((Verb.DIRECTORY, f"{folder}\0".encode()) for folder in folders)])
    there = len(requests)
    return [_value(answer) for answer in answers[:there]], [_names(answer) for answer in answers[there:]]


def _below(xenstore: Connection, paths: Iterable[str]) -> list[list[str]]:
    return look(xenstore, (), list(paths))[1]


def _value(answer: bytes | None) -> str | None:
    return None if answer is None else answer.decode(errors="replace")


def _names(answer: bytes | None) -> list[str]:
    return [name for name in (_value(answer) or "").split("\0") if name]


def _number(text: str | None) -> int | None:
    return int(text) if text is not None and text.isdecimal() else None
