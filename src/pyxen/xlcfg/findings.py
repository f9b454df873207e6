"""What `lint` finds, while the text is still at hand: findings with their places in it."""

from __future__ import annotations

from typing import Literal, NamedTuple, TypeAlias

__all__ = ["Finding", "Severity"]

Severity: TypeAlias = Literal["error", "warning", "note"]
"""``error`` where xl refuses, ``warning`` where it does something else than was meant, ``note`` for old spellings."""


class Finding(NamedTuple):
    """One finding.

    Attributes:
        offset: Its place in the text.
        code: Short name of the kind of finding.
        message: What is the matter.
        hint: What to write instead; "" where there is nothing to say.
        severity: How bad it is.
    """

    offset: int
    code: str
    message: str
    hint: str = ""
    severity: Severity = "warning"
