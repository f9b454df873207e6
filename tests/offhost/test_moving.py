"""Saving, restoring and migrating: the streams are libxl's and libxenguest's own, with a guest's frames in them."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import pyxen
from pyxen import Domain, DomainConfig, RemusOptions
from pyxen.errors import (
    DomainExists,
    Error,
    FileMissing,
    InvalidState,
    MigrationFailed,
    OperationCancelled,
    OperationFailed,
    OperationTimeout,
)
from pyxen.records.info import DomainState, ShutdownReason
from tests.offhost import moves
from tests.offhost.host import OffHost, until
from tests.offhost.internals import expect_other_workers, refuse_replace, replace_let_go_on
from tests.offhost.world import PAGE

Configure = Callable[..., DomainConfig]

FRAME = 0x2000  # of a guest's memory; neither its kernel nor its page tables are there
MARK = b"what a guest has in mind"


@pytest.fixture
def guest(offhost: OffHost, host: pyxen.Host, config: Configure) -> Domain:
    """A guest that suspends when it is asked to, with something in its memory."""
    web = host.create(config(memory=64))
    with offhost.world.frame(web.domid, FRAME) as frame:
        frame[: len(MARK)] = MARK
    offhost.guest(web.domid).obey()
    return web


def remembers(offhost: OffHost, domain: Domain) -> bool:
    """Tell whether a guest still has in memory what it had."""
    with offhost.world.frame(domain.domid, FRAME) as frame:
        return frame[:PAGE] == MARK.ljust(PAGE, b"\0")


@pytest.fixture
def saved(offhost: OffHost, guest: Domain, tmp_path: Path) -> Path:
    """A saved guest; nothing of it is left on the host."""
    guest.save(tmp_path / "web", timeout=20)
    assert offhost.left() == []
    return tmp_path / "web"


def test_saved_and_restored(offhost: OffHost, host: pyxen.Host, guest: Domain, saved: Path) -> None:
    again = host.restore(saved, timeout=20)
    assert (again.info().name, again.uuid) == ("web", guest.uuid)
    assert again.info().state is DomainState.BLOCKED
    assert remembers(offhost, again)
    with pytest.raises(DomainExists):
        host.restore(saved, timeout=20)
    again.destroy()
    assert offhost.left() == []


def test_restored_though_the_worker_is_of_another_pyxen(
    offhost: OffHost, host: pyxen.Host, saved: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has read nothing of the stream, which libxl would crash on in this process if its beginning were gone."""
    expect_other_workers(monkeypatch)
    again = host.restore(saved, timeout=20)
    assert remembers(offhost, again)
    again.destroy()
    assert offhost.left() == []


def test_saved_twice_it_is_the_same(offhost: OffHost, host: pyxen.Host, saved: Path, tmp_path: Path) -> None:
    again = host.restore(saved, timeout=20)
    offhost.guest(again.domid).obey()
    again.save(tmp_path / "again", timeout=20)
    assert remembers(offhost, host.restore(tmp_path / "again", timeout=20))


def test_suspended_and_resumed(offhost: OffHost, guest: Domain) -> None:
    guest.suspend(timeout=10)
    assert guest.info().state is DomainState.SHUTDOWN
    guest.resume()
    assert guest.info().shutdown_reason is None
    assert remembers(offhost, guest)


@pytest.mark.parametrize("part", [0.02, 0.3, 0.9, 0.999])
def test_a_file_that_ends_early(offhost: OffHost, host: pyxen.Host, saved: Path, part: float) -> None:
    data = saved.read_bytes()
    saved.write_bytes(data[: int(len(data) * part)])
    with pytest.raises(Error):
        host.restore(saved, timeout=20)
    assert offhost.left() == []


def test_a_stream_with_rubbish_in_the_middle(offhost: OffHost, host: pyxen.Host, saved: Path) -> None:
    data = bytearray(saved.read_bytes())
    at = data.index(b"LibxlFmt") + 16
    data[at : at + 8] = struct.pack("<II", 0x7FFFFFFF, 0x7FFFFFFF)
    saved.write_bytes(data)
    with pytest.raises(Error):
        host.restore(saved, timeout=20)
    assert offhost.left() == []


def test_whatever_a_stream_does_to_libxl_happens_elsewhere(
    offhost: OffHost, host: pyxen.Host, saved: Path, config: Configure
) -> None:
    """The process that libxl reads a stream in dies: that restore fails, nothing is left, and all else goes on."""
    error: BaseException | None = None
    while error is None:
        mark = offhost.world.mark()
        begun = host.begin.restore(saved, timeout=30)
        reader = _maker(offhost, mark)
        assert reader != os.getpid()
        offhost.signal_xenstored(signal.SIGSTOP)  # so that it stays in the middle of it
        with contextlib.suppress(ProcessLookupError):
            os.kill(reader, signal.SIGKILL)
        offhost.signal_xenstored(signal.SIGCONT)
        error = begun.exception(30)
        if error is None:
            begun.result(0).destroy()  # it was too fast
    assert isinstance(error, OperationFailed)
    assert f"the worker process {reader} ended in the middle of it" in str(error)
    assert offhost.left() == []
    host.restore(saved, timeout=20).destroy()
    host.create(config()).destroy()


def _caller(offhost: OffHost, mark: int, name: str) -> int:
    """Wait until a call has been made since then, and return the pid of the process that made it."""
    callers: list[int] = []

    def made() -> bool:
        callers[:] = [call.pid for call in offhost.world.calls_since(mark) if call.name == name]
        return bool(callers)

    until(made, f"there is no {name}")
    return callers[0]


def _maker(offhost: OffHost, mark: int) -> int:
    """Wait until a domain has been made since then, and return the pid of the process that made it."""
    return _caller(offhost, mark, "domctl.createdomain")


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("call", ["domctl.createdomain", "domctl.sethvmcontext"])
def test_xenstored_hangs_during_a_restore(offhost: OffHost, host: pyxen.Host, saved: Path, call: str) -> None:
    """The restore ends soon after its deadline, and says what is left: that can be destroyed when xenstored goes on."""
    error: BaseException | None = None
    while error is None:
        mark = offhost.world.mark()
        begun = host.begin.restore(saved, paused=True, timeout=1)
        _caller(offhost, mark, call)
        offhost.signal_xenstored(signal.SIGSTOP)
        try:
            error = begun.exception(60)
        finally:
            offhost.signal_xenstored(signal.SIGCONT)
        if error is None:
            begun.result(0).destroy()  # it was too fast
    assert isinstance(error, OperationTimeout)
    assert "did not answer, as when xenstored hangs, and was killed" in str(error)
    assert f"domain {error.domid} may be left: destroy it later" in str(error)
    [web] = [domain for domain in host.domains if domain.domid == error.domid]
    web.destroy(timeout=20)
    assert offhost.left() == []
    host.restore(saved, timeout=20).destroy()


def let_nobody_go_on(*_: object, **__: object) -> Iterator[None]:
    yield from ()  # it is a script
    raise OperationFailed("it is stuck")


def test_a_backup_is_called_off_whatever_has_become_of_its_source(
    host: pyxen.Host, guest: Domain, monkeypatch: pytest.MonkeyPatch
) -> None:
    replace_let_go_on(monkeypatch, let_nobody_go_on)
    here, there = socket.socketpair()
    with there:
        arriving = host.begin.receive_migration(there.fileno(), there.fileno(), remus=True)
    with here:
        begun = guest.begin.remus_over(here.fileno(), here.fileno(), moves.OPTIONS)
    until(lambda: begun.progress is not None, "there is no checkpoint")
    begun.cancel()
    with pytest.raises(OperationFailed, match="it is stuck"):
        begun.result(20)
    with pytest.raises(MigrationFailed, match="the source has called the backup off"):
        arriving.result(20)
    assert [info.domid for info in host.list()] == [0, guest.domid]


@pytest.mark.usefixtures("offhost")
def test_a_backup_has_the_script_of_xl_conf(config: Configure, tmp_path: Path) -> None:
    script = tmp_path / "setup"
    with pyxen.connect(xl_conf=pyxen.XlConf(remus_netbufscript=str(script))) as host:
        web = host.create(config())
        with pytest.raises(FileMissing) as caught:
            web.remus(["false"])
        assert caught.value.filename == str(script)
        with pytest.raises(FileMissing, match="/own"):
            web.remus(["false"], RemusOptions(netbufscript="/own"))
        web.destroy()


def test_who_restores_is_killed(offhost: OffHost, saved: Path) -> None:
    """The worker ends what it was doing, and then destroys the domain that nobody knows of."""
    mark = offhost.world.mark()
    child = os.fork()
    if child == 0:
        with pyxen.connect("xenlight:///") as host:
            host.begin.restore(saved)
            _maker(offhost, mark)
            offhost.signal_xenstored(signal.SIGSTOP)  # so that the worker stays in the middle of it
            os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(child, 0)
    offhost.signal_xenstored(signal.SIGCONT)
    until(lambda: offhost.left() == [], "the domain stays")


def test_without_workers(offhost: OffHost, saved: Path) -> None:
    mark = offhost.world.mark()
    with pyxen.connect("xenlight:///", workers=0) as host:
        again = host.restore(saved, timeout=20)
        assert _maker(offhost, mark) == os.getpid()
        assert remembers(offhost, again)
        again.destroy()
    assert offhost.left() == []


class Receiving(threading.Thread):
    """The end of a migration that receives, on a thread."""

    def __init__(self, host: pyxen.Host, end: socket.socket) -> None:
        super().__init__(daemon=True)
        self._host, self._end = host, end
        self.domain: Domain | None = None
        self.error: Error | None = None
        self.start()

    def run(self) -> None:
        with self._end:
            try:
                self.domain = self._host.receive_migration(self._end.fileno(), self._end.fileno())
            except Error as error:
                self.error = error


def test_migrated_to_itself(offhost: OffHost, host: pyxen.Host, guest: Domain) -> None:
    here, there = socket.socketpair()
    receiver = Receiving(host, there)
    with here:
        guest.migrate_over(here.fileno(), here.fileno(), timeout=20)
    receiver.join(20)
    assert receiver.error is None
    arrived = receiver.domain
    assert arrived is not None
    assert (arrived.uuid, arrived.info().name) == (guest.uuid, "web")
    assert arrived.domid != guest.domid
    assert remembers(offhost, arrived)
    assert [info.domid for info in host.list()] == [0, arrived.domid]


def test_migrated_with_another_configuration(offhost: OffHost, host: pyxen.Host, guest: Domain) -> None:
    other = guest.config().replace(uuid=None, on_crash="preserve")
    here, there = socket.socketpair()
    receiver = Receiving(host, there)
    with here:
        with pytest.raises(pyxen.ValidationError):
            guest.migrate_over(here.fileno(), here.fileno(), config=other.replace(vcpus=4, maxvcpus=2))
        guest.migrate_over(here.fileno(), here.fileno(), config=other, timeout=20)
    receiver.join(20)
    arrived = receiver.domain
    assert arrived is not None
    assert (arrived.uuid, arrived.info().name) == (guest.uuid, "web")
    assert arrived.config().on_crash == "preserve"
    assert remembers(offhost, arrived)


@pytest.mark.parametrize("is_begun", [False, True], ids=["before the thread begins", "when it has begun"])
def test_ctrl_c_at_the_start_of_a_conversation(
    offhost: OffHost, host: pyxen.Host, monkeypatch: pytest.MonkeyPatch, *, is_begun: bool
) -> None:
    """Its descriptors are closed once, by the operation if that has begun: else another thread may have the numbers."""
    # Importing it loads the extension, which must be that of the release.
    from pyxen.backends.xenlight.migration.peer_channel import PeerChannel

    begins, closes, closers = threading.Thread.start, PeerChannel.close, list[str]()

    def start(thread: threading.Thread) -> None:
        if thread.name != "pyxen-receive_migration" or is_begun:
            begins(thread)
        if thread.name == "pyxen-receive_migration":
            raise KeyboardInterrupt

    def close(channel: PeerChannel) -> None:
        closers.append(threading.current_thread().name)
        closes(channel)

    host.list()
    before = set(os.listdir("/proc/self/fd"))
    here, there = socket.socketpair()
    with here, there, monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", start)
        patch.setattr(PeerChannel, "close", close)
        with pytest.raises(KeyboardInterrupt):
            host.receive_migration(there.fileno(), there.fileno())
    own = "pyxen-receive_migration" if is_begun else threading.current_thread().name
    assert set(closers) == {own}
    until(lambda: set(os.listdir("/proc/self/fd")) <= before, "the descriptors are closed")
    assert offhost.left() == []


def test_a_sender_that_hangs_up(offhost: OffHost, host: pyxen.Host, saved: Path) -> None:
    here, there = socket.socketpair()
    receiver = Receiving(host, there)
    with here:
        here.sendall(saved.read_bytes()[:5000])
    receiver.join(20)
    assert isinstance(receiver.error, Error)
    assert offhost.left() == []


def test_the_caller_may_refuse_what_is_in_a_file(offhost: OffHost, host: pyxen.Host, saved: Path) -> None:
    seen: list[str | None] = []

    def refuse(config: pyxen.DomainConfig) -> bool:
        seen.append(config.name)
        return False

    before = offhost.left()
    with pytest.raises(pyxen.InvalidArgument, match="allow refused"):
        host.restore(saved, allow=refuse)
    with pytest.raises(ZeroDivisionError):
        host.restore(saved, allow=lambda _: bool(1 // 0))

    async def never(_: object) -> bool:
        raise AssertionError

    wrong: list[Any] = [never, lambda _: never(None)]
    for undecided in wrong:
        with pytest.raises(pyxen.InvalidArgument, match="plain function as allow"):
            host.restore(saved, allow=undecided)
    assert len(seen) == 1
    assert offhost.left() == before
    host.restore(saved, allow=lambda config: config.name == seen[0]).destroy()


def drained(domain: Domain) -> bytes:
    """Save a domain to a pipe, and return what came out of it."""
    read, write = os.pipe()
    with open(read, "rb") as source:
        saving = domain.begin.save(write, timeout=20)
        os.close(write)
        data = source.read()
    saving.result(20)
    return data


def test_saved_to_a_pipe_and_restored_from_a_socket(offhost: OffHost, host: pyxen.Host, guest: Domain) -> None:
    fds = os.listdir("/proc/self/fd")
    data = drained(guest)
    assert offhost.left() == []
    here, there = socket.socketpair()
    sending = threading.Thread(target=here.sendall, args=[data], daemon=True)
    sending.start()
    with here, there:
        again = host.restore(there, paused=True, timeout=20)
        sending.join(20)
    assert remembers(offhost, again)
    assert (again.uuid, again.info().state) == (guest.uuid, DomainState.PAUSED)
    assert {*os.listdir("/proc/self/fd")} <= {*fds}  # what others close late may have been open before
    again.destroy()
    assert offhost.left() == []


def test_only_one_operation_suspends_a_guest(offhost: OffHost, host: pyxen.Host, guest: Domain, tmp_path: Path) -> None:
    """The second would resume the guest under the first when it ends: the first would save what changes."""
    here, there = socket.socketpair()
    saving = guest.begin.save(there, checkpoint=True, timeout=60)
    there.close()
    with pytest.raises(InvalidState, match="a save that this process has begun"):
        guest.save(tmp_path / "second", checkpoint=True, timeout=20)  # also before the guest has suspended
    until(lambda: guest.info().shutdown_reason is ShutdownReason.SUSPEND, "the guest does not suspend")
    with here, (tmp_path / "first").open("wb") as first, pyxen.connect("xenlight:///") as other:
        fd = here.fileno()
        acts: tuple[Callable[[Domain], object], ...] = (
            lambda domain: domain.begin.save(tmp_path / "second", checkpoint=True, timeout=1),
            lambda domain: domain.begin.save(fd),
            lambda domain: domain.begin.suspend(),
            lambda domain: domain.begin.migrate(["false"]),
            lambda domain: domain.begin.migrate_over(fd, fd),
            lambda domain: domain.begin.remus(["false"]),
            lambda domain: domain.begin.remus(None, RemusOptions(allow_unsafe=True)),
            lambda domain: domain.begin.remus_over(fd, fd),
            lambda domain: domain.begin.resume(),
        )
        for act in acts:
            for domain in (guest, other.domains[guest.domid]):
                with pytest.raises(InvalidState, match="a save that this process has begun"):
                    act(domain)
        assert guest.info().shutdown_reason is ShutdownReason.SUSPEND
        assert not saving.done()
        while data := here.recv(1 << 20):
            first.write(data)
    saving.result(20)
    assert guest.info().is_running
    guest.suspend(timeout=20)
    guest.resume()
    guest.destroy()
    assert [path.name for path in tmp_path.iterdir()] == ["first"]
    assert remembers(offhost, host.restore(tmp_path / "first", timeout=20))


def test_a_descriptor_has_what_a_file_has(host: pyxen.Host, guest: Domain, tmp_path: Path) -> None:
    with open(tmp_path / "over", "wb") as file:
        guest.save(file, checkpoint=True, timeout=20)
    guest.save(tmp_path / "web", timeout=20)
    assert (tmp_path / "over").stat().st_size == (tmp_path / "web").stat().st_size
    host.restore(tmp_path / "over", timeout=20).destroy()


@pytest.mark.parametrize("size", [0, 1, 5000])
def test_a_reader_that_hangs_up(offhost: OffHost, guest: Domain, size: int) -> None:
    here, there = socket.socketpair()
    with there:
        saving = guest.begin.save(there, timeout=20)
    with here:
        while size > 0:
            size -= len(here.recv(size))
    with pytest.raises(OperationFailed, match=r"cannot write .*: its reader is gone.*the domain goes on"):
        saving.result(20)
    assert guest.info().is_running
    assert remembers(offhost, guest)


@pytest.mark.parametrize("part", [0.0, 0.0001, 0.01, 0.5, 0.99])
def test_a_writer_that_hangs_up(offhost: OffHost, host: pyxen.Host, guest: Domain, part: float) -> None:
    data = drained(guest)
    here, there = socket.socketpair()
    with there:
        restoring = host.begin.restore(there, timeout=20)
    with here:
        here.sendall(data[: int(len(data) * part)])
    with pytest.raises((OperationFailed, pyxen.ParseError)):
        restoring.result(20)
    assert offhost.left() == []


def test_who_reads_is_slow(offhost: OffHost, guest: Domain) -> None:
    here, there = socket.socketpair()
    with here, there:
        saving = guest.begin.save(there)
        assert here.recv(1)  # it reads no more
        saving.cancel()
        with pytest.raises(OperationCancelled):
            saving.result(20)
    here, there = socket.socketpair()
    with here, there, pytest.raises(OperationTimeout):
        guest.save(there, timeout=0.5)
    assert guest.info().is_running
    assert remembers(offhost, guest)


@pytest.mark.parametrize("times", [1, 99])
def test_a_guest_goes_on_though_xenstored_did_not_answer(
    host: pyxen.Host, guest: Domain, monkeypatch: pytest.MonkeyPatch, times: int
) -> None:
    refuse_replace(monkeypatch, host, times)
    here, there = socket.socketpair()
    with here, there:
        saving = guest.begin.save(there)
        assert here.recv(1)  # it reads no more
        until(lambda: guest.info().shutdown_reason is ShutdownReason.SUSPEND, "the guest does not suspend")
        saving.cancel()
        error = saving.exception(60)
    if times == 1:  # perhaps another thread's query had failed
        assert isinstance(error, OperationCancelled)
        assert guest.info().is_running
    else:
        assert isinstance(error, OperationFailed)
        assert "may still be suspended" in str(error)
        monkeypatch.undo()
        guest.resume()


def test_a_domain_that_arrives_and_waits_for_its_console_is_cancelled_at_once(
    offhost: OffHost, host: pyxen.Host, saved: Path
) -> None:
    """Libxl waits ten seconds for xenconsoled, also where xenstored has refused what would tell xenconsoled."""
    sender = moves.Sender(saved.read_bytes())
    offhost.end_xenconsoled()
    arriving = host.begin.receive_migration(sender.end.fileno(), sender.end.fileno())
    until(lambda: offhost.world.domids() != [0], "libxl does not come to its domain")
    domid = max(offhost.world.domids())
    until(
        lambda: offhost.store.exists(f"/local/domain/0/backend/console/{domid}"), "libxl does not come to its console"
    )
    assert arriving.cancel()
    sender.close()
    assert isinstance(arriving.exception(60), OperationCancelled)
    assert not any("timed out" in line for line in arriving.log), arriving.log
    assert offhost.left() == []
