"""xl configurations, the text of xl.cfg(5): read, written, edited in place, and looked through for mistakes.

The grammar is libxlutil's to the last quirk and the meaning is xl's; nothing is executed, and no Xen is needed.
"""

from __future__ import annotations

from pyxen.xlcfg.codec import dump, dumps, load, loads
from pyxen.xlcfg.document import Document, parse
from pyxen.xlcfg.lint import Diagnostic, lint

__all__ = ["Diagnostic", "Document", "dump", "dumps", "lint", "load", "loads", "parse"]
