"""A child process, identified by its pidfd: as soon as anyone has waited for it, its pid may be reused.

An application may wait for any child (``waitpid(-1)``), or ignore SIGCHLD. Then the exit status is lost.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal

__all__ = ["Child"]

_TO_END = 10.0  # seconds for a child to end


class Child:
    """A child of this process.

    Args:
        pid: The pid of a child that was just started.
    """

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self._fd: int | None = None
        with contextlib.suppress(OSError):  # it is gone already, or the kernel (before 5.3) has no pidfds
            self._fd = os.pidfd_open(pid)
        if self._fd is not None and not self._is_ours():
            self._close()

    def end(self, *, with_children: bool = False) -> None:
        """Wait for the child to end; kill it if it does not end in time.

        Args:
            with_children: If the child was killed, kill its children, too. It must lead its own session.
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

    def kill(self) -> None:
        """Kill the child, without waiting for its end. Without a pidfd this does nothing, as in `end`."""
        if self._fd is not None:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._fd, signal.SIGKILL)

    def cpu_time(self) -> int:
        """Return the nanoseconds of CPU time that the child's main thread has used; 0 if that cannot be told."""
        try:
            with open(f"/proc/{self.pid}/schedstat") as stat:
                return int(stat.read().split()[0])
        except (OSError, ValueError, IndexError):
            return 0

    def forked(self) -> None:
        """Release it in the child of a fork."""
        self._close()

    def _is_ours(self) -> bool:
        """Tell whether the pidfd refers to our child, and not to a process that reused its pid meanwhile."""
        try:
            os.waitid(os.P_PIDFD, self._fd or 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        except ChildProcessError:
            return False
        return True

    def _ended(self) -> bool:
        poller = select.poll()
        poller.register(self._fd or 0, select.POLLIN)
        return bool(poller.poll(_TO_END * 1000))

    def _kill_group_of_killed(self, fd: int) -> None:
        """Kill the child's process group if the child was killed. Its pid is not reused until it is waited for."""
        ended = os.waitid(os.P_PIDFD, fd, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        if ended is not None and ended.si_code != os.CLD_EXITED:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.pid, signal.SIGKILL)

    def _end_by_number(self) -> None:
        """Reap it by pid if it has ended, and kill nothing: the pid may have been reused."""
        with contextlib.suppress(ChildProcessError):
            os.waitpid(self.pid, os.WNOHANG)

    def _close(self) -> None:
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None
