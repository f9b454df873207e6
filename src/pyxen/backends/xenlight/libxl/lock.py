"""The one lock around libxl.

libxl forks children that make hypercalls before they exec. If another thread is inside a hypercall at that moment, the
child inherits libxencall's buffer lock in its locked state and never ends, and neither does the operation. So no two
threads of this process may be in libxl at the same time, whatever context they use. The road for reading
(`pyxen.backends.xenlight.hypervisor`) has handles that never take libxencall's lock, and does not need this one.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Iterator

from pyxen.backends.xenlight.libxl.binding import lib

__all__ = ["LIBXL"]


class _Lock:
    """C's lock, for ``with``; for the event loop's thread, where no signal handler can come between its lines."""

    def __init__(self) -> None:
        self._owner: int | None = None
        """The thread that has it, unless C took it."""

    def __enter__(self) -> None:
        lib.pyxen_lock()
        self._owner = threading.get_ident()

    def __exit__(self, *_: object) -> None:
        self._owner = None
        lib.pyxen_unlock()

    @contextlib.contextmanager
    def released(self) -> Iterator[None]:
        """Let go of it for a while, if this thread has it: for what is not libxl, and may take its time."""
        if self._owner != threading.get_ident():
            yield
            return
        self.__exit__()
        try:
            yield
        finally:
            self.__enter__()

    def locked(self) -> bool:
        return bool(lib.pyxen_locked())


LIBXL = _Lock()
"""Held during every call of libxl, by any context; never while waiting for something."""


# A child of os.fork gets libxl's state as it is at that moment: let no other thread be inside it.
os.register_at_fork(before=lib.pyxen_lock, after_in_parent=lib.pyxen_unlock, after_in_child=lib.pyxen_unlock)
