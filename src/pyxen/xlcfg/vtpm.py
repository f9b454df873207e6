"""The grammar of ``vtpm``: ``"backend=vtpmmgr,uuid=…"``."""

from __future__ import annotations

from typing import Any

from pyxen._printable import quoted
from pyxen.config import Vtpm
from pyxen.xlcfg.item_grammar import Note, SpecError, joined, tokens, unique_id, unnoted

__all__ = ["read_vtpm", "write_vtpm"]


def read_vtpm(spec: str, note: Note = unnoted) -> Vtpm:
    """Read one item of ``vtpm``.

    Raises:
        SpecError: xl would refuse it.
    """
    said: dict[str, Any] = {}
    for token in tokens(spec):
        name, sign, value = token.partition("=")
        if not sign:
            note(token, "xl stops reading the item at a word without '='")
            break
        if name == "backend":
            said["backend"] = value
        elif name == "uuid":
            said["uuid"] = unique_id(value)
        else:
            raise SpecError(f"{quoted(name)} is not a setting of a TPM; backend and uuid are")
    if "backend" not in said:
        raise SpecError("backend is missing; it is the name of the vTPM domain")
    return Vtpm(**said)


def write_vtpm(vtpm: Vtpm) -> str:
    """Write one item of ``vtpm``, as far as the grammar has words for it."""
    return joined([("backend", vtpm.backend), ("uuid", vtpm.uuid)])
