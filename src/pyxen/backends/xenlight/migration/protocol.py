"""What the two ends of a migration say to each other: xl's protocol, so that xl can be at the other end.

::

    source                                     destination
                                               banner
    head of a saved domain, libxl's stream
                                               "received", its copy paused under another name
    its own renamed; "go"
                                               the copy has its name and runs; "report", 0
    its own destroyed

Where the destination cannot start its copy, a report of another number comes, and, once the copy is destroyed, "go" in
the other direction.

A domain that is replicated comes in a stream without an end, and nothing is said after it.
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
    """The other end had leave to start the domain, and nobody knows whether it has."""


class Refused(Exception):
    """The other end could not start the domain, and nothing of it is left there."""


class Source(Protocol):
    """What the sending end does to its domain."""

    def head(self) -> bytes:
        """Return the head of the stream."""

    def stream(self, channel: PeerChannel) -> None:
        """Send the domain; it is suspended in the end."""

    def set_aside(self) -> None:
        """Give the domain another name."""

    def take_back(self) -> None:
        """Undo all this, however far it came: the domain goes on under its own name."""

    def end(self) -> None:
        """Destroy the domain, which runs at the other end."""


class Destination(Protocol[T_co]):
    """What the receiving end does to its copy."""

    def restore(self, head: savefile.Head, channel: PeerChannel) -> None:
        """Create the copy, paused, under another name, from what comes after the head; a failure leaves nothing."""

    def start(self) -> T_co:
        """Give the copy its name, and let it run."""

    def remove(self) -> None:
        """Destroy the copy."""


def send(channel: PeerChannel, source: Source) -> None:
    """Send a domain; whatever goes wrong, it goes on here.

    Raises:
        Lost: The other end is gone, or is none.
        Refused: The other end could not start it.
        InDoubt: Nobody knows whether the other end has started it: here it stays suspended, and set aside.
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
    """Send what stands before libxl's stream, when the other end has said that it listens.

    Raises:
        Lost: The other end is gone, or is none.
    """
    channel.expect(_BANNER, "the banner of a migration's receiver")
    channel.write(head())


def receive(channel: PeerChannel, destination: Destination[T_co]) -> T_co:
    """Receive a domain; whatever goes wrong, nothing of it is left here.

    Raises:
        Lost: The other end is gone, or is none.
        ParseError: What it sends is no domain.
    """
    channel.write(_BANNER)
    destination.restore(savefile.parse(channel.read, "<migration stream>"), channel)
    try:
        channel.write(_RECEIVED)
        channel.expect(_GO, "that the domain may start here")
        channel.committed = True
        started = destination.start()
    except BaseException:
        channel.committed = True  # what is left to say is said, whatever stops the operation
        _give_back(channel, destination)
        raise
    try:
        channel.write(_REPORT + b"\0")
    except Lost as lost:
        _LOG.warning("The domain runs here, and the source does not know: %s", lost)
    return started


def receive_backup(channel: PeerChannel, destination: Destination[T_co]) -> T_co:
    """Receive a domain over and over, and start it when no more comes; if none has come whole, nothing of it is left.

    What then fails leaves it as it is: it may be the only one.

    Raises:
        Lost: The other end is gone, or is none.
        ParseError: What it sends is no domain.
    """
    channel.write(_BANNER)
    destination.restore(savefile.parse(channel.read, "<migration stream>"), channel)
    return destination.start()


def _give_back(channel: PeerChannel, destination: Destination[object]) -> None:
    """Tell the source that its domain does not run here, and, when nothing is left of it, that it may go on there."""
    with contextlib.suppress(Lost):
        channel.write(_REPORT + bytes([_FAILED]))
    destination.remove()
    with contextlib.suppress(Lost):
        channel.write(_GO)
