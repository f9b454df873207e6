"""A pretended host: its folder, its xenstored, its xenconsoled, and what a test can do to it from outside of libxl."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Self
from uuid import UUID, uuid4

from tests.offhost.backends import Backends
from tests.offhost.guest import Guest
from tests.offhost.setup import Release
from tests.offhost.store import SocketStore, Store, StoreError
from tests.offhost.world import Reason, World

__all__ = ["FOLDER", "OffHost", "children", "until"]

FOLDER = "PYXEN_OFFHOST_FOLDER"
"""The variable that names where the folders of hosts are; whoever sets it removes what is left."""

_TO_HAPPEN = 60.0  # seconds for a program to end, or for what is waited for to be so
_FOLDERS = (
    "events", "root/dev/xen", "root/proc/xen", "root/sys/hypervisor/version", "root/run/xenstored", "root/run/xen",
    "root/var/lib/xen", "root/var/lib/xenstored", "root/var/log/xen", "root/etc/xen/scripts",
)  # fmt: skip
_ALWAYS = re.compile(r"domid-history|^/tool|^/(libxl|vm)$|^/local/domain/0/device-model$")
"""What comes with the first domain, or the first HVM guest, and stays."""
_RUN_BY_LIBXL = ("libxl-save-helper",)
_SCRIPTS = ("block", "vif-bridge", "vif-route", "vif-nat", "vif-openvswitch")


class OffHost:
    """A host with real xenstored, xenconsoled and libxl, and a hypervisor in the small.

    This process is on it from `start` to `close`, which is no more than which files it sees: so there can be one at a
    time. What it begins meanwhile is on it too.

    Args:
        release: The Xen release.
    """

    def __init__(self, release: Release) -> None:
        self.release = release
        self.folder = Path(tempfile.mkdtemp(dir=os.environ.get(FOLDER, "/tmp")))
        self.world = World(release.stub, release.tree / "usr" / "include", self.folder)
        self.store: Store
        self._processes: list[subprocess.Popen[bytes]] = []
        self._xenstored: subprocess.Popen[bytes] | None = None
        self._xenconsoled: subprocess.Popen[bytes] | None = None
        self._backends: Backends | None = None
        self._guests: dict[int, Guest] = {}
        self._pristine: set[str] = set()

    @property
    def root(self) -> Path:
        """Where this host's files are: ``/var/lib/xen`` is below it."""
        return self.folder / "root"

    @property
    def environment(self) -> dict[str, str]:
        """What a process needs to be on this host. `start` puts it into this process's environment."""
        return {**os.environ, "PYXEN_OFFHOST": str(self.folder), "LD_PRELOAD": self.release.preload}

    def start(self) -> Self:
        """Begin it, and let this process be on it."""
        for folder in _FOLDERS:
            (self.folder / folder).mkdir(parents=True, exist_ok=True)
        self.world.make()
        self._make_files()
        self.world.use()
        os.environ["PYXEN_OFFHOST"] = str(self.folder)
        self.start_xenstored()
        self.start_xenconsoled()
        self.run_program("xen-init-dom0")
        self._backends = Backends(self.socket)
        self._pristine = self.things()
        return self

    def _make_files(self) -> None:
        major, minor = self.release.name.split(".")
        version = self.root / "sys/hypervisor/version"
        for path, text in (
            (self.root / "proc/xen/xsd_port", "1\n"),
            (self.root / "proc/xen/xsd_kva", "\0" * 4096),
            (self.root / "proc/xen/capabilities", "control_d\n"),
            (self.root / "dev/xen/evtchn", ""),
            (self.root / "sys/hypervisor/type", "xen\n"),
            (version / "major", f"{major}\n"),
            (version / "minor", f"{minor}\n"),
            (version / "extra", ".0\n"),
        ):
            path.write_text(text)
        for name in ("privcmd", "gntdev"):
            (self.root / "dev/xen" / name).hardlink_to(self.folder / "memory")
        for name in _SCRIPTS:
            _write_program(self.root / "etc/xen/scripts" / name, "exit 0")
        own = self.root / "usr/lib" / f"xen-{self.release.name}"
        (own / "bin").mkdir(parents=True)
        (own / "boot").symlink_to(self.release.tree / "usr/lib" / own.name / "boot")
        for name in _RUN_BY_LIBXL:
            _write_program(own / "bin" / name, f'exec {" ".join(self._command(name))} "$@"')

    def close(self) -> None:
        """End everything that was begun here, and remove the folder."""
        self.end_guests()
        if self._backends is not None:
            self._backends.close()
        if hasattr(self, "store"):
            self.store.close()
        for process in self._processes:
            process.kill()
            process.wait()
        os.environ.pop("PYXEN_OFFHOST", None)
        self.world.leave()
        shutil.rmtree(self.folder)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.close()

    # Its programs.

    @property
    def socket(self) -> Path:
        """Return the path of xenstored's."""
        return self.root / "run/xenstored/socket"

    def _begin(self, program: str, *arguments: str) -> subprocess.Popen[bytes]:
        process = subprocess.Popen(
            [*self._command(program), *arguments],
            env={**self._own_environment(), "PYXEN_OFFHOST_DAEMON": "1"},
            stdin=subprocess.DEVNULL,
        )
        self._processes.append(process)
        return process

    def _command(self, program: str) -> list[str]:
        command = self.release.program(program)
        return [*command[:-1], "--preload", self.release.preload, command[-1]]

    def _own_environment(self) -> dict[str, str]:
        # The release's own loader and libraries: what is preloaded into this process need not fit them.
        return {"PYXEN_OFFHOST": str(self.folder), "PATH": os.environ["PATH"]}

    def run_program(self, program: str, *arguments: str) -> str:
        """Run one of Xen's own programs on this host, and return what it prints."""
        done = subprocess.run(
            [*self._command(program), *arguments],
            env=self._own_environment(), stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False,
            timeout=_TO_HAPPEN,
        )  # fmt: skip
        if done.returncode:
            raise RuntimeError(f"{program} has failed ({done.returncode}): {done.stderr or done.stdout}")
        return done.stdout

    def run_python(self, code: str, *arguments: str, timeout: float = 240) -> subprocess.CompletedProcess[str]:
        """Run a Python program on this host, in a process of its own: for what may end it, or look at its end."""
        return subprocess.run(
            [sys.executable, "-c", code, *arguments],
            env=self.environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False,
            timeout=timeout,
        )  # fmt: skip

    def start_xenconsoled(self) -> None:
        """Begin xenconsoled."""
        self._xenconsoled = self._begin("xenconsoled", "-i", "--log=none", f"--pid-file={self.folder}/xenconsoled.pid")

    def end_xenconsoled(self) -> None:
        """Kill xenconsoled."""
        assert self._xenconsoled is not None
        self._xenconsoled.kill()
        self._xenconsoled.wait()

    @contextlib.contextmanager
    def python(self, code: str, *arguments: str) -> Iterator[subprocess.Popen[bytes]]:
        """Begin a Python program on this host that the caller talks to, and may kill; in the end it is killed."""
        with subprocess.Popen(
            [sys.executable, "-c", code, *arguments],
            env=self.environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        ) as process:  # fmt: skip
            try:
                yield process
            finally:
                process.kill()

    def start_xenstored(self) -> None:
        """Begin xenstored; what is stored is empty."""
        for name in ("root/var/lib/xenstored/tdb", "xenstored.pid"):
            (self.folder / name).unlink(missing_ok=True)
        self.socket.unlink(missing_ok=True)
        self._xenstored = self._begin("xenstored", "-N", "-F", str(self.folder / "xenstored.pid"))
        until(self._connect_store, "xenstored does not begin")

    def _connect_store(self) -> bool:
        try:
            self.store = SocketStore(self.socket)
        except OSError:
            if self._xenstored is not None and self._xenstored.poll() is not None:
                raise RuntimeError(f"xenstored has ended with status {self._xenstored.returncode}") from None
            return False
        return True

    @property
    def xenstored_pid(self) -> int:
        """The pid of xenstored."""
        assert self._xenstored is not None
        return self._xenstored.pid

    def signal_xenstored(self, number: int) -> None:
        """Send xenstored a signal: SIGSTOP and SIGCONT, or SIGKILL, after which `restart_xenstored` brings another."""
        assert self._xenstored is not None
        if number == signal.SIGSTOP:
            self.world.stop(self._xenstored.pid)
        else:
            self._xenstored.send_signal(number)
        if number == signal.SIGKILL:
            self._xenstored.wait()
            self.store.close()

    def restart_xenstored(self) -> None:
        """Begin xenstored anew, what ends with it too, and tell it what the host's own programs tell: domain 0."""
        assert self._xenstored is not None
        if self._xenstored.poll() is None:
            self.signal_xenstored(signal.SIGKILL)
        self.start_xenstored()
        self.run_program("xen-init-dom0")
        self.end_xenconsoled()
        self.start_xenconsoled()
        if self._backends is not None:
            self._backends.close()
            self._backends = Backends(self.socket)

    # Domains that another program has made.

    def add(
        self, name: str, *, uuid: UUID | None = None, kind: str = "pvh", vcpus: int = 1, memory: int = 64,
        introduced: bool = True,
    ) -> int:  # fmt: skip
        """Put in a domain as a program other than libxl makes it, and return its domid.

        Args:
            name: Its name in xenstore.
            uuid: Its uuid; by default any.
            kind: ``pv``, ``pvh`` or ``hvm``.
            vcpus: How many.
            memory: In MiB.
            introduced: Whether xenstored is told of it.
        """
        uuid = uuid or uuid4()
        domid = self.world.add(uuid, kind=kind, vcpus=vcpus, memory=memory)
        top = f"/local/domain/{domid}"
        self.store.write(f"{top}/name", name)
        self.store.write(f"{top}/vm", f"/vm/{uuid}")
        self.store.write(f"{top}/domid", str(domid))
        self.store.write(f"{top}/memory/target", str(memory * 1024))
        self.store.write(f"{top}/memory/static-max", str(memory * 1024))
        self.store.write(f"{top}/control/shutdown")
        self.store.write(f"{top}/data")
        self.store.permit(top, "n0", f"r{domid}")
        for below in ("name", "control/shutdown", "data"):
            self.store.permit(f"{top}/{below}", f"n{domid}" if below != "name" else "n0")
        self.store.write(f"/vm/{uuid}/name", name)
        self.store.write(f"/vm/{uuid}/uuid", str(uuid))
        if introduced:
            frame, port = self.world.furnish(domid)
            self.store.write(f"{top}/store/port", str(port))
            self.store.write(f"{top}/store/ring-ref", str(frame))
            self.store.introduce(domid, frame, port)
        return domid

    def left(self, timeout: float = _TO_HAPPEN) -> list[str]:
        """Return what is there and was not when the host began: domains, nodes, files, event channels.

        What others still have to put away is waited for; numbers that only count, and the history of domids, are left
        out.
        """
        end = time.monotonic() + timeout
        while (things := self.things() - self._pristine) and time.monotonic() < end:
            time.sleep(0.005)
        return sorted(things)

    def forgive(self, pattern: str) -> None:
        """Let `left` not count what matches now. Nodes without children are removed: left once more, they count."""
        for thing in sorted(self.things() - self._pristine, reverse=True):  # children come before their parents
            if not re.search(pattern, thing):
                continue
            try:
                if not self.store.directory(thing):
                    self.store.remove(thing)
            except StoreError:
                self._pristine.add(thing)  # it is no node

    def things(self) -> set[str]:
        """Return what is there now: domains, nodes, files, event channels."""
        things = {f"event channel {number} of domain 0" for number in range(self.world.ports(0))}
        things |= {f"domain {domid}" for domid in self.world.domids()}
        for folder in ("var/lib/xen", "run/xen"):
            things |= {f"/{path.relative_to(self.root)}" for path in (self.root / folder).rglob("*")}
        waiting = ["/"]
        while waiting:
            path = waiting.pop()
            things.add(path)
            try:
                waiting += [f"{path.rstrip('/')}/{name}" for name in self.store.directory(path)]
            except StoreError:
                things.discard(path)  # it has gone meanwhile
        return {thing for thing in things if not _ALWAYS.search(thing)}

    def guest(self, domid: int) -> Guest:
        """Return what runs in a domain: it reads and writes xenstore, and shuts down, as a guest's kernel does."""
        if domid not in self._guests:
            path = f"/local/domain/{domid}/store/port"
            self._guests[domid] = Guest(self.world, domid, int(self.store.read(path)))
        return self._guests[domid]

    def end_guests(self) -> None:
        """Let nothing run in any domain any more."""
        for guest in self._guests.values():
            guest.close()
        self._guests.clear()

    def shut_down(self, domid: int, reason: int = Reason.POWEROFF) -> None:
        """Let a domain shut itself down."""
        self.world.shut_down(domid, reason)


def _write_program(path: Path, line: str) -> None:
    path.write_text(f"#!/bin/sh\n{line}\n")
    path.chmod(0o755)


def children(pid: int | str = "self") -> set[int]:
    """Return the pids of a process's children, whichever of its threads began them; by default this one's."""
    found: set[int] = set()
    for task in Path(f"/proc/{pid}/task").iterdir():
        with contextlib.suppress(FileNotFoundError):  # the thread has just ended
            found |= {int(pid) for pid in (task / "children").read_text().split()}
    return found


def until(condition: Callable[[], bool], complaint: str, timeout: float = _TO_HAPPEN) -> None:
    """Wait until a condition holds.

    Raises:
        TimeoutError: It does not, in time.
    """
    end = time.monotonic() + timeout
    while not condition():
        if time.monotonic() > end:
            raise TimeoutError(complaint)
        time.sleep(0.001)
