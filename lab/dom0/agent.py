#!/usr/bin/python3
"""The agent in dom0: runs one command at a time for the host, over a virtio-serial port.

Frames in both directions are a letter, a length (32 bits, big endian) and that many bytes.

From the host: ``P`` ping (JSON: token, time), ``R`` run (JSON: argv, cwd, env, tty, stdin), ``I`` input (empty: its
end), ``S`` signal (JSON: number), ``W`` window size (JSON: rows, columns).
To the host: ``H`` the agent has started, ``P`` the ping's answer, ``O`` output, ``E`` standard error, ``X`` exit
(JSON: status).
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import pty
import select
import struct
import subprocess
import termios
import time
from typing import Any

PORT_NAME = "pyxen.lab"
CHUNK = 65536
ENVIRONMENT = {
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin",
    "HOME": "/root",
    "USER": "root",
    "SHELL": "/bin/bash",
    "TERM": "dumb",
    "LANG": "C.UTF-8",
}


def find_port() -> str:
    """The device node of our port; without udev nobody makes the link by its name."""
    while True:
        for node in os.listdir("/sys/class/virtio-ports"):
            with open(f"/sys/class/virtio-ports/{node}/name", encoding="ascii") as file:
                if file.read().strip() == PORT_NAME:
                    return f"/dev/{node}"
        time.sleep(0.05)


class Channel:
    """The port, as frames."""

    def __init__(self, path: str) -> None:
        self.fd = os.open(path, os.O_RDWR)
        self.buffer = bytearray()

    def send(self, kind: bytes, data: bytes = b"") -> None:
        """Send a frame."""
        rest = memoryview(kind + struct.pack(">I", len(data)) + data)
        while rest:
            rest = rest[os.write(self.fd, rest[:32768]) :]

    def fill(self) -> None:
        """Read what is there, waiting until there is something."""
        data = os.read(self.fd, CHUNK)
        if not data:  # the host's end is not open (yet)
            time.sleep(0.02)
        self.buffer += data

    def frame(self) -> tuple[bytes, bytes] | None:
        """The next complete frame, or None if more must be read first."""
        if len(self.buffer) < 5:
            return None
        end = 5 + int.from_bytes(self.buffer[1:5], "big")
        if len(self.buffer) < end:
            return None
        kind, data = bytes(self.buffer[:1]), bytes(self.buffer[5:end])
        del self.buffer[:end]
        return kind, data


class Input:
    """What the host sends for the command's standard input, until it takes it."""

    def __init__(self, fd: int | None) -> None:
        self.fd = fd
        self.pending = bytearray()
        self.ended = False

    @property
    def events(self) -> int:
        """What to wait for on the descriptor."""
        return select.POLLOUT if self.pending or self.ended else 0

    def feed(self, events: int) -> bool:
        """Write what can be written; False when the input is over, or the command reads no more."""
        if self.fd is None or events & (select.POLLERR | select.POLLHUP):
            return False
        with contextlib.suppress(BlockingIOError):
            try:
                del self.pending[: os.write(self.fd, self.pending)]
            except BrokenPipeError:
                return False
        return bool(self.pending) or not self.ended


class Command:
    """A process in a session of its own, its streams, and the host that listens to it.

    Raises:
        OSError: It cannot be started.
    """

    def __init__(self, channel: Channel, request: dict[str, Any]) -> None:
        self.channel = channel
        self.tty: int | None = None
        self.streams: dict[int, bytes] = {}  # descriptor -> kind of frame for what is read from it
        self.input = Input(None)
        argv = request["argv"]
        if request["tty"]:
            self.tty, inner = pty.openpty()
            resize(self.tty, request["tty"])
            self.streams = {self.tty: b"O"}
            self.input.fd = os.dup(self.tty)
            theirs = [inner, inner, inner]
            argv = ["setsid", "--ctty", "--", *argv]
        else:
            out, their_out = os.pipe()
            err, their_err = os.pipe()
            self.streams = {out: b"O", err: b"E"}
            their_in = os.open(os.devnull, os.O_RDONLY)
            if request["stdin"]:
                os.close(their_in)
                their_in, self.input.fd = os.pipe()
            theirs = [their_in, their_out, their_err]
        try:
            self.process = subprocess.Popen(
                argv,
                stdin=theirs[0],
                stdout=theirs[1],
                stderr=theirs[2],
                cwd=request["cwd"],
                env={**ENVIRONMENT, **request["env"]},
                start_new_session=self.tty is None,  # on a terminal, setsid does it
            )
        except OSError:
            self.close()
            raise
        finally:
            for fd in set(theirs):
                os.close(fd)
        for fd in self.descriptors():
            os.set_blocking(fd, False)

    def descriptors(self) -> list[int]:
        """Our ends of its streams."""
        return [*self.streams] if self.input.fd is None else [*self.streams, self.input.fd]

    def run(self) -> int:
        """Serve the command until its process ends, even if children of it keep its streams open; its exit status."""
        ended = os.pidfd_open(self.process.pid)
        poll = select.poll()
        for fd in (self.channel.fd, ended, *self.streams):
            poll.register(fd, select.POLLIN)
        ready: dict[int, int] = {}
        while ended not in ready:
            self.obey()  # frames may have come along with the request, before any wait for more
            if self.input.fd is not None:
                poll.register(self.input.fd, self.input.events)
            ready = dict(poll.poll())
            for fd in [fd for fd in self.streams if fd in ready]:
                if not self.forward(fd):
                    poll.unregister(fd)
                    del self.streams[fd]
                    os.close(fd)
            stdin = self.input.fd
            if stdin in ready and not self.input.feed(ready[stdin]):
                poll.unregister(stdin)
                os.close(stdin)
                self.input.fd = None
            if ready.get(self.channel.fd, 0) & select.POLLIN:
                self.channel.fill()
        os.close(ended)
        status = self.process.wait()
        for fd in self.streams:
            while self.forward(fd, patient=False):
                pass
        self.close()
        return status if status >= 0 else 128 - status

    def forward(self, fd: int, *, patient: bool = True) -> bool:
        """Send on what can be read; False at the end of the stream (or, if not patient, when nothing is there now)."""
        try:
            data = os.read(fd, CHUNK)
        except BlockingIOError:
            return patient
        except OSError:  # a terminal whose other side is closed
            return False
        if data:
            self.channel.send(self.streams[fd], data)
        return bool(data)

    def obey(self) -> None:
        """Do what the host asked for meanwhile."""
        while frame := self.channel.frame():
            kind, data = frame
            if kind == b"I":
                self.input.pending += data
                self.input.ended = not data
            elif kind == b"S":
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(self.process.pid, json.loads(data))
            elif kind == b"W" and self.tty is not None:
                resize(self.tty, json.loads(data))
            elif kind == b"P":
                self.channel.send(b"P", data)

    def close(self) -> None:
        """Close our ends of its streams."""
        for fd in self.descriptors():
            os.close(fd)


def resize(terminal: int, size: list[int]) -> None:
    """Set a terminal's size to these rows and columns."""
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", *size, 0, 0))


def serve(channel: Channel) -> None:
    """Answer the host for ever."""
    while True:
        frame = channel.frame()
        if frame is None:
            channel.fill()
            continue
        kind, data = frame
        if kind == b"P":
            time.clock_settime(time.CLOCK_REALTIME, json.loads(data)["time"])
            channel.send(b"P", data)
        elif kind == b"R":
            try:
                status = Command(channel, json.loads(data)).run()
            except OSError as error:
                channel.send(b"E", f"lab: cannot run it: {error.strerror}: {error.filename}\n".encode())
                status = 126 if isinstance(error, PermissionError) else 127
            channel.send(b"X", json.dumps(status).encode())


def main() -> None:
    """Say that we are here, then serve."""
    channel = Channel(find_port())
    channel.send(b"H")
    serve(channel)


if __name__ == "__main__":
    main()
