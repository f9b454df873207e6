"""The generation id of a virtual machine (xl.cfg ``ms_vm_genid``)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, TypeAlias, Union

from pyxen.config.checks import unique_id

if TYPE_CHECKING:
    import uuid

__all__ = ["GenerationId", "generation_id"]

GenerationId: TypeAlias = Union["uuid.UUID", Literal["generate"]]
"""128 bits, kept as a uuid in the order of its bytes; or ``"generate"``: new ones at each creation."""


def generation_id(value: Any) -> GenerationId:
    """Pass a uuid, or ``"generate"``."""
    return "generate" if value == "generate" else unique_id(value)
