"""What may be a password in xl's configurations, also where its key is misspelt: messages do not quote it."""

from __future__ import annotations

import re
from typing import Final

__all__ = ["has_password", "may_be_password"]

_PASSWORD: Final = re.compile(
    r"p[aw]{0,3}s{1,4}[a-z]{0,8}(?:w|d(?![a-z]))|pa?wd|pass?(?![a-z])",  # bounded, since a line may be long
    re.IGNORECASE,
)
"""``passwd`` and its like; none of xl's other keys has this."""

_OWNERS: Final = ("vnc", "spice")
"""How the keys begin that have a password beside them."""


def has_password(text: str) -> bool:
    """Tell whether a text has the name of a password, however it is misspelt."""
    return _PASSWORD.search(text) is not None


def may_be_password(unknown: str) -> bool:
    """Tell whether a key that xl does not know may stand for that of a password."""
    return unknown.lower().startswith(_OWNERS) or has_password(unknown)
