"""The lab as tests and scripts use it: a running dom0 that takes commands and files."""

from __future__ import annotations

import contextlib
import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from lab import accelerator, checkout, qemu, releases, snapshots, transfer
from lab.agent import Gone, Hangs
from lab.errors import BootFailed, CommandFailed, CommandTimeout, LabError, MachineHangs
from lab.prepare import prepare
from lab.progress import say

if TYPE_CHECKING:
    import tarfile
    from collections.abc import Callable, Mapping, Sequence
    from types import TracebackType
    from typing import Self

    from lab.image import Image


@dataclass(frozen=True)
class Result:
    """What a command in dom0 did.

    Attributes:
        status: Its exit status; 128 + N if signal N ended it.
        stdout: What it wrote to standard output (invalid UTF-8 replaced).
        stderr: What it wrote to standard error.
    """

    status: int
    stdout: str
    stderr: str


class Lab:
    """A dom0 of its own, from `start` (or ``with``) to `close`; several can run side by side.

    Builds what is missing at first use. QEMU ends with `close`, and in any case with the thread that called `start`.

    Args:
        xen: The Xen release, as in ``4.20``.
        cpus: The machine's processors. Emulated, more of them make it slower: one thread does all.
        cold: Boot from nothing instead of restoring the snapshot.
        install: Put this working copy of pyxen into dom0 (``/root/pyxen``, importable), its extension compiled.

    Attributes:
        release: The Xen release.
        accelerator: What runs the machine, once it has started: ``kvm`` or ``tcg``.
    """

    def __init__(self, xen: str = releases.DEFAULT, *, cpus: int = 1, cold: bool = False, install: bool = True) -> None:
        self.release = releases.find(xen)
        self.accelerator = ""
        self._cpus = cpus
        self._cold = cold
        self._install = install
        self._machine: qemu.Qemu | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def folder(self) -> Path:
        """The run's folder on this machine, with ``console.log``; gone after `close`."""
        return self._running().folder

    @property
    def pid(self) -> int:
        """QEMU's process id."""
        return self._running().process.pid

    def start(self) -> None:
        """Start the machine: from its snapshot, which is made first if there is none.

        Raises:
            MissingTools: A program is not installed.
            BuildFailed: The image or the extension could not be built.
            BootFailed: dom0 did not come up in time; the message has the tail of its console.
        """
        parts = prepare(self.release)
        self.accelerator = accelerator.choose(self.release, parts.image)
        self._machine = self._booted(parts.image) if self._cold else self._restored(parts.image)
        try:
            if self._install:
                self._unpack(lambda archive: checkout.add_to(archive, parts.extension, parts.bytecode))
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """End QEMU and remove the run's folder; harmless when called again."""
        machine, self._machine = self._machine, None
        if machine is not None:
            machine.end()
            shutil.rmtree(machine.folder, ignore_errors=True)

    def run(
        self,
        argv: Sequence[str],
        *,
        timeout: float | None = None,
        check: bool = False,
        cwd: str | None = None,
        env: Mapping[str, str] | None = None,
        stdin: int | None = None,
        on_stdout: Callable[[bytes], object] | None = None,
        on_stderr: Callable[[bytes], object] | None = None,
    ) -> Result:
        """Run a command in dom0 and wait for it. One at a time: a lab is not for several threads.

        Args:
            argv: The program and its arguments; no shell is involved.
            timeout: Seconds after which it is killed.
            check: Raise if its exit status is not 0.
            cwd: The folder to run it in; default /root/pyxen, if that was installed.
            env: Environment variables to set besides dom0's usual ones.
            stdin: A descriptor of this process to feed it from; default: empty. Slow (100 kB/s): use `put` for files.
            on_stdout: Called with what it writes, as it comes, instead of collecting that in the result.
            on_stderr: The same for its standard error.

        Raises:
            CommandTimeout: It did not end in time; what it had written is in the exception.
            CommandFailed: ``check`` was set and its status is not 0; the message has the end of its output.
            BootFailed: The machine died meanwhile; the message has the tail of its console.
            MachineHangs: It lives, but gave no sign of that for two minutes.
        """
        collected = {b"O": bytearray(), b"E": bytearray()}
        live = {b"O": on_stdout, b"E": on_stderr}

        def output(kind: bytes, data: bytes) -> None:
            callback = live[kind]
            if callback is not None:
                callback(data)
            else:
                collected[kind] += data

        request = self._request(argv, cwd, env)
        request["stdin"] = stdin is not None
        machine = self._running()
        try:
            status = machine.agent.execute(request, output, timeout=timeout, stdin=stdin)
        except CommandTimeout as error:
            texts = [collected[kind].decode(errors="replace") for kind in (b"O", b"E")]
            raise CommandTimeout(str(error), stdout=texts[0], stderr=texts[1]) from None
        except Gone as error:
            what = MachineHangs if isinstance(error, Hangs) else BootFailed
            raise what(f"dom0 died while it ran `{' '.join(argv)}`: {error}\n{machine.log_tail()}") from error
        stdout, stderr = (collected[kind].decode(errors="replace") for kind in (b"O", b"E"))
        if check and status != 0:
            tail = "\n".join((stdout + stderr).splitlines()[-20:])
            raise CommandFailed(f"`{' '.join(argv)}` exited with status {status} in dom0\n{tail}")
        return Result(status, stdout, stderr)

    def terminal(self, argv: Sequence[str], size: list[int], resized: Callable[[], list[int] | None]) -> int:
        """Run a command on a terminal of dom0, connected to ours (descriptors 0 and 1, which should be in raw mode).

        Args:
            argv: The program and its arguments.
            size: Rows and columns.
            resized: Returns the new size when it has changed.

        Returns:
            Its exit status.
        """
        request = self._request(argv, None, {"TERM": os.environ.get("TERM", "linux")})
        request["tty"] = size

        def show(_kind: bytes, data: bytes) -> None:
            rest = memoryview(data)
            while rest:
                rest = rest[os.write(1, rest) :]

        return self._running().agent.execute(request, show, stdin=0, resized=resized)

    def forward(self, port: int) -> int:
        """Open a TCP port of this machine that leads to one of dom0's, for as long as the lab runs, and return it.

        ``lab-libvirtd`` listens on 16509, ``lab-sshd`` on 22; the key for root is ``/root/.ssh/id_ed25519`` in dom0.
        """
        return self._running().forward(port)

    def put(self, source: str | os.PathLike[str], destination: str) -> None:
        """Copy a file or a folder of this machine into dom0.

        Args:
            source: What to copy.
            destination: Its full new path in dom0, not the folder to put it into; missing folders are made.
        """
        path = Path(source)
        if not path.exists():
            raise LabError(f"there is no {path} to copy into dom0")
        self._unpack(lambda archive: archive.add(path, destination))

    def get(self, source: str, destination: str | os.PathLike[str]) -> None:
        """Copy a file or a folder out of dom0.

        Args:
            source: Its full path in dom0.
            destination: Its new path on this machine.
        """
        self.run(["bash", "-c", transfer.pack_command(source)], check=True, timeout=300, cwd="/")
        transfer.read_archive(self._running().folder / "transfer.img", Path(destination))

    def _unpack(self, fill: Callable[[tarfile.TarFile], None]) -> None:
        command = transfer.write_archive(self._running().folder / "transfer.img", qemu.TRANSFER_SIZE, fill)
        self.run(["bash", "-c", command], check=True, timeout=300, cwd="/")

    def _request(self, argv: Sequence[str], cwd: str | None, env: Mapping[str, str] | None) -> dict[str, object]:
        usual = checkout.IN_DOM0 if self._install else "/root"
        return {"argv": list(argv), "cwd": cwd or usual, "env": dict(env or {}), "tty": None, "stdin": False}

    def _booted(self, built: Image) -> qemu.Qemu:
        return snapshots.boot(built, self.accelerator, self._cpus)

    def _restored(self, built: Image) -> qemu.Qemu:
        with contextlib.suppress(BootFailed):
            return self._from_snapshot(built)
        say("the snapshot could not be restored: making a new one")
        snapshots.discard(self.release, built, self.accelerator, self._cpus)
        return self._from_snapshot(built)

    def _from_snapshot(self, built: Image) -> qemu.Qemu:
        snapshot = snapshots.ensure(self.release, built, self.accelerator, self._cpus)
        return snapshots.restore(built, snapshot, self.accelerator, self._cpus)

    def _running(self) -> qemu.Qemu:
        if self._machine is None:
            raise LabError("this lab is not running: use it as `with Lab() as dom0:`, or call start()")
        return self._machine
