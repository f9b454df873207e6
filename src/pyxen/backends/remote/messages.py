"""The messages between the two ends of a link, and their limits.

A frame is a length (four bytes, big-endian) and a message in msgpack. The server first sends a line that tells it from
other programs. Then the client says `Hello`, and the server `Welcome` or `Refused`. From then on, both ends send as
they like. A call has a number that the client chooses; everything about it carries that number, also its byte stream.

New fields may only be added at the end, with a default. A change that an older end would misunderstand needs a new
number of the protocol.
"""

from __future__ import annotations

import sys
from typing import Annotated, Final

from msgspec import Meta, Raw, Struct

__all__ = [
    "BACKLOG",
    "CHUNK",
    "DEEPEST",
    "GREETING",
    "MOST_CALLS",
    "MOST_FRAME",
    "MOST_STREAMS",
    "PROTOCOL",
    "VERSION",
    "WINDOW",
    "Answer",
    "Ask",
    "Begun",
    "Bye",
    "Call",
    "Cancel",
    "Credit",
    "Data",
    "Done",
    "Drained",
    "End",
    "Failed",
    "Failure",
    "FromClient",
    "FromServer",
    "Hello",
    "Item",
    "Kept",
    "Over",
    "Ping",
    "Pong",
    "Progress",
    "Refused",
    "Reply",
    "Settled",
    "Snap",
    "Welcome",
]

VERSION: Final[str] = sys.modules["pyxen"].__version__  # not of the metadata, which a checkout may lack
"""The version of this pyxen."""
PROTOCOL: Final = 1
"""The number of the protocol that this pyxen speaks."""
GREETING: Final = b"\0pyxen serve\n"
"""What a server sends first."""
MOST_FRAME: Final = 32 << 20
"""The most bytes of a message."""
MOST_CALLS: Final = 1024
"""The most calls that a client may have going at once."""
MOST_STREAMS: Final = 64
"""The most byte streams that a client may have open at once."""
WINDOW: Final = 2 << 20
"""The most bytes of a stream that are on their way in one direction: its reader grants more as it has written them."""
CHUNK: Final = 64 << 10
"""The most bytes of a stream in one message."""
BACKLOG: Final = 8 << 20
"""The bytes that wait to be sent to a client, above which its next calls wait, and its events are lost."""
DEEPEST: Final = 100
"""How deep lists and mappings may lie in each other, where their depth is not that of a type."""

Id = Annotated[int, Meta(ge=1, lt=2**53)]
Bytes = Annotated[bytes, Meta(min_length=1, max_length=CHUNK)]
Count = Annotated[int, Meta(ge=1, le=WINDOW)]
Word = Annotated[str, Meta(max_length=256)]
Words = Annotated[str, Meta(max_length=1 << 20)]


class _Message(Struct, array_like=True, tag=True):
    pass


class Failure(Struct, omit_defaults=True, frozen=True):
    """An error: its class by name, its message, and its other attributes."""

    kind: Word
    message: Words
    feature: Words | None = None
    backend: Words | None = None
    path: Words | None = None
    problems: tuple[Words, ...] = ()
    line: int | None = None
    column: int | None = None
    source: Words | None = None
    losses: tuple[tuple[Words, Words], ...] = ()
    operation: Words | None = None
    domain: Words | int | None = None
    domid: int | None = None
    code: int | None = None
    log: tuple[Words, ...] = ()
    error_class: Words | None = None
    description: Words | None = None
    filename: Words | None = None


# Of both ends


class Ping(_Message):
    """Ask whether the other end is there."""


class Pong(_Message):
    """It is."""


class Data(_Message):
    """A part of a stream."""

    call: Id
    data: Bytes


class Credit(_Message):
    """So many bytes of a stream were written where they belong, and as many more may be sent."""

    call: Id
    count: Count


class End(_Message):
    """A stream ends in this direction."""

    call: Id


class Drained(_Message):
    """All of a stream that has ended was written where it belongs."""

    call: Id


class Snap(_Message):
    """A stream cannot be written where it belongs, or is not wanted any more."""

    call: Id
    reason: Words = ""


# Of the client


class Hello(_Message):
    """The client's first message."""

    protocol: int
    version: Word


class Call(_Message):
    """Begin a verb."""

    id: Id
    verb: Word
    arguments: Raw


class Cancel(_Message):
    """Stop a call and undo it, or end a subscription."""

    id: Id
    reason: Word = "cancelled"


class Kept(_Message):
    """The client has got what a call has made."""

    id: Id


class Reply(_Message):
    """What the client's own check says of a configuration; see `Ask`."""

    id: Id
    allowed: bool
    failure: Failure | None = None


class Bye(_Message):
    """The client ends the link: stop what it has going, say how that ended, and end."""


# Of the server


class Welcome(_Message):
    """The server's answer to `Hello`."""

    protocol: int
    version: Word
    backend: Word
    features: tuple[Word, ...]
    verbs: tuple[Word, ...]
    read_only: bool = False
    limited_by: Words = ""  # what says there that other verbs are refused; empty if none is


class Refused(_Message):
    """The server cannot serve."""

    failure: Failure
    version: Word = ""


class Answer(_Message):
    """The result of a verb that only looks."""

    id: Id
    result: Raw


class Begun(_Message):
    """A verb that takes time has begun."""

    id: Id
    subject: Words | int | None = None
    domid: int | None = None


class Progress(_Message):
    """How far it has got."""

    id: Id
    subject: Words | int | None
    domid: int | None
    what: Words | None
    percent: Annotated[int, Meta(ge=0, le=100)]


class Done(_Message):
    """It has ended well. If it is `undoable`, the server undoes it unless `Kept` arrives, and answers that."""

    id: Id
    result: Raw
    subject: Words | int | None = None
    domid: int | None = None
    log: tuple[Words, ...] = ()
    undoable: bool = False


class Settled(_Message):
    """What a call has made stays."""

    id: Id


class Failed(_Message):
    """A call has failed."""

    id: Id
    failure: Failure
    stopped: Word | None = None
    subject: Words | int | None = None
    domid: int | None = None


class Item(_Message):
    """One more of what a subscription gets. If so many were `lost`, the value says only that; None is unknown."""

    id: Id
    value: Raw
    lost: Annotated[int, Meta(ge=0)] | None = 0


class Over(_Message):
    """A subscription has ended."""

    id: Id
    failure: Failure | None = None


class Ask(_Message):
    """May a domain with this configuration be created? The client answers with `Reply`."""

    id: Id
    config: Raw


FromClient = Hello | Call | Cancel | Kept | Reply | Bye | Ping | Pong | Data | Credit | End | Drained | Snap
FromServer = (
    Welcome | Refused | Answer | Begun | Progress | Done | Settled | Failed | Item | Over | Ask
    | Ping | Pong | Data | Credit | End | Drained | Snap
)  # fmt: skip
