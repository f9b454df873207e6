"""Checks of what is asked of Flask, and the error where it is not there."""

from __future__ import annotations

from typing import Final

from pyxen._printable import quoted
from pyxen.errors import InvalidArgument, UnsupportedFeature

__all__ = ["MOST_POLICY", "check_label", "check_ssidref", "without_flask"]

MOST_POLICY: Final = 64 << 20
"""The most bytes that a policy can have, as in Xen."""

_LONGEST: Final = 4095  # a page, without the NUL
_MOST_SSIDREF: Final = (1 << 31) - 1


def check_label(label: str) -> bytes:
    """Return a label as Xen takes it.

    Raises:
        InvalidArgument: It cannot be a label.
    """
    if not label or len(label) > _LONGEST or not (label.isascii() and label.isprintable()):
        message = f"{quoted(label)} is not a security label: it has 1 to {_LONGEST} printable ASCII characters"
        raise InvalidArgument(message, operation="ssidref")
    return label.encode()


def check_ssidref(ssidref: int) -> int:
    """Return the number of a label.

    Raises:
        InvalidArgument: It is out of range.
    """
    if not 0 <= ssidref <= _MOST_SSIDREF:
        raise InvalidArgument("takes the number of a label, 0 to 2147483647", operation="label")
    return ssidref


def without_flask(verb: str, backend: str) -> UnsupportedFeature:
    """Return the exception for a Xen that runs without Flask."""
    message = (
        f"{verb}: this Xen runs without Flask (XSM); boot one that was built with CONFIG_XSM_FLASK with "
        "flask=enforcing or flask=permissive on its command line"
    )
    return UnsupportedFeature(message, feature="flask", backend=backend)
