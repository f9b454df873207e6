"""A shortage of descriptors and threads: one request of pyxen's for them fails."""

from __future__ import annotations

import _thread
import contextlib
import errno
import os
import socket
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import pytest

import pyxen

__all__ = ["Scarce", "check_each_shortage", "scarce"]

_BOUND: Final = 60.0
"""Seconds in which a call must have ended, on a busy machine."""

_TO_GO: Final = 20.0
"""Seconds in which what is closed later has gone."""

_SOURCE: Final = str(Path(pyxen.__file__).parent)
_DEEP: Final = 5
"""How many frames of Python's own, such as those of a pool, may be between pyxen and what it asks for."""

_PLACES: Final = (
    *((os, name) for name in ("eventfd", "pipe", "pipe2", "dup")),
    (socket, "socketpair"),
    (_thread, "start_new_thread"),
    (threading.Thread, "start"),
)


class Scarce:
    """Counts what pyxen asks for, and refuses one of these requests, or all from then on.

    Attributes:
        nth: Which one is refused; 0 refuses none.
        whole: Whether those after it are refused, too.
        count: How many there were.
        what: The one that was refused.
    """

    def __init__(self) -> None:
        self.nth = self.count = 0
        self.whole = False
        self.what = ""
        self._lock = threading.Lock()

    def check(self, name: str) -> None:
        """Raise what the system would."""
        place = _caller()
        if place is None:
            return
        with self._lock:
            self.count += 1
            if not self.nth or self.count < self.nth or (self.count > self.nth and not self.whole):
                return
            self.what = f"{name} at {place}"
        if name.startswith("start"):
            message = "can't start new thread"
            raise RuntimeError(message)
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))


def _caller() -> str | None:
    frame = sys._getframe(3)
    for _ in range(_DEEP):
        if frame.f_code.co_filename.startswith(_SOURCE):
            return f"{frame.f_code.co_filename.removeprefix(_SOURCE)}:{frame.f_lineno}"
        if frame.f_back is None or "/tests/" in frame.f_code.co_filename:
            return None
        frame = frame.f_back
    return None


@contextlib.contextmanager
def scarce() -> Iterator[Scarce]:
    """Count and refuse what pyxen asks for in this process."""
    found = Scarce()

    def wrapped(function: Callable[..., Any], name: str) -> Callable[..., Any]:
        def ask(*args: Any, **kwargs: Any) -> Any:
            found.check(name)
            return function(*args, **kwargs)

        return ask

    made = socket.socket.__init__

    def init(self: socket.socket, family: int = -1, type: int = -1, proto: int = -1, fileno: int | None = None) -> None:  # noqa: A002
        if fileno is None:
            found.check("socket")
        made(self, family, type, proto, fileno)

    with pytest.MonkeyPatch.context() as patch:
        for place, name in _PLACES:
            patch.setattr(place, name, wrapped(getattr(place, name), name))
        patch.setattr(socket.socket, "__init__", init)
        yield found


def check_each_shortage(act: Callable[[], object], afterwards: Callable[[], object] = lambda: None) -> int:
    """Make a call again and again; each time another request for a descriptor or a thread fails.

    The call ends, with a result or with pyxen's error. Then nothing is left of it.

    Args:
        act: The call. What it opens, it closes.
        afterwards: Looks whether all is well after each.

    Returns:
        How many requests it makes.
    """
    assert _outcome(act, 0) is None
    with scarce() as counted:
        assert _outcome(act, 0) is None
    before = _there()
    for whole in (False, True):
        for nth in range(1, counted.count + 1):
            with scarce() as found:
                found.whole = whole
                error = _outcome(act, nth, found)
            case = f"request {nth}, {found.what}, {'and all others' if whole else 'alone'}: {error!r}"
            assert error is None or _is_ours(error), case
            _until_as(before, case)
            afterwards()
    return counted.count


def _is_ours(error: BaseException) -> bool:
    if isinstance(error, BaseExceptionGroup):
        return all(_is_ours(each) for each in error.exceptions)
    return isinstance(error, pyxen.Error)


def _outcome(act: Callable[[], object], nth: int, found: Scarce | None = None) -> BaseException | None:
    outcomes: list[BaseException | None] = []

    def run() -> None:
        if found is not None:
            found.nth = nth
        try:
            act()
        except BaseException as error:  # noqa: BLE001 (that is what is looked at)
            outcomes.append(error)
        else:
            outcomes.append(None)

    thread = threading.Thread(target=run, name="acting", daemon=True)
    thread.start()
    thread.join(_BOUND)
    if outcomes:
        return outcomes[0]
    frame = sys._current_frames().get(thread.ident or 0)
    what = "" if found is None else found.what
    raise TimeoutError(f"request {nth}, {what}: it does not end:\n" + "".join(traceback.format_stack(frame)))


def _there() -> tuple[int, list[str]]:
    threads = sorted(thread.name for thread in threading.enumerate() if thread.name.startswith("pyxen"))
    return len(os.listdir("/proc/self/fd")), threads


def _until_as(before: tuple[int, list[str]], case: str) -> None:
    end = time.monotonic() + _TO_GO
    while (now := _there())[0] > before[0] or len(now[1]) > len(before[1]):
        assert time.monotonic() < end, f"{case}: before {before}, now {now}: {_open()}"
        time.sleep(0.01)


def _open() -> list[str]:
    found = []
    for name in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError):
            found.append(os.readlink(f"/proc/self/fd/{name}"))
    return found
