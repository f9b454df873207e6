"""The grammar of ``pvcalls``: ``"backend=net"``."""

from __future__ import annotations

from pyxen._printable import quoted
from pyxen.config import Pvcalls
from pyxen.xlcfg.item_grammar import Note, SpecError, joined, tokens, unnoted

__all__ = ["read_pvcalls", "write_pvcalls"]


def read_pvcalls(spec: str, note: Note = unnoted) -> Pvcalls:
    """Read one item of ``pvcalls``.

    Raises:
        SpecError: xl would refuse it.
    """
    backend = None
    for token in tokens(spec):
        name, sign, value = token.partition("=")
        if not sign:
            note(token, "xl stops reading the item at a word without '='")
            break
        if name != "backend":
            raise SpecError(f"{quoted(name)} is not a setting of pvcalls; backend is")
        backend = value
    return Pvcalls(backend)


def write_pvcalls(pvcalls: Pvcalls) -> str:
    """Write one item of ``pvcalls``, as far as the grammar has words for it."""
    return joined([("backend", pvcalls.backend)])
