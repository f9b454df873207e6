"""What the child of a fork keeps of its parent's connections to xenstored: nothing, however either ends."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Callable, Iterator

import pytest

import pyxen
from tests.offhost.host import OffHost, until


def connections(offhost: OffHost) -> int:
    """Return how many connections xenstored has; those of processes that end meanwhile go away later."""
    assert offhost._xenstored is not None
    for _ in range(2):  # so that it has seen what ended before
        offhost.store.read("/local/domain/0/name")
    folder = f"/proc/{offhost._xenstored.pid}/fd"
    found = 0
    for fd in os.listdir(folder):
        with contextlib.suppress(FileNotFoundError):
            found += os.readlink(f"{folder}/{fd}").startswith("socket:")
    return found


@contextlib.contextmanager
def child(prepare: Callable[[], object] = lambda: None) -> Iterator[int]:
    """Fork a child that does something, and then nothing until it is killed."""
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:  # it never comes back to pytest
        os.close(read)
        prepare()
        os.write(write, b"x")
        while True:
            signal.pause()
    os.close(write)
    try:
        with os.fdopen(read, "rb", buffering=0) as pipe:
            assert pipe.read(1) == b"x"
        yield pid
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


def use_all(stack: contextlib.ExitStack) -> pyxen.Host:
    """Open a host, and use each of its connections to xenstored."""
    host = stack.enter_context(pyxen.connect("xenlight:///", workers=0))
    stack.enter_context(host.events())
    stack.enter_context(host.xenstore.watch("/tool"))
    host.list()
    host.xenstore.read("/local/domain/0/name")
    return host


def test_the_parent_closes_its_host(offhost: OffHost) -> None:
    before = connections(offhost)
    with contextlib.ExitStack() as stack:
        opened = stack.enter_context(contextlib.ExitStack())
        use_all(opened)
        assert connections(offhost) == before + 5  # queries, libxl's, a reader's, the user's, and of a watch
        stack.enter_context(child())
        opened.close()
        until(lambda: connections(offhost) == before, "all connections are closed")


def test_the_parent_closes_its_host_and_the_child_was_forked_behind_pythons_back(offhost: OffHost) -> None:
    """As by a library in C: its child keeps all descriptors."""
    before = connections(offhost)
    with contextlib.ExitStack() as opened:
        use_all(opened)
        with contextlib.ExitStack() as copies:
            for fd in [int(name) for name in os.listdir("/proc/self/fd")]:
                with contextlib.suppress(OSError):  # that of the list itself
                    copies.callback(os.close, os.dup(fd))
            opened.close()
            until(lambda: connections(offhost) == before, "all connections are closed")


def test_a_reader_ends_in_the_parent(offhost: OffHost, host: pyxen.Host) -> None:
    before = connections(offhost)
    with host.events(), host.xenstore.watch("/tool"):
        assert connections(offhost) == before + 2
        forked = contextlib.ExitStack()
        forked.enter_context(child())
    with forked:
        until(lambda: connections(offhost) == before, "the readers' connections are closed")


def test_the_parent_is_killed(offhost: OffHost) -> None:
    before = connections(offhost)
    read, write = os.pipe()
    kept = contextlib.ExitStack()

    def open_and_fork() -> None:
        host = use_all(kept)
        grandchild = os.fork()
        if grandchild == 0:
            host.close()
            while True:
                signal.pause()
        os.write(write, f"{grandchild}\n".encode())

    with child(open_and_fork):
        grandchild = int(os.read(read, 20))
        assert connections(offhost) > before
    try:
        until(lambda: connections(offhost) == before, "all connections are closed")
        os.kill(grandchild, 0)  # it is still there
    finally:
        os.kill(grandchild, signal.SIGKILL)
        os.close(read)
        os.close(write)


def test_libxl_is_opened_again_in_the_parent(offhost: OffHost, config: Callable[..., pyxen.DomainConfig]) -> None:
    before = connections(offhost)
    with contextlib.ExitStack() as opened:
        host = use_all(opened)
        with child():
            offhost.restart_xenstored()
            host.create(config()).destroy()
            host.list()
            opened.close()
            until(lambda: connections(offhost) <= before, "all connections are closed")


def test_a_number_that_libxl_has_kept_meets_no_other_file(host: pyxen.Host) -> None:
    """The descriptor is another file's in the child, but no number becomes free for a file that is opened later."""
    line = host._backend._context._lifeline  # type: ignore[attr-defined]  # it knows which one is libxl's
    assert line._socket is not None
    inode = os.fstat(line._socket.fileno()).st_ino
    own = line._socket.fileno()
    [libxls] = [fd for fd in _descriptors() if fd != own and os.fstat(fd).st_ino == inode]
    read, write = os.pipe()
    with child(lambda: os.write(write, f"{os.readlink(f'/proc/self/fd/{libxls}')}\n".encode())):
        assert os.read(read, 100) == b"/dev/null\n"
    os.close(read)
    os.close(write)


def _descriptors() -> Iterator[int]:
    for name in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError):
            os.fstat(int(name))
            yield int(name)


@pytest.mark.parametrize("calls", [200])
def test_no_descriptor_is_left_by_queries_of_handlers(host: pyxen.Host, calls: int) -> None:
    host.list()
    before = len(os.listdir("/proc/self/fd"))
    hypervisor = host._backend._hypervisor  # type: ignore[attr-defined]  # what a handler interrupts
    with hypervisor._asking(), hypervisor._open():
        for _ in range(calls):
            host.list()
    assert len(os.listdir("/proc/self/fd")) == before
