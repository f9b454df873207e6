"""The differences of two configurations, as losses: `dumps` compares what was meant with what xl reads."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from pyxen.config import DomainConfig, Part
from pyxen.config.base import Setting, fields_of
from pyxen.losses import Loss, shown

__all__ = ["differences"]

_FROM_THE_HOST: Final = "claim_mode"
"""A setting that says how a host builds a domain. xl takes it from xl.conf, so it is no loss."""


def differences(wanted: DomainConfig, read: DomainConfig) -> list[Loss]:
    """Return what is lost of a configuration, `wanted`, if xl reads `read` from its text."""
    return [loss for loss in _of_parts(wanted, read, "", wanted.type) if loss.path != _FROM_THE_HOST]


def _of_parts(wanted: Part, read: Part, path: str, guest: str) -> Iterator[Loss]:
    fields = fields_of(type(wanted))
    pairs = zip(fields.names, fields.values(wanted), fields.values(read), strict=True)
    for name, ours, theirs in pairs:
        if ours is not theirs:
            inner = f"{path}.{name}" if path else name
            yield from _of_values(ours, theirs, inner, fields.settings[name], guest)


def _of_values(wanted: Any, read: Any, path: str, known: Setting, guest: str) -> Iterator[Loss]:
    if wanted == read:
        return
    if isinstance(wanted, Part) and type(wanted) is type(read):
        yield from _of_parts(wanted, read, path, guest)
    elif isinstance(wanted, tuple) and isinstance(read, tuple) and len(wanted) == len(read):
        for index, (one, other) in enumerate(zip(wanted, read, strict=True)):
            yield from _of_values(one, other, f"{path}[{index}]", known, guest)
    else:
        yield Loss(path, _shown(wanted, known), _reason(wanted, read, known, guest))


def _shown(value: Any, known: Setting) -> str:
    if known.secret is None or value is None:
        return shown(value)
    return shown(tuple(map(known.secret, value))) if isinstance(value, tuple) else known.secret(str(value))


def _reason(wanted: Any, read: Any, known: Setting, guest: str) -> str:
    if wanted is None:
        return f"xl sets it to {_shown(read, known)} itself"
    if known.key == "":
        return "xl.cfg has no word for it"
    if known.guests and guest not in known.guests:
        wanted_by = " and ".join(sorted(one.upper() for one in known.guests))
        return f"{guest.upper()} guests do not have it; {wanted_by} guests do"
    becomes = "" if read is None or read == () else f"; it becomes {_shown(read, known)}"
    if isinstance(wanted, float) and not wanted.is_integer():
        return f"xl.cfg counts in whole MiB{becomes}"
    return f"xl.cfg cannot say this value{becomes}"
