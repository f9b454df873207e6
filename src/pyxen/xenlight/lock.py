"""The one lock around libxl.

libxl forks children that make hypercalls before they exec. If another thread is inside a hypercall at that moment, the
child inherits libxencall's buffer lock in its locked state and never ends, and neither does the operation. So no two
threads of this process may be in libxl at the same time, whatever context they use. The road for reading
(`pyxen.xenlight.reader`) has handles that never take libxencall's lock, and does not need this one.
"""

from __future__ import annotations

import os
import threading

__all__ = ["LIBXL"]

LIBXL = threading.Lock()
"""Held during every call of libxl, by any context; never while waiting for something."""


# A child of os.fork gets libxl's state as it is at that moment: let no other thread be inside it.
os.register_at_fork(before=LIBXL.acquire, after_in_parent=LIBXL.release, after_in_child=LIBXL.release)
