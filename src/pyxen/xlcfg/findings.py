"""The findings of `lint`, each with its offset in the text."""

from __future__ import annotations

from typing import Literal, NamedTuple, TypeAlias

__all__ = ["Finding", "Severity"]

Severity: TypeAlias = Literal["error", "warning", "note"]
"""``error``: xl refuses the text; ``warning``: xl does something else than was meant; ``note``: an old spelling."""


class Finding(NamedTuple):
    """One finding.

    Attributes:
        offset: Its place in the text.
        code: Short name of the kind of finding.
        message: What is wrong.
        hint: What to write instead; "" if there is no advice.
        severity: How bad it is.
    """

    offset: int
    code: str
    message: str
    hint: str = ""
    severity: Severity = "warning"
