"""The grammars of the smaller devices: ``vtpm``, ``p9``, ``pvcalls``, ``channel``, ``virtio``."""

from __future__ import annotations

import uuid
from typing import Any, Final

from pyxen.config import P9, Channel, ChannelConnection, P9Type, Pvcalls, Virtio, VirtioTransport, Vtpm
from pyxen.xlcfg.item_grammar import Note, SpecError, joined, member, number, pairs, tokens, unsigned, words

__all__ = [
    "read_channel",
    "read_p9",
    "read_pvcalls",
    "read_virtio",
    "read_vtpm",
    "write_channel",
    "write_p9",
    "write_pvcalls",
    "write_virtio",
    "write_vtpm",
]

_P9_STRINGS: Final = ("tag", "path", "security_model", "backend")
_P9_LIMITS: Final = ("max-files", "max-open-files", "max-space")


def read_vtpm(spec: str, note: Note) -> Vtpm:
    """Read one item of ``vtpm``.

    Raises:
        SpecError: xl would refuse it.
    """
    said: dict[str, Any] = {}
    for token in tokens(spec):
        name, sign, value = token.partition("=")
        if not sign:
            note(token, "xl ends reading the item at a word without '='")
            break
        if name == "backend":
            said["backend"] = value
        elif name == "uuid":
            try:
                said["uuid"] = uuid.UUID(value)
            except ValueError:
                raise SpecError(f"{value!r} is no uuid") from None
        else:
            raise SpecError(f"{name!r} is no setting of a TPM; backend and uuid are")
    if "backend" not in said:
        raise SpecError("backend, the vTPM domain, is missing")
    return Vtpm(**said)


def write_vtpm(vtpm: Vtpm) -> str:
    """Write one item of ``vtpm``, as far as the grammar has words for it."""
    return joined([("backend", vtpm.backend), ("uuid", vtpm.uuid)])


def read_pvcalls(spec: str, note: Note) -> Pvcalls:
    """Read one item of ``pvcalls``.

    Raises:
        SpecError: xl would refuse it.
    """
    backend = None
    for token in tokens(spec):
        name, sign, value = token.partition("=")
        if not sign:
            note(token, "xl ends reading the item at a word without '='")
            break
        if name != "backend":
            raise SpecError(f"{name!r} is no setting of pvcalls; backend is")
        backend = value
    return Pvcalls(backend)


def write_pvcalls(pvcalls: Pvcalls) -> str:
    """Write one item of ``pvcalls``, as far as the grammar has words for it."""
    return joined([("backend", pvcalls.backend)])


def read_p9(spec: str) -> P9:
    """Read one item of ``p9``.

    Raises:
        SpecError: xl would refuse it.
        ValidationError: A value is impossible.
    """
    said: dict[str, Any] = {}
    if not words(spec):
        raise SpecError("the item is empty")
    for name, value in pairs(spec, "setting of 9pfs"):
        if name in _P9_STRINGS:
            said[name] = value
        elif name == "type":
            said["type"] = member(P9Type, value, "type of 9pfs server")
        elif name in _P9_LIMITS:
            said[name.replace("-", "_")] = number(value)
        elif name == "auto-delete":
            said["auto_delete"] = bool((unsigned(value, 0) or (0, ""))[0])
        else:
            raise SpecError(f"{name!r} is no setting of 9pfs")
    return P9(**said)


def write_p9(p9: P9) -> str:
    """Write one item of ``p9``, as far as the grammar has words for it."""
    return joined(
        [
            *((name, getattr(p9, name) or None) for name in _P9_STRINGS),
            ("type", p9.type),
            *((name, getattr(p9, name.replace("-", "_")) or None) for name in _P9_LIMITS),
            ("auto-delete", 1 if p9.auto_delete else None),
        ]
    )


def read_channel(spec: str, note: Note) -> Channel:
    """Read one item of ``channel``; words that xl does not know are noted, as xl goes on without them.

    Raises:
        SpecError: xl would refuse it.
    """
    said: dict[str, Any] = {}
    if not words(spec):
        raise SpecError("the item is empty")
    for name, value in pairs(spec, "setting of a channel"):
        if name in ("backend", "name", "path"):
            said[name] = value
        elif name == "connection":
            if value not in ("pty", "socket"):
                raise SpecError(f"{value!r} is no connection of a channel; it can be pty or socket")
            said["connection"] = ChannelConnection(value)
        else:
            note(name, "xl does not know it, says so and goes on")
    connection = said.get("connection")
    if connection is None:
        raise SpecError("connection is missing; it can be pty or socket")
    if connection is ChannelConnection.SOCKET:
        if "path" not in said:
            raise SpecError("path is missing: connection=socket needs one")
    elif "path" in said:
        note(f"path={said.pop('path')}", "only connection=socket has a path")
    return Channel(**said)


def write_channel(channel: Channel) -> str:
    """Write one item of ``channel``, as far as the grammar has words for it."""
    return joined(
        [(name, getattr(channel, name) or None) for name in ("connection", "name", "path", "backend")],
    )


def read_virtio(spec: str) -> Virtio:
    """Read one item of ``virtio``.

    Raises:
        SpecError: xl would refuse it.
    """
    said: dict[str, Any] = {}
    remaining = iter(words(spec))
    for word in remaining:
        name, sign, value = word.lstrip(" ").partition("=")
        if sign and name == "type":
            # The one value that holds a comma: "virtio,device22".
            second = next(remaining, None) if value.startswith("virtio") else None
            if value.startswith("virtio") and second is None:
                raise SpecError(f"{value!r} is no type; write it like virtio,device or virtio,device22")
            said["type"] = value if second is None else f"{value},{second}"
        elif sign and name == "backend":
            said["backend"] = value
        elif sign and name == "transport":
            said["transport"] = member(VirtioTransport, value, "transport")
        elif sign and name == "grant_usage":
            said["grant_usage"] = bool((unsigned(value, 0) or (0, ""))[0])
        else:
            raise SpecError(f"{word!r} is no setting of a virtio device")
    return Virtio(**said)


def write_virtio(virtio: Virtio) -> str:
    """Write one item of ``virtio``, as far as the grammar has words for it."""
    pieces = []
    if virtio.type is not None and "\n" not in virtio.type and virtio.type.startswith("virtio") == ("," in virtio.type):
        pieces.append(f"type={virtio.type}")
    grants = None if virtio.grant_usage is None else int(virtio.grant_usage)
    rest = joined([("backend", virtio.backend), ("transport", virtio.transport), ("grant_usage", grants)])
    return ",".join([*pieces, rest] if rest else pieces)
