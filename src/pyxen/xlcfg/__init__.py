"""xl configurations, the text of xl.cfg(5): read, written, edited in place, and looked through for mistakes.

The grammar is libxlutil's to the last quirk and the meaning is xl's; nothing is executed, and no Xen is needed. Names
are loaded when they are first used: `parse` does without the model.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pyxen.xlcfg.codec import dump as dump
    from pyxen.xlcfg.codec import dumps as dumps
    from pyxen.xlcfg.codec import load as load
    from pyxen.xlcfg.codec import loads as loads
    from pyxen.xlcfg.codec import losses as losses
    from pyxen.xlcfg.document import Document as Document
    from pyxen.xlcfg.document import parse as parse
    from pyxen.xlcfg.linter import Diagnostic as Diagnostic
    from pyxen.xlcfg.linter import lint as lint

__all__ = ["Diagnostic", "Document", "dump", "dumps", "lint", "load", "loads", "losses", "parse"]

_MODULES = {
    "Diagnostic": "linter",
    "Document": "document",
    "dump": "codec",
    "dumps": "codec",
    "lint": "linter",
    "load": "codec",
    "loads": "codec",
    "losses": "codec",
    "parse": "document",
}
"""Names of this package, and the module that each comes from."""

if not TYPE_CHECKING:  # a checker that saw this would take every misspelt name for one of ours

    def __getattr__(name: str) -> Any:
        if name not in _MODULES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        value = getattr(importlib.import_module(f"{__name__}.{_MODULES[name]}"), name)
        globals()[name] = value
        return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
