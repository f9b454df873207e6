"""The protocol between the two ends of a migration. It is xl's, so that xl can be at the other end.

::

    source                                     destination
                                               banner
    head of a saved domain, libxl's stream
                                               "received"; its copy is paused under another name
    renames its own domain; "go"
                                               renames and starts its copy; "report", 0
    destroys its own domain

If the destination cannot start its copy, it reports another number. Once it has destroyed the copy, it sends "go" in
the other direction.

A replicated domain arrives in a stream without an end, and no message follows it.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Protocol, TypeVar

from pyxen._common import savefile
from pyxen._common.shield import logger
from pyxen.backends.xenlight.migration.peer_channel import Lost, PeerChannel

__all__ = ["Destination", "InDoubt", "Refused", "Source", "greet", "receive", "receive_backup", "send"]

T_co = TypeVar("T_co", covariant=True)

_LOG = logger("pyxen.migration")

_BANNER = b"xl migration receiver ready, send binary domain data.\n"
_RECEIVED = b"domain received, ready to unpause\0"
_GO = b"domain is yours, you are cleared to unpause\0"
_REPORT = b"my copy unpause results are as follows\0"
_FAILED = 3  # libxl's ERROR_FAIL, as xl sends it


class InDoubt(Exception):
    """The other end was cleared to start the domain, and it is unknown whether it has."""


class Refused(Exception):
    """The other end could not start the domain, and has removed its copy."""


class Source(Protocol):
    """The sending end's operations on its domain."""

    def head(self) -> bytes:
        """Return the head that precedes libxl's stream."""

    def stream(self, channel: PeerChannel) -> None:
        """Send the domain; it is suspended afterwards."""

    def set_aside(self) -> None:
        """Give the domain another name."""

    def take_back(self) -> None:
        """Undo all steps so far: the domain resumes under its own name."""

    def end(self) -> None:
        """Destroy the domain, which now runs at the other end."""


class Destination(Protocol[T_co]):
    """The receiving end's operations on its copy."""

    def restore(self, head: savefile.Head, channel: PeerChannel) -> None:
        """Create the copy, paused and under another name, from the stream after the head. A failure leaves nothing."""

    def start(self) -> T_co:
        """Give the copy its final name, and start it."""

    def remove(self) -> None:
        """Destroy the copy."""


def send(channel: PeerChannel, source: Source) -> None:
    """Send a domain. If anything fails before the other end may start it, the domain resumes here.

    Raises:
        Lost: The other end is gone, or does not follow the protocol.
        Refused: The other end could not start the domain.
        InDoubt: It is unknown whether the other end has started the domain. Here it stays suspended and renamed.
    """
    greet(channel, source.head)
    try:
        source.stream(channel)
        channel.expect(_RECEIVED, "that it has received the domain")
        source.set_aside()
        channel.commit(_GO)
    except BaseException as error:
        if channel.committed:
            raise InDoubt(str(error)) from error
        source.take_back()
        raise
    try:
        channel.expect(_REPORT, "whether the domain runs")
        status = channel.read(1)[0]
        if status:
            channel.expect(_GO, "that the domain may go on here")
    except Lost as lost:
        raise InDoubt(str(lost)) from lost
    if status:
        source.take_back()
        raise Refused(f"the destination could not start it ({status})")
    source.end()


def greet(channel: PeerChannel, head: Callable[[], bytes]) -> None:
    """Wait for the other end's banner, then send the head that precedes libxl's stream.

    Raises:
        Lost: The other end is gone, or does not follow the protocol.
    """
    channel.expect(_BANNER, "the banner of a migration's receiver")
    channel.write(head())


def receive(channel: PeerChannel, destination: Destination[T_co]) -> T_co:
    """Receive a domain. If anything fails, nothing of it is left here.

    Raises:
        Lost: The other end is gone, or does not follow the protocol.
        ParseError: The other end does not send a domain.
    """
    channel.write(_BANNER)
    destination.restore(savefile.parse(channel.read, "<migration stream>"), channel)
    try:
        channel.write(_RECEIVED)
        channel.expect(_GO, "that the domain may start here")
        channel.committed = True
        started = destination.start()
    except BaseException:
        channel.committed = True  # finish the conversation, even if the operation is stopped
        _give_back(channel, destination)
        raise
    try:
        channel.write(_REPORT + b"\0")
    except Lost as lost:
        _LOG.warning("The domain runs here, and the source does not know: %s", lost)
    return started


def receive_backup(channel: PeerChannel, destination: Destination[T_co]) -> T_co:
    """Receive checkpoints of a domain, and start it when no more arrive. Without a complete one, nothing is left here.

    If the start fails, the domain stays as it is: it may be the only copy.

    Raises:
        Lost: The other end is gone, or does not follow the protocol.
        ParseError: The other end does not send a domain.
    """
    channel.write(_BANNER)
    destination.restore(savefile.parse(channel.read, "<migration stream>"), channel)
    return destination.start()


def _give_back(channel: PeerChannel, destination: Destination[object]) -> None:
    """Report to the source that its domain does not run here; clear it to resume once the copy is destroyed."""
    with contextlib.suppress(Lost):
        channel.write(_REPORT + bytes([_FAILED]))
    destination.remove()
    with contextlib.suppress(Lost):
        channel.write(_GO)
