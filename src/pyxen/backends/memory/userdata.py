"""The notes stored with a simulated domain."""

from __future__ import annotations

from typing import Final

from pyxen import libxljson
from pyxen._common.preconditions import check_note, check_note_key
from pyxen._next_config import NEXT_CONFIG
from pyxen.backends.memory.guests import Guest

__all__ = ["set_userdata", "update_config", "userdata"]

_CONFIGURATION: Final = "libxl-json"


def userdata(guest: Guest, key: str) -> bytes | None:
    """Return the note with a key."""
    check_note_key("userdata", guest.domid, key)
    if key == _CONFIGURATION:
        return libxljson.dumps(guest.config, on_loss="ignore").encode()
    return guest.notes.get(key)


def set_userdata(guest: Guest, key: str, data: bytes | None) -> None:
    """Store a note; None removes it."""
    check_note(guest.domid, key, data)
    guest.notes.pop(key, None)
    if data is not None:
        guest.notes[key] = bytes(data)


def update_config(guest: Guest, text: bytes | None) -> None:
    """Store the text from which the domain is started again; None forgets it."""
    guest.notes.pop(NEXT_CONFIG, None)
    if text is not None:
        guest.notes[NEXT_CONFIG] = text
