"""What may come between any two lines of some modules: Ctrl-C, or another signal, and its handler."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any, TypeVar

__all__ = ["interrupted"]

T = TypeVar("T")

_MOST = 3000
"""Lines of a call; one with more does not end, or says so much that nobody waits for it."""


def interrupted(call: Callable[[], T], handler: Callable[[], object], *modules: str) -> Iterator[Callable[[], T]]:
    """Yield a call again and again: each time, the handler is called before the next line of these modules, once.

    It ends with the call that has been made to its end without the handler.

    Args:
        call: What is interrupted.
        handler: What is called between two of its lines; what it raises comes out of that line.
        modules: The ends of the modules' paths: ``xenstore/names.py``.
    """
    for line in range(_MOST):
        tracer = _Tracer(handler, line, modules)
        yield lambda tracer=tracer: tracer.run(call)  # type: ignore[misc]  # mypy takes no default of a lambda
        if not tracer.done:
            return
    raise AssertionError(f"the call has more than {_MOST} lines")


class _Tracer:
    def __init__(self, handler: Callable[[], object], line: int, modules: tuple[str, ...]) -> None:
        self._handler, self._left, self._modules = handler, line, modules
        self.done = False

    def run(self, call: Callable[[], T]) -> T:
        return next(self._within(call))

    def _within(self, call: Callable[[], T]) -> Iterator[T]:
        # A generator has an exception state of its own. CPython may lose its place in that where a tracer raises at the
        # end of an `except`: every later exception of this thread would have the one that was handled as its context.
        before = sys.gettrace()
        sys.settrace(self._trace)
        try:
            found = call()
        finally:
            sys.settrace(before)
        yield found

    def _trace(self, frame: FrameType, event: str, _: Any) -> Any:
        if self.done or not frame.f_code.co_filename.endswith(self._modules):
            return None if self.done else self._ignore
        if event == "line":
            if self._left == 0:
                self.done = True
                sys.settrace(None)
                self._handler()
                return None
            self._left -= 1
        return self._trace

    def _ignore(self, _frame: FrameType, _event: str, _: Any) -> None:
        return None
