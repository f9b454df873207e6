"""The grammar of ``p9``: ``"tag=share,path=/srv,security_model=none"``."""

from __future__ import annotations

from typing import Any, Final

from pyxen._printable import quoted
from pyxen.config import P9, P9Type
from pyxen.xlcfg.item_grammar import Note, SpecError, joined, member, number, pairs, switch, unnoted, words

__all__ = ["read_p9", "write_p9"]

_STRINGS: Final = ("tag", "path", "security_model", "backend")
_LIMITS: Final = ("max-files", "max-open-files", "max-space")


def read_p9(spec: str, note: Note = unnoted) -> P9:
    """Read one item of ``p9``.

    Raises:
        SpecError: xl would refuse it.
        ValidationError: A value is impossible.
    """
    said: dict[str, Any] = {}
    if not words(spec):
        raise SpecError("the item is empty")
    for name, value in pairs(spec, "setting of 9pfs"):
        if name in _STRINGS:
            said[name] = value
        elif name == "type":
            said["type"] = member(P9Type, value, "type of 9pfs server")
        elif name in _LIMITS:
            said[name.replace("-", "_")] = number(value, note)
        elif name == "auto-delete":
            said["auto_delete"] = switch(f"{name}={value}", value, note)
        else:
            raise SpecError(f"{quoted(name)} is not a setting of 9pfs")
    return P9(**said)


def write_p9(p9: P9) -> str:
    """Write one item of ``p9``, as far as the grammar has words for it."""
    return joined(
        [
            *((name, getattr(p9, name) or None) for name in _STRINGS),
            ("type", p9.type),
            *((name, getattr(p9, name.replace("-", "_")) or None) for name in _LIMITS),
            ("auto-delete", 1 if p9.auto_delete else None),
        ]
    )
