"""Child processes, identified by their pidfds: as soon as anyone has waited for one, its pid may be reused.

An application may wait for any child (``waitpid(-1)``), or ignore SIGCHLD. Then the exit status is lost.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import select
import signal
from collections.abc import Mapping, Sequence
from typing import Any, Final

__all__ = ["Child", "spawn"]

_TO_END: Final = 10.0  # seconds for a child to end
_SIGNALS: Final = sorted(set(signal.Signals) - {signal.SIGKILL, signal.SIGSTOP})


def spawn(
    command: Sequence[str],
    descriptors: Mapping[int, int],
    *,
    first: Sequence[tuple[Any, ...]] = (),
    environment: Mapping[str, str] | None = None,
) -> int:
    """Start a program in a session of its own, with no descriptors, signal handling or masks of the application's.

    Standard input, output and error are inherited unless they are given. In a session of its own, it does not get the
    Ctrl-C that is meant for the caller.

    Args:
        command: The program, which is looked for in ``PATH``, and its arguments.
        descriptors: The program's descriptors, each with the one of this process that it is a copy of.
        first: What else to do before with the program's descriptors, as for ``os.posix_spawn``.
        environment: Its environment; by default that of this process.

    Returns:
        Its pid.

    Raises:
        OSError: It cannot be started.
    """
    with contextlib.ExitStack() as stack:
        copies = {}  # above the program's own, so that none is overwritten before it is duplicated
        for fd, source in descriptors.items():
            copies[fd] = fcntl.fcntl(source, fcntl.F_DUPFD_CLOEXEC, max(2, *descriptors) + 1)
            stack.callback(os.close, copies[fd])
        return os.posix_spawnp(
            command[0],
            [*command],
            os.environ if environment is None else environment,
            file_actions=[
                *first,
                *((os.POSIX_SPAWN_DUP2, copy, fd) for fd, copy in copies.items()),
                *((os.POSIX_SPAWN_CLOSE, fd) for fd in _inheritable() if fd not in copies),
            ],
            setsid=True,
            setsigmask=[],
            setsigdef=_SIGNALS,  # signals ignored here would be ignored in its children, too
        )


def _inheritable() -> list[int]:
    """Return the descriptors that the application lets its children inherit, e.g. a listening socket."""
    found = []
    for name in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError):  # it belonged to listdir, or another thread has closed it
            if int(name) > 2 and os.get_inheritable(int(name)):
                found.append(int(name))
    return found


class Child:
    """A child of this process.

    Args:
        pid: The pid of a child that was just started.
    """

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self._fd: int | None = None
        self._over = False  # it is not waited for any more: its number may be that of another child
        with contextlib.suppress(OSError):  # it is gone already, or the kernel (before 5.3) has no pidfds
            self._fd = os.pidfd_open(pid)
        if self._fd is not None and not self._is_ours():
            self._close()

    def fileno(self) -> int:
        """Return the pidfd, which is ready once the child has ended; -1 if there is none."""
        return -1 if self._fd is None else self._fd

    def end(self, *, with_children: bool = False) -> None:
        """Wait for the child to end; kill it if it does not end in time.

        Args:
            with_children: If the child was killed, kill its children, too. It must lead its own session.
        """
        if self._over:
            return
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

    def ended(self, timeout: float) -> bool:
        """Tell whether the child has ended, or ends within so many seconds; without a pidfd, whether it has ended."""
        if self._fd is not None:
            return self._ended(timeout)
        try:
            return self._over or os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
        except ChildProcessError:
            return True

    def status(self) -> int | None:
        """Wait for the child to end, and return its status, negative for a signal; None if someone else has had it."""
        if self._over:
            return None
        status = None
        with contextlib.suppress(ChildProcessError):  # someone else has waited for it
            if self._fd is None:
                status = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
            elif (found := os.waitid(os.P_PIDFD, self._fd, os.WEXITED)) is not None:
                status = found.si_status if found.si_code == os.CLD_EXITED else -found.si_status
        self._close()
        return status

    def kill(self, number: signal.Signals = signal.SIGKILL, *, with_children: bool = False) -> None:
        """Send the child a signal, without waiting for its end. Without a pidfd this does nothing, as in `end`.

        Args:
            number: The signal.
            with_children: Send it to the child's process group. It must lead its own session.
        """
        if self._fd is None:
            return
        with contextlib.suppress(ProcessLookupError):
            if with_children and self._is_ours():  # its pid is not reused until it is waited for
                os.killpg(self.pid, number)
            else:
                signal.pidfd_send_signal(self._fd, number)

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

    def _ended(self, timeout: float | None = None) -> bool:
        poller = select.poll()
        poller.register(self._fd or 0, select.POLLIN)
        return bool(poller.poll((_TO_END if timeout is None else timeout) * 1000))

    def _kill_group_of_killed(self, fd: int) -> None:
        """Kill the child's process group if the child was killed. Its pid is not reused until it is waited for."""
        ended = os.waitid(os.P_PIDFD, fd, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        if ended is not None and ended.si_code != os.CLD_EXITED:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.pid, signal.SIGKILL)

    def _end_by_number(self) -> None:
        """Reap it by pid if it has ended, and kill nothing: the pid may have been reused."""
        with contextlib.suppress(ChildProcessError):
            self._over = os.waitpid(self.pid, os.WNOHANG)[0] == self.pid

    def _close(self) -> None:
        self._over = True
        fd, self._fd = self._fd, None  # forgotten first: Ctrl-C may come after the close
        if fd is not None:
            os.close(fd)
