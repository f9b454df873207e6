"""A device model that libxl begins: it says what QEMU says, does nothing else, and dies or stops at a step if wanted.

The program is this module itself. It imports nothing of pyxen's, and little else, because each create begins it.
"""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import sys
import threading
from pathlib import Path
from typing import Any

from tests.offhost.store import SocketStore

__all__ = ["DeviceModels"]

_REPOSITORY = Path(__file__).parent.parent.parent
_GREETING = (
    b'{"QMP": {"version": {"qemu": {"major": 7, "minor": 2, "micro": 0}, "package": ""}, "capabilities": []}}\r\n'
)
_LISTS = ("query-chardev", "query-pci", "query-cpus-fast", "query-fdsets", "query-command-line-options")
_STATE = b"what a device model keeps of a guest"
_CHARDEV = re.compile(r"socket,id=\S+?,(path|fd)=([^,]+)")


class DeviceModels:
    """The device models of a host's domains.

    Args:
        folder: Where the program, and what they tell, are; it is there.
        python: The interpreter that runs them.

    Attributes:
        path: The program, for `DeviceModel.path`.
    """

    def __init__(self, folder: Path, python: Path) -> None:
        self.path = folder / "qemu"
        self._steps, self._last, self._refused = folder / "steps", folder / "last", folder / "refused"
        self.path.write_text(f'#!/bin/sh\nPYTHONPATH={_REPOSITORY} exec {python} -S {Path(__file__)} {folder} "$@"\n')
        self.path.chmod(0o755)
        self.begin()

    def begin(self, *, last: int = 0, number: int = signal.SIGKILL) -> None:
        """Forget what they have done; one of them dies, or gets another signal, at this step, where it is not 0."""
        self._last.write_text(f"{last} {int(number)}")
        self._steps.write_text("")
        self._refused.write_text("")

    def refuse(self, command: str) -> None:
        """Let them refuse a command until `begin`."""
        self._refused.write_text(command)

    def steps(self) -> list[str]:
        """Return what they have done since `begin`: to start, to be running, and the commands that they were given."""
        return [line.split()[1] for line in self._steps.read_text().splitlines()]

    def running(self) -> list[int]:
        """Return the pids of those that run."""
        found = []
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                words = (folder / "cmdline").read_bytes().split(b"\0")
            except OSError:
                continue  # it has just ended
            if os.fsencode(self.path.parent) in words and b"-c" not in words:
                found.append(int(folder.name))
        return found

    def signal(self, number: int) -> None:
        """Send all of them a signal."""
        for pid in self.running():
            os.kill(pid, number)


class _Program:
    """One device model: its folder, and the arguments that libxl gives to QEMU."""

    def __init__(self, folder: Path, arguments: list[str]) -> None:
        self._folder = folder
        self._arguments = arguments
        self._files: dict[int, int] = {}

    def run(self) -> None:
        self._step("start")
        for kind, where in _CHARDEV.findall(" ".join(self._arguments)):
            if kind == "fd":
                server = socket.socket(fileno=int(where))
            else:
                server = socket.socket(socket.AF_UNIX)
                Path(where).unlink(missing_ok=True)  # libxl has bound it while it asked another one
                server.bind(where)
                server.listen(1)
            threading.Thread(target=self._serve, args=[server]).start()
        if "-xen-domid" in self._arguments:
            domid = self._arguments[self._arguments.index("-xen-domid") + 1]
            self._step("running")
            root = Path(os.environ["PYXEN_OFFHOST"], "root")
            SocketStore(root / "run/xenstored/socket").write(f"/local/domain/0/device-model/{domid}/state", "running")

    def _step(self, what: str) -> None:
        with (self._folder / "steps").open("a") as file:
            file.write(f"{os.getpid()} {what}\n")
        count = len((self._folder / "steps").read_text().splitlines())
        last, number = map(int, (self._folder / "last").read_text().split())
        if count == last:
            os.kill(os.getpid(), number)

    def _serve(self, server: socket.socket) -> None:
        while True:
            client, _ = server.accept()
            with client:
                try:
                    self._talk(client)
                except OSError:
                    continue  # the client has hung up

    def _talk(self, client: socket.socket) -> None:
        client.sendall(_GREETING)
        text, files = b"", []
        while True:
            data, more, _, _ = socket.recv_fds(client, 1 << 16, 4)
            if not data:
                return
            text += data
            files += more
            *lines, text = text.split(b"\n")
            for line in filter(bytes.strip, lines):
                request = json.loads(line)
                self._step(request["execute"])
                if request["execute"] == (self._folder / "refused").read_text():
                    answer = {"error": {"class": "GenericError", "desc": "no"}}
                else:
                    answer = {"return": self._answer(request["execute"], request.get("arguments", {}), files)}
                client.sendall(json.dumps({**answer, "id": request.get("id")}).encode() + b"\r\n")
                if request["execute"] == "quit":
                    os._exit(0)

    def _answer(self, command: str, arguments: dict[str, Any], files: list[int]) -> Any:
        if command in _LISTS:
            return []
        if command in {"query-vnc", "query-spice"}:
            return {"enabled": False}
        if command == "add-fd":
            number = arguments.get("fdset-id", len(self._files))
            self._files[number] = files.pop(0)
            return {"fdset-id": number, "fd": self._files[number]}
        if command == "xen-save-devices-state":
            name = arguments["filename"]
            number = name.removeprefix("/dev/fdset/")
            fd = self._files[int(number)] if number != name else os.open(name, os.O_WRONLY | os.O_CREAT)
            os.write(fd, _STATE)
        return {}


if __name__ == "__main__":
    signal.signal(signal.SIGHUP, signal.SIG_DFL)  # by which libxl ends it: nohup has children ignore it; QEMU does not
    _Program(Path(sys.argv[1]), sys.argv[2:]).run()
