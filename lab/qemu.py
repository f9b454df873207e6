"""One QEMU process: its command line, its monitor, its end."""

from __future__ import annotations

import functools
import json
import os
import shutil
import socket
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lab import cache, tools
from lab.agent import Agent
from lab.errors import BootFailed
from lab.progress import say

if TYPE_CHECKING:
    from lab.image import Image

# Without xsave=0 user processes of PV guests crash under load (AVX state is lost); the other settings save time.
XEN_OPTIONS = (
    "dom0_mem=1280M,max:1280M dom0_max_vcpus={cpus} console=com1 com1=115200,8n1 ucode=no spec-ctrl=no "
    "eager-fpu=on xsave=0 sched=credit2 bootscrub=0 loglvl=info guest_loglvl=info"
)
# norandmaps: QEMU keeps translated code by its virtual address. With random ones each process is translated anew.
LINUX_OPTIONS = (
    "console=hvc0 quiet mitigations=off audit=0 random.trust_cpu=1 tsc=reliable net.ifnames=0 panic=1 norandmaps"
)
KVM = "kvm"
TCG = "tcg"
# Emulated with smap, dom0 would crash at its first return to user mode; with rdtscp, Linux PVH guests would die of it.
_PROCESSOR = {
    KVM: ("-accel", "kvm", "-cpu", "host"),
    TCG: ("-accel", "tcg,thread=single", "-cpu", "max,-smap,-smep,-la57,-pku,-rdtscp"),
}
_MEMORY = "3G"
TRANSFER_SIZE = 1 << 30
_SCRATCH_SIZE = 4 << 30
_ANSWER_SECONDS = 60.0
_END_SECONDS = 30.0


def machine(cpus: int, accelerator: str) -> list[str]:
    """QEMU's arguments for a machine with so many processors, which KVM runs or QEMU's TCG emulates.

    TCG emulates all of them by one thread. With a thread for each, QEMU (7.2, 10.0 and 11.1) kills HVM and PVH guests
    now and then: it saves Xen's own registers as those of the guest, which then ends with a triple fault. One processor
    is the fastest too: two wait for each other, and more so on a busy machine.
    """
    return [
        *("-machine", "q35", *_PROCESSOR[accelerator], "-smp", str(cpus), "-m", _MEMORY),
        *("-nodefaults", "-no-user-config", "-display", "none", "-no-reboot"),
        *("-kernel", "xen", "-append", XEN_OPTIONS.format(cpus=cpus)),
        *("-initrd", "vmlinux " + LINUX_OPTIONS.replace(",", ",,") + ",initrd"),
        *("-drive", "file=overlay.qcow2,format=qcow2,if=none,id=root,cache=unsafe,discard=unmap"),
        *("-device", "virtio-blk-pci,drive=root"),
        *("-drive", "file=transfer.img,format=raw,if=none,id=transfer,cache=unsafe"),
        *("-device", "virtio-blk-pci,drive=transfer"),
        *("-drive", "file=scratch.img,format=raw,if=none,id=scratch,cache=unsafe,discard=unmap"),
        *("-device", "virtio-blk-pci,drive=scratch"),
        *("-device", "virtio-serial-pci", "-device", "virtserialport,chardev=agent,name=pyxen.lab"),
        # A network that leads nowhere; `forward` opens ways in.
        *("-netdev", "user,id=outside,restrict=on", "-device", "virtio-net-pci,netdev=outside,romfile="),
        *("-chardev", "file,id=console,path=console.log", "-serial", "chardev:console"),
        *("-device", "qemu-xhci", "-device", "usb-tablet"),
    ]


@functools.cache
def version() -> str:
    """QEMU's version line."""
    return tools.call(["qemu-system-x86_64", "--version"], what="asking QEMU for its version").splitlines()[0]


def machine_key(cpus: int, accelerator: str) -> str:
    """What a snapshot depends on besides the image: QEMU, the machine, and this computer (Xen calibrates its clock)."""
    cpu = next(
        line for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines() if line.startswith("model name")
    )
    identity = Path("/etc/machine-id")
    return cache.key_of(
        [version(), *machine(cpus, accelerator), cpu, identity.read_text(encoding="ascii") if identity.exists() else ""]
    )


class Qemu:
    """A running machine in a folder of its own. It lives no longer than the thread that started it.

    Args:
        folder: The run's folder, empty; receives the disks and ``console.log``.
        image: What to run.
        disk: The disk under dom0's own: the image's, or that of a snapshot.
        accelerator: What runs it: `KVM` or `TCG`.
        cpus: Its processors.
        state: A snapshot's state to restore; without it the machine boots.
    """

    def __init__(
        self,
        folder: Path,
        image: Image,
        *,
        disk: Path,
        accelerator: str,
        cpus: int = 1,
        state: Path | None = None,
    ) -> None:
        self.folder = folder
        for name in ("xen", "vmlinux", "initrd"):
            (folder / name).symlink_to(image.folder / name)
        backing = "qcow2" if disk.suffix == ".qcow2" else "raw"
        tools.call(
            ["qemu-img", "create", "-q", "-f", "qcow2", "-F", backing, "-b", str(disk), str(folder / "overlay.qcow2")],
            what="making dom0's disk",
        )
        for name, size in (("transfer.img", TRANSFER_SIZE), ("scratch.img", _SCRATCH_SIZE)):
            (folder / name).touch()
            os.truncate(folder / name, size)
        channel, agent = socket.socketpair()
        self.agent = Agent(channel)
        self._monitor, monitor = socket.socketpair()
        self._monitor.settimeout(_ANSWER_SECONDS)
        argv = [
            # The kernel kills QEMU when we end, however we end.
            *(
                "setpriv",
                "--pdeathsig",
                "KILL",
                "--",
                tools.which("qemu-system-x86_64") or "qemu-system-x86_64",
                *machine(cpus, accelerator),
            ),
            *("-chardev", f"socket,id=agent,fd={agent.fileno()}"),
            *("-chardev", f"socket,id=monitor,fd={monitor.fileno()}", "-mon", "chardev=monitor,mode=control"),
        ]
        if state is not None:
            (folder / "state").symlink_to(state)
            argv += ["-incoming", "exec:zstd -dc < state"]
        with (folder / "qemu.log").open("wb") as log:
            self.process = subprocess.Popen(
                argv,
                cwd=folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                pass_fds=(agent.fileno(), monitor.fileno()),
                start_new_session=True,  # Ctrl-C is for us; we end QEMU ourselves
            )
        agent.close()
        monitor.close()
        self._buffer = bytearray()
        self.command("qmp_capabilities")

    def command(self, name: str, **arguments: object) -> Any:
        """Give the monitor (QMP) a command and return its answer.

        Raises:
            BootFailed: QEMU has ended, refused the command, or does not answer.
        """
        deadline = time.monotonic() + _ANSWER_SECONDS
        try:
            self._monitor.sendall(json.dumps({"execute": name, "arguments": arguments}).encode())
            while line := self._line(deadline):
                answer = json.loads(line)
                if "error" in answer:
                    raise BootFailed(f"QEMU refused `{name}`: {answer['error']['desc']}")
                if "return" in answer:
                    return answer["return"]
        except TimeoutError:
            raise BootFailed(
                f"QEMU did not answer `{name}` within {_ANSWER_SECONDS:.0f} s\n{self.log_tail()}"
            ) from None
        except OSError:
            pass
        raise BootFailed(f"QEMU ended:\n{self.log_tail()}")

    def _line(self, deadline: float) -> bytes:
        """The next line from the monitor; empty when QEMU has ended.

        Raises:
            TimeoutError: There was none by the deadline.
        """
        while b"\n" not in self._buffer:
            self._monitor.settimeout(max(0.001, deadline - time.monotonic()))
            data = self._monitor.recv(65536)
            if not data:
                return b""
            self._buffer += data
        line, _, rest = bytes(self._buffer).partition(b"\n")
        self._buffer[:] = rest
        return line

    def finish_restore(self, deadline: float) -> None:
        """Wait until the state is loaded, then let the machine run.

        Raises:
            BootFailed: It was not loaded by the deadline.
        """
        while self.command("query-status")["status"] == "inmigrate":
            if time.monotonic() > deadline:
                raise BootFailed("QEMU did not load the snapshot in time")
            time.sleep(0.02)
        self.command("cont")

    def save(self, state: Path, deadline: float) -> None:
        """Stop the machine and write its state to a file.

        Raises:
            BootFailed: QEMU failed to, or not by the deadline.
        """
        self.command("stop")
        self.command("migrate-set-parameters", **{"max-bandwidth": 10 << 30})
        (self.folder / "saved").symlink_to(state)
        self.command("migrate", uri="exec:zstd -q -3 -c > saved")
        while (status := self.command("query-migrate")["status"]) != "completed":
            if status == "failed" or time.monotonic() > deadline:
                raise BootFailed(f"QEMU could not write the snapshot ({status})\n{self.log_tail()}")
            time.sleep(0.05)
        self.command("quit")
        try:
            self.process.wait(timeout=_END_SECONDS)
        except subprocess.TimeoutExpired:
            raise BootFailed(f"QEMU did not end within {_END_SECONDS:.0f} s") from None

    def forward(self, port: int) -> int:
        """Open a TCP port of this machine's loopback that leads to one of dom0's, and return it.

        Raises:
            BootFailed: QEMU could not listen.
        """
        with socket.create_server(("127.0.0.1", 0)) as free:
            ours: int = free.getsockname()[1]
        words = f"hostfwd_add outside tcp:127.0.0.1:{ours}-:{port}"
        problem = self.command("human-monitor-command", **{"command-line": words})
        if problem:
            raise BootFailed(f"QEMU did not open a port that leads to {port}: {problem.strip()}")
        return ours

    def log_tail(self, lines: int = 40) -> str:
        """The last lines of the console and of QEMU's own messages."""
        parts = []
        for name in ("console.log", "qemu.log"):
            path = self.folder / name
            if path.exists():
                text = path.read_text(encoding="utf-8", errors="replace")
                written = [line for line in text.splitlines() if line.strip()]
                parts.append("\n".join(f"  {name}: {line}" for line in written[-lines:]))
        return "\n".join(parts)

    def end(self) -> None:
        """End the machine, whatever it does."""
        self.process.kill()
        try:
            self.process.wait(timeout=_END_SECONDS)
        except subprocess.TimeoutExpired:
            say(f"QEMU (process {self.process.pid}) has not ended {_END_SECONDS:.0f} s after it was killed")
        self._monitor.close()
        self.agent.close()


def new_folder() -> Path:
    """A new folder for a run; those whose run has ended are removed."""
    runs = cache.root() / "runs"
    runs.mkdir(parents=True, exist_ok=True)
    for old in runs.iterdir():
        owner = old.name.partition("-")[0]
        if owner.isdigit() and not Path(f"/proc/{owner}").exists():
            shutil.rmtree(old, ignore_errors=True)
    for number in range(1000):
        folder = runs / f"{os.getpid()}-{number}"
        try:
            folder.mkdir()
        except FileExistsError:
            continue
        return folder
    raise BootFailed(f"too many runs of this process in {runs}")
