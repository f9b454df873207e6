"""The grammar of ``virtio``: ``"type=virtio,device22,transport=mmio"``."""

from __future__ import annotations

from typing import Any

from pyxen._printable import quoted
from pyxen.config import Virtio, VirtioTransport
from pyxen.xlcfg.item_grammar import Note, SpecError, joined, member, switch, unnoted, words

__all__ = ["read_virtio", "write_virtio"]


def read_virtio(spec: str, note: Note = unnoted) -> Virtio:
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
                raise SpecError(f"{quoted(value)} is not a type; write it like virtio,device or virtio,device22")
            said["type"] = value if second is None else f"{value},{second}"
        elif sign and name == "backend":
            said["backend"] = value
        elif sign and name == "transport":
            said["transport"] = member(VirtioTransport, value, "transport")
        elif sign and name == "grant_usage":
            said["grant_usage"] = switch(word.strip(), value, note)
        else:
            raise SpecError(
                f"{quoted(word)} is not a setting of a virtio device; type, backend, transport and grant_usage are"
            )
    return Virtio(**said)


def write_virtio(virtio: Virtio) -> str:
    """Write one item of ``virtio``, as far as the grammar has words for it."""
    pieces = []
    if virtio.type is not None and "\n" not in virtio.type and virtio.type.startswith("virtio") == ("," in virtio.type):
        pieces.append(f"type={virtio.type}")
    grants = None if virtio.grant_usage is None else int(virtio.grant_usage)
    rest = joined([("backend", virtio.backend), ("transport", virtio.transport), ("grant_usage", grants)])
    return ",".join([*pieces, rest] if rest else pieces)
