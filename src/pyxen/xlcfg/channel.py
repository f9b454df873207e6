"""The grammar of ``channel``: ``"connection=socket,path=/run/x,name=org.qemu.guest_agent.0"``."""

from __future__ import annotations

from typing import Any

from pyxen._printable import quoted
from pyxen.config import Channel, ChannelConnection
from pyxen.xlcfg.item_grammar import Note, SpecError, joined, pairs, unnoted, words

__all__ = ["read_channel", "write_channel"]


def read_channel(spec: str, note: Note = unnoted) -> Channel:
    """Read one item of ``channel``; words that xl does not know are noted, because xl ignores them.

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
                raise SpecError(f"{quoted(value)} is not a valid connection; it can be pty or socket")
            said["connection"] = ChannelConnection(value)
        else:
            note(name, "xl warns that it does not know it, and ignores it")
    connection = said.get("connection")
    if connection is None:
        raise SpecError("connection is missing; it can be pty or socket")
    if connection is ChannelConnection.SOCKET:
        if "path" not in said:
            raise SpecError("path is missing; a channel with connection=socket needs it")
    elif "path" in said:
        note(f"path={said.pop('path')}", "only a channel with connection=socket has a path")
    return Channel(**said)


def write_channel(channel: Channel) -> str:
    """Write one item of ``channel``, as far as the grammar has words for it."""
    return joined(
        [(name, getattr(channel, name) or None) for name in ("connection", "name", "path", "backend")],
    )
