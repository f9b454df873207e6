"""The one lock around libxl.

libxl forks children that make hypercalls before they exec. If another thread is inside a hypercall at that moment, the
child inherits libxencall's buffer lock in its locked state and never ends, and neither does the operation. So only one
thread of this process may be in libxl at a time, whatever context it uses. The read-only queries that bypass libxl
(`pyxen.backends.xenlight.hypervisor`) use handles that never take libxencall's lock, and do not need this one.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager
from typing import Final

from pyxen.backends.xenlight.libxl.binding import lib

__all__ = ["LIBXL"]


_NOT_HELD: Final = contextlib.nullcontext()


class _Lock:
    """The lock in C, for ``with``. Only for the event loop's thread, which no signal handler can interrupt."""

    def __init__(self) -> None:
        self._owner: int | None = None
        """The thread that holds it, unless C code took it."""

    def __enter__(self) -> None:
        lib.pyxen_lock()
        self._owner = threading.get_ident()

    def __exit__(self, *_: object) -> None:
        self._owner = None
        lib.pyxen_unlock()

    def released(self) -> AbstractContextManager[None]:
        """Release it temporarily, if this thread holds it, for slow work that does not use libxl."""
        return self._released() if self._owner == threading.get_ident() else _NOT_HELD

    @contextlib.contextmanager
    def _released(self) -> Iterator[None]:
        self.__exit__()
        try:
            yield
        finally:
            self.__enter__()

    def locked(self) -> bool:
        return bool(lib.pyxen_locked())


LIBXL = _Lock()
"""Held during every call to libxl, by any context, but never during a wait."""


# A child of os.fork inherits libxl's state of that moment, so no other thread may be inside libxl.
os.register_at_fork(before=lib.pyxen_lock, after_in_parent=lib.pyxen_unlock, after_in_child=lib.pyxen_unlock)
