"""Numbers that libxl writes into its records of domains, and then cannot read.

libxl keeps a JSON record of each domain, and reads it whenever the domain changes. If it was built with json-c, as from
Xen 4.21 on, it writes an unsigned number of 2^31 or more as a negative one, and then refuses that. A negative
``rtc_timeoffset`` is such a number, since libxl keeps it as an unsigned one.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from pyxen.backends.xenlight.libxl import marshal
from pyxen.backends.xenlight.libxl.binding import CData, ffi, release
from pyxen.backends.xenlight.libxl.error_map import BACKEND
from pyxen.errors import ConfigError, UnsupportedFeature

__all__ = ["check_readable", "negative_numbers", "unreadable"]

_CONFIG = "libxl_domain_config"
_LARGE = re.compile(r"[:\[,]\s*\d{10}")
_REMEDY = "0 to 2147483647 work"


def check_readable(context: CData, text: str) -> None:
    """Check that libxl can read what it would record of a new domain. Call it with libxl's lock held.

    Args:
        context: The ``libxl_ctx``.
        text: The domain's configuration, as JSON for libxl.

    Raises:
        UnsupportedFeature: It cannot; the message names the settings.
    """
    if not _LARGE.search(text):  # most have no such number, and need not be written and read
        return
    record = marshal.to_json(context, marshal.domain_config(context, text))
    try:
        marshal.domain_config(context, record)
    except ConfigError:
        found = negative_numbers(record)
        if not found:
            return  # libxl will say what is wrong
        message = (
            f"{_listed(found)}: libxl of Xen {release} records this in a way that it cannot read itself, so that "
            f"the domain could not be changed, saved or migrated; {_REMEDY}"
        )
        raise UnsupportedFeature(message, feature=next(iter(found)), backend=BACKEND) from None


def unreadable(record: bytes) -> UnsupportedFeature | None:
    """Return the exception for a record that libxl did not read; None if there is another reason."""
    try:
        found = negative_numbers(record.rstrip(b"\0").decode())
    except ValueError:
        return None
    if not found:
        return None
    message = (
        f"libxl cannot read its own record of this domain: {_listed(found)} stands there, as libxl writes it from Xen "
        f"4.21 on. The domain can be shut down and destroyed; to change, save or migrate it, create it again: {_REMEDY}"
    )
    return UnsupportedFeature(message, feature=next(iter(found)), backend=BACKEND)


def negative_numbers(text: str) -> dict[str, int]:
    """Return the negative numbers of unsigned fields in the JSON of a ``libxl_domain_config``, by their paths."""
    return dict(_negative(json.loads(text), ffi.typeof(_CONFIG), ""))


def _negative(value: Any, ctype: Any, path: str) -> Iterator[tuple[str, int]]:
    while ctype.kind in {"pointer", "array"}:
        ctype = ctype.item
    if isinstance(value, list):
        for index, item in enumerate(value):
            yield from _negative(item, ctype, f"{path}[{index}]")
    elif isinstance(value, dict) and marshal.has_members(ctype):
        for key, item in value.items():
            found = marshal.member(ctype, key)
            if found is not None:
                yield from _negative(item, found, f"{path}.{key}" if path else key)
    elif isinstance(value, int) and value < 0 and ctype.kind == "primitive" and ctype.cname.startswith("uint"):
        yield path, value


def _listed(found: dict[str, int]) -> str:
    return ", ".join(f"{path}={value}" for path, value in found.items())
