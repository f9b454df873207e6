"""``pyxen serve --socket`` and ``xenlight+unix://``: local programs without root."""

from __future__ import annotations

import asyncio
import grp
import os
import pwd
import signal
import socket
import stat
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any, Final

import pytest

import pyxen
import pyxen.aio
from pyxen import ConnectFailed, DomainConfig, InvalidArgument, NotPrivileged, OperationFailed, UnsupportedFeature
from pyxen.backends.remote import local
from pyxen.backends.remote.messages import GREETING, MOST_FRAME, PROTOCOL, FromServer, Hello, Refused, Welcome
from pyxen.connection import open_backend
from pyxen.serve import listener, server
from pyxen.serve.peers import Peer, peer_of, why_not
from pyxen.serve.policy import ALL, LOOKS, Policy
from pyxen.serve.settings import Settings
from pyxen.serve.sockets import made_socket, passed_socket
from tests.unit.remote.ends import SECONDS, Far, until
from tests.unit.remote.sockets import AtSocket, at_socket, program

CONFIG: Final = DomainConfig("web1", type="pvh", kernel="/boot/vmlinuz", memory=64)
HIDDEN: Final = "hidden"
STRANGER: Final = Peer(1, 65533, 65533, frozenset({65532}))


@pytest.fixture
def served(path: Path) -> Iterator[AtSocket]:
    with at_socket(path, f"memory:///{path.parent.name}") as found:
        yield found


def far_at(path: Path) -> Far:
    """Connect as a program that is no pyxen."""
    link = socket.socket(socket.AF_UNIX)
    link.connect(str(path))
    fd = link.detach()
    return Far(fd, fd, FromServer)


# As it is meant


def test_a_local_program(served: AtSocket) -> None:
    with pyxen.connect(served.uri) as host, pyxen.connect(served.uri) as other:
        assert host.uri == served.uri
        web1 = host.create(CONFIG)
        assert [info.name for info in other.list()] == ["Domain-0", "web1"]
        web1.destroy()
        assert len(served.listener) == 2
    until(lambda: len(served.listener) == 0)


async def awaited(uri: str) -> list[str | None]:
    async with pyxen.aio.connect(uri) as host:
        return [info.name for info in await host.list()]


def test_with_asyncio(served: AtSocket) -> None:
    assert asyncio.run(awaited(served.uri)) == ["Domain-0"]


def test_the_command_connects(served: AtSocket) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "pyxen", "--uri", served.uri, "list"],
        capture_output=True,
        text=True,
        timeout=180,
        check=True,
    )
    assert "Domain-0" in done.stdout


def test_many_at_once(served: AtSocket) -> None:
    """Each has a link of its own."""
    failures: list[BaseException] = []

    def work(number: int) -> None:
        try:
            with pyxen.connect(served.uri) as host:
                host.create(CONFIG.replace(name=f"web{number}", memory=8)).destroy()
        except BaseException as error:  # noqa: BLE001 (it fails the test)
            failures.append(error)

    threads = [threading.Thread(target=work, args=[number]) for number in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(SECONDS)
    assert not failures
    until(lambda: len(served.listener) == 0)


def test_who_goes_without_a_word(served: AtSocket) -> None:
    """What a program that ends without close had begun is undone."""
    script = f"""
import os, pyxen
from pyxen import DomainConfig
host = pyxen.connect({served.uri!r})
kept = host.create(DomainConfig("kept", type="pvh", kernel="/boot/vmlinuz", memory=8))
kept.begin.wait("shutdown")
os._exit(0)
"""
    subprocess.run([sys.executable, "-c", script], check=True, timeout=180)
    until(lambda: len(served.listener) == 0)
    with pyxen.connect(served.uri) as host:
        assert [info.name for info in host.list()] == ["Domain-0", "kept"]


# URIs


@pytest.mark.parametrize(
    ("uri", "path"),
    [
        ("xenlight+unix:///run/x.sock", "/run/x.sock"),
        ("xenlight+unix:///", "/run/pyxen/serve.sock"),
        ("xenlight+unix:///run/a%20b%3F", "/run/a b?"),
    ],
)
def test_the_path_in_a_uri(uri: str, path: str) -> None:
    assert local.path_of(uri) == path


@pytest.mark.parametrize("uri", ["xenlight+unix:///a%00b", f"xenlight+unix:///{'x' * 107}"])
def test_a_path_that_is_not_valid(uri: str) -> None:
    with pytest.raises(InvalidArgument, match="the path of a socket has at most 107 bytes"):
        pyxen.connect(uri)


@pytest.mark.parametrize(
    "uri", ["xenlight+unix://host/run/x", "xenlight+unix:///x?socket=/a", "xenlight+unix:x", "xenlight+unix:///x#y"]
)
def test_another_form(uri: str) -> None:
    with pytest.raises(UnsupportedFeature, match=r"write it as xenlight\+unix:///PATH"):
        pyxen.connect(uri)


def test_nobody_listens(path: Path) -> None:
    with pytest.raises(ConnectFailed, match="no pyxen listens there: start it with pyxen serve --socket"):
        pyxen.connect(f"xenlight+unix://{path}")


def test_what_listens_is_no_pyxen(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(path))
        other.listen()

        def play() -> None:
            link, _ = other.accept()
            with link:
                link.sendall(b"220 mail ready, at your service\n")

        thread = threading.Thread(target=play)
        thread.start()
        with pytest.raises(ConnectFailed, match="not from pyxen serve: '220 mail"):
            pyxen.connect(f"xenlight+unix://{path}")
        thread.join(SECONDS)


def test_too_many_wait_to_be_accepted(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local, "_TO_CONNECT", 0.2)
    with socket.socket(socket.AF_UNIX) as busy, socket.socket(socket.AF_UNIX) as first:
        busy.bind(str(path))
        busy.listen(0)
        first.connect(str(path))
        with pytest.raises(ConnectFailed, match="has not answered within"):
            pyxen.connect(f"xenlight+unix://{path}")


# Who may connect


def test_the_kernel_says_who_it_is() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        peer = peer_of(ours)
    assert peer[:3] == (os.getpid(), os.geteuid(), os.getegid())
    assert peer.groups == set(os.getgroups())


def test_who_may_connect() -> None:
    settings = Settings(group="xenusers", gid=65532)
    assert why_not(Peer(1, 0, 0, frozenset()), Settings()) is None
    assert why_not(Peer(1, os.geteuid(), 5, frozenset()), Settings()) is None
    assert why_not(STRANGER, settings) is None
    assert why_not(Peer(1, 65533, 65532, frozenset()), settings) is None
    assert "only root may, until /etc/pyxen/serve.toml names a group" in str(why_not(STRANGER, Settings()))
    other = Settings("/etc/pyxen/serve.toml", group="xenusers", gid=65531)
    assert "user 65533 is not in group xenusers" in str(why_not(STRANGER, other))


def test_a_stranger_is_told_group_and_file(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listener, "peer_of", lambda _: STRANGER)
    group = grp.getgrgid(os.getegid())
    settings = Settings("/etc/pyxen/own.toml", group=group.gr_name, gid=group.gr_gid)
    with at_socket(path, "memory:///", settings) as found:
        words = f"user 65533 is not in group {group.gr_name}.*see /etc/pyxen/own.toml"
        for _ in range(listener.MOST_CLIENTS + 1):  # who is refused takes no place
            with pytest.raises(NotPrivileged, match=words):
                pyxen.connect(found.uri)
        assert stat.S_IMODE(path.stat().st_mode) == 0o660
        assert path.stat().st_gid == group.gr_gid


def told(uri: str, groups: list[int]) -> str:
    """Return what a program of the user nobody gets when it connects; this needs root."""
    script = f"import sys, pyxen; sys.stderr = sys.stdout; print(len(pyxen.connect({uri!r}).list()))"
    nobody = pwd.getpwnam("nobody").pw_uid
    found = subprocess.run(
        [sys.executable, "-B", "-c", script],
        user=nobody,
        group=nobody,
        extra_groups=groups,
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )
    return found.stdout


def test_another_user_is_refused(folder: Path, path: Path, served: AtSocket) -> None:
    """As root, with a real process of another user; else, the file's mode says that root's are the only ones."""
    assert stat.S_IMODE(served.path.stat().st_mode) == 0o600
    if os.geteuid() == 0:
        folder.chmod(0o755)
        words = f"{path}: this user may not connect: only root may, see /etc/pyxen/serve.toml"
        assert f"NotPrivileged: {words}" in told(served.uri, [])
        path.chmod(0o666)
        words = "user nobody may not connect: only root may, until /etc/pyxen/serve.toml names a group"
        assert f"NotPrivileged: {words}" in told(served.uri, [])


def test_a_member_of_the_group(folder: Path, path: Path) -> None:
    """As root, with real processes; else, the file's mode says who may."""
    gid = 65531 if os.geteuid() == 0 else os.getegid()
    with at_socket(path, "memory:///", Settings(group="xenusers", gid=gid)) as found:
        assert (stat.S_IMODE(path.stat().st_mode), path.stat().st_gid) == (0o660, gid)
        if os.geteuid() == 0:
            folder.chmod(0o755)
            assert told(found.uri, [5, gid]) == "1\n"
            path.chmod(0o666)
            assert "user nobody is not in group xenusers" in told(found.uri, [5])


def test_only_the_verbs_of_the_file(path: Path) -> None:
    policy = Policy(LOOKS | {"create", "pause"}, passwords=False, source="/etc/pyxen/own.toml")
    with at_socket(path, "memory:///verbs", Settings(policy=policy)) as found, pyxen.connect(found.uri) as host:
        web1 = host.create(CONFIG.replace(type="hvm", vnc=pyxen.Vnc(enable=True, passwd=HIDDEN)))
        web1.pause()
        for refused in (web1.unpause, web1.destroy, web1.console, lambda: host.log(clear=True)):
            with pytest.raises(NotPrivileged, match=r"see /etc/pyxen/own\.toml"):
                refused()
        assert web1.config().vnc.passwd is None
        assert web1.info().state is pyxen.DomainState.PAUSED


def test_a_verb_that_is_refused_is_refused_there(path: Path) -> None:
    """The client's own check is a courtesy."""
    policy = Policy(frozenset({"list"}), passwords=False, source="/etc/pyxen/own.toml")
    with at_socket(path, "memory:///", Settings(policy=policy)) as found, pyxen.connect(found.uri) as host:
        client: Any = host._backend.client  # type: ignore[attr-defined]
        client.verbs = ALL.verbs
        with pytest.raises(NotPrivileged, match="info: this way to the host does not allow it, see /etc/pyxen/own"):
            host.info()
        assert len(host.list()) == 1


def test_read_only_says_which_file(path: Path) -> None:
    policy = Policy(LOOKS, passwords=False, source="/etc/pyxen/own.toml")
    settings = Settings(policy=policy)
    with (
        at_socket(path, "memory:///", settings) as found,
        pyxen.connect(found.uri) as host,
        pytest.raises(NotPrivileged, match=r"only looks, see /etc/pyxen/own\.toml"),
    ):
        host.create(CONFIG)


# Bounds


def test_the_number_of_clients_has_a_bound(served: AtSocket, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listener, "MOST_CLIENTS", 2)
    full = pytest.raises(ConnectFailed, match="2 clients are connected, and no more")
    with pyxen.connect(served.uri), pyxen.connect(served.uri), full:
        pyxen.connect(served.uri)
    until(lambda: len(served.listener) == 0)
    with pyxen.connect(served.uri) as again:
        assert again.list()


def test_no_user_takes_all_places(served: AtSocket, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listener, "MOST_OF_USER", 1)
    with pyxen.connect(served.uri):
        with pytest.raises(ConnectFailed, match="has 1 connections, and may have no more"):
            pyxen.connect(served.uri)
        monkeypatch.setattr("pyxen.serve.peers.os.geteuid", lambda: STRANGER.uid)
        monkeypatch.setattr(listener, "peer_of", lambda _: STRANGER)
        pyxen.connect(served.uri).close()


def test_a_client_that_says_nothing(served: AtSocket, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "_TO_GREET", 0.3)
    far = far_at(served.path)
    assert far.hear_first(len(GREETING)) == GREETING
    began = time.monotonic()
    assert far.hear() is None
    assert time.monotonic() - began < 25
    far.close()
    until(lambda: len(served.listener) == 0)


@pytest.mark.parametrize(
    "noise",
    [b"GET / HTTP/1.1\r\n\r\n", b"\xff" * 8, struct.pack(">I", MOST_FRAME), struct.pack(">I", 4097), b"\0" * 64],
)
def test_a_client_that_is_none(served: AtSocket, noise: bytes) -> None:
    far = far_at(served.path)
    assert far.hear_first(len(GREETING)) == GREETING
    far.write(noise)
    assert far.hear() is None
    far.close()
    until(lambda: len(served.listener) == 0)
    with pyxen.connect(served.uri) as host:
        assert host.list()


def test_a_host_that_cannot_be_opened(path: Path) -> None:
    with at_socket(path, "memory:///?cpus=0") as found, pytest.raises(InvalidArgument, match="cpus=0 is not valid"):
        pyxen.connect(found.uri)


def test_it_is_told_to_end_while_it_winds_up(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The descriptor that it is told by is closed in the end, and may be another file's then."""
    with made_socket(str(path), Settings()) as listening:
        serving = listener.Listener(listening, Settings(), partial(open_backend, "memory:///", 1))
    winding_up = threading.Thread(target=serving.wind_up)
    open_when_told: list[bool] = []

    def tell(fd: int, _: int) -> None:
        winding_up.start()
        winding_up.join(0.3)
        open_when_told.append(os.path.exists(f"/proc/self/fd/{fd}"))

    monkeypatch.setattr(os, "eventfd_write", tell)
    serving.end()
    winding_up.join(SECONDS)
    serving.end()
    assert open_when_told == [True]


def test_no_descriptors_are_left(path: Path) -> None:
    before = len(os.listdir("/proc/self/fd"))
    with at_socket(path, "memory:///") as found:
        for _ in range(10):
            pyxen.connect(found.uri).close()
            far_at(found.path).close()
    until(lambda: len(os.listdir("/proc/self/fd")) <= before)


# The socket itself


def test_a_stale_one_is_replaced(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    assert path.is_socket()
    with at_socket(path, "memory:///") as found, pyxen.connect(found.uri) as host:
        assert host.list()
    assert list(path.parent.iterdir()) == []


@pytest.mark.parametrize("locked", [True, False])
def test_a_live_one_is_refused(served: AtSocket, locked: bool) -> None:
    if not locked:  # it is not a pyxen's
        Path(f"{served.path}.lock").unlink()
    with pytest.raises(OperationFailed, match="another process listens at"), made_socket(str(served.path), Settings()):
        pass
    with pyxen.connect(served.uri) as host:
        assert host.list()


def test_what_is_no_socket_is_left_alone(path: Path) -> None:
    path.write_text("mine")
    with pytest.raises(InvalidArgument, match="is not a socket: remove it"), made_socket(str(path), Settings()):
        pass
    assert path.read_text() == "mine"
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("s", "begins with /"),
        (f"/tmp/{'x' * 107}", "at most 107 bytes"),
        ("/tmp/a\0b", "begins with /"),
        ("/nowhere/at/all/s", "No such file"),
    ],
)
def test_a_place_that_is_not_valid(path: str, words: str) -> None:
    with pytest.raises(OperationFailed, match=words), made_socket(path, Settings()):
        pass


def test_two_servers(folder: Path) -> None:
    """Each has its own host, clients and settings; at one place, the second is refused."""
    policy = Policy(LOOKS, passwords=False, source="/etc/pyxen/own.toml")
    with (
        at_socket(folder / "a", "memory:///two-a") as first,
        at_socket(folder / "b", "memory:///two-b", Settings(policy=policy)) as second,
        pyxen.connect(first.uri) as host,
        pyxen.connect(second.uri) as other,
    ):
        host.create(CONFIG)
        assert len(host.list()) == 2
        assert len(other.list()) == 1
        with pytest.raises(NotPrivileged):
            other.create(CONFIG)


# systemd


@pytest.mark.parametrize("environment", [{}, {"LISTEN_FDS": "1"}, {"LISTEN_FDS": "1", "LISTEN_PID": "1"}])
def test_a_socket_for_another_process(environment: dict[str, str]) -> None:
    assert passed_socket(environment) is None
    assert not environment


def test_two_are_passed() -> None:
    with pytest.raises(InvalidArgument, match="systemd passes 2 sockets"):
        passed_socket({"LISTEN_FDS": "2", "LISTEN_PID": str(os.getpid())})


ACTIVATED: Final = """
import os, sys
os.dup2(int(sys.argv[1]), 3)
os.set_inheritable(3, True)
os.environ.update(LISTEN_FDS="1", LISTEN_PID=str(os.getpid()), LISTEN_FDNAMES="pyxen-serve.socket")
os.execv(sys.executable, [sys.executable, "-m", "pyxen", "--uri", "memory:///demo", "serve", "--socket", *sys.argv[2:]])
"""


def activated(fd: int, *arguments: str) -> subprocess.Popen[str]:
    """Run the command as systemd does."""
    command = [sys.executable, "-c", ACTIVATED, str(fd), *arguments]
    return subprocess.Popen(command, pass_fds=[fd], stderr=subprocess.PIPE, text=True)


def test_systemd_activates_it(path: Path) -> None:
    """The client connects before the server runs. The socket is systemd's, and stays."""
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(path))
        listening.listen()
        far = far_at(path)
        with activated(listening.fileno()) as found:
            assert far.hear_first(len(GREETING)) == GREETING
            far.say(Hello(PROTOCOL, "0"))
            assert isinstance(far.hear(), Welcome)
            far.close()
            with pyxen.connect(f"xenlight+unix://{path}") as host:
                assert [info.name for info in host.list()] == ["Domain-0"]
            found.terminate()
            assert found.wait(SECONDS) == 0
        assert path.is_socket()
        assert not Path(f"{path}.lock").exists()


@pytest.mark.parametrize(
    ("kind", "arguments", "words"),
    [
        ("file", (), "systemd passes no socket"),
        ("tcp", (), "no listening socket of this machine"),
        ("connected", (), "no listening socket of this machine"),
        ("listening", ("/run/elsewhere",), "not at /run/elsewhere"),
    ],
)
def test_what_systemd_passes_is_of_no_use(path: Path, kind: str, arguments: tuple[str, ...], words: str) -> None:
    with socket.socket(socket.AF_INET if kind == "tcp" else socket.AF_UNIX) as given:
        if kind == "listening":
            given.bind(str(path))
            given.listen()
        elif kind == "tcp":
            given.bind(("127.0.0.1", 0))
            given.listen()
        fd = os.open(os.devnull, os.O_RDONLY) if kind == "file" else os.dup(given.fileno())
        with activated(fd, *arguments) as found:
            os.close(fd)
            _, said = found.communicate(timeout=180)
        assert found.returncode == 1
        assert words in said


# The command


def test_a_signal_ends_it_in_order(path: Path) -> None:
    """Clients lose their links, what they have going is undone, and nothing is left."""
    with program(str(path)) as found:
        with pyxen.connect(f"xenlight+unix://{path}") as host:
            waiting = host.create(CONFIG).begin.wait("shutdown")
            found.terminate()
            with pytest.raises(ConnectFailed, match=f"the connection to {path} is lost"):
                waiting.result(timeout=SECONDS)
        assert found.wait(SECONDS) == 0
    assert list(path.parent.iterdir()) == []


def test_it_is_killed(path: Path) -> None:
    """What it leaves is stale, and the next one begins."""
    with program(str(path)) as found:
        found.send_signal(signal.SIGKILL)
        found.wait(SECONDS)
    assert path.is_socket()
    with program(str(path)), pyxen.connect(f"xenlight+unix://{path}") as host:
        assert host.list()


def test_a_second_one_is_refused(path: Path) -> None:
    with program(str(path)), program(str(path)) as second:
        _, said = second.communicate(timeout=180)
        assert second.returncode == 1
        assert "another process listens at" in said
        with pyxen.connect(f"xenlight+unix://{path}") as host:
            assert host.list()


def test_its_file(folder: Path, path: Path) -> None:
    settings = folder / "serve.toml"
    settings.write_text('verbs = ["list", "find", "pause"]\n')
    with program(str(path), "--config", str(settings)), pyxen.connect(f"xenlight+unix://{path}") as host:
        assert host.list()
        with pytest.raises(NotPrivileged, match=f"info: this way to {path} does not allow it, see {settings}"):
            host.info()
    settings.write_text('verbs = "everything"\n')
    with program(str(folder / "other"), "--config", str(settings)) as failing:
        _, said = failing.communicate(timeout=180)
        assert failing.returncode == 1
        assert f"{settings}: verbs is" in said


def test_read_only_narrows_the_file(path: Path) -> None:
    refused = pytest.raises(NotPrivileged, match="only looks")
    with program(str(path), "--read-only"), pyxen.connect(f"xenlight+unix://{path}") as host, refused:
        host.create(CONFIG)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((), "say --stdio, as ssh does, or --socket"),
        (("--stdio", "--socket"), "say --stdio, as ssh does, or --socket"),
        (("--stdio", "/run/x"), "/run/x is for --socket"),
        (("--stdio", "--config", "x"), "--config is for --socket"),
    ],
)
def test_the_command_needs_to_be_told_how(arguments: tuple[str, ...], words: str) -> None:
    command = [sys.executable, "-m", "pyxen", "serve", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=180, check=False)
    assert done.returncode == 1
    assert words in done.stderr


def test_a_refusal_is_a_message(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It comes after the greeting, so that an older or newer client understands it."""
    monkeypatch.setattr(listener, "peer_of", lambda _: STRANGER)
    with at_socket(path, "memory:///") as found:
        far = far_at(found.path)
        assert far.hear_first(len(GREETING)) == GREETING
        refused = far.hear()
        assert isinstance(refused, Refused)
        assert refused.failure.kind == "NotPrivileged"
        assert far.hear() is None
        far.close()
