"""A child process that is known by its pidfd: its number may be another's as soon as someone has waited for it.

An application may wait for any child (``waitpid(-1)``), or ignore SIGCHLD. Then nobody knows how a child ended.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal

__all__ = ["Child"]

_PATIENCE = 10.0  # seconds that a child has to end


class Child:
    """A child of this process.

    Args:
        pid: Its number; it was begun just now.
    """

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self._fd: int | None = None
        with contextlib.suppress(OSError):  # it is gone already, or this kernel (before 5.3) has none
            self._fd = os.pidfd_open(pid)
        if self._fd is not None and not self._is_ours():
            self._close()

    def end(self, *, with_children: bool = False) -> None:
        """Wait for its end; one that does not end in time is killed.

        Args:
            with_children: If it was killed, kill what it has begun, too. It must lead a session of its own.
        """
        if self._fd is None:
            self._end_by_number()
            return
        if not self._ended():
            signal.pidfd_send_signal(self._fd, signal.SIGKILL)
            self._ended()
        with contextlib.suppress(ChildProcessError):  # someone else has waited for it
            if with_children:
                self._kill_group_of_killed(self._fd)
            os.waitid(os.P_PIDFD, self._fd, os.WEXITED | os.WNOHANG)
        self._close()

    def forked(self) -> None:
        """Give it up in the child of a fork."""
        self._close()

    def _is_ours(self) -> bool:
        """Tell whether the pidfd is of a child of ours, and not of whoever got the number meanwhile."""
        try:
            os.waitid(os.P_PIDFD, self._fd or 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        except ChildProcessError:
            return False
        return True

    def _ended(self) -> bool:
        poller = select.poll()
        poller.register(self._fd or 0, select.POLLIN)
        return bool(poller.poll(_PATIENCE * 1000))

    def _kill_group_of_killed(self, fd: int) -> None:
        """Kill what it has begun if it was killed; until it is waited for, the number is still its own."""
        ended = os.waitid(os.P_PIDFD, fd, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        if ended is not None and ended.si_code != os.CLD_EXITED:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.pid, signal.SIGKILL)

    def _end_by_number(self) -> None:
        """Wait for it without a pidfd, and kill nothing: the number may be another's."""
        with contextlib.suppress(ChildProcessError):
            os.waitpid(self.pid, os.WNOHANG)

    def _close(self) -> None:
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None
