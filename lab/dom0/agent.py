#!/usr/bin/python3
"""The agent in dom0: runs one command at a time for the host, over a virtio-serial port.

Frames in both directions are a letter, a length (32 bits, big endian) and that many bytes.

From the host: ``P`` ping (JSON: token, time), ``R`` run (JSON: argv, cwd, env, tty, stdin), ``I`` input (empty: end of it),
``S`` signal (JSON: number), ``W`` window size (JSON: rows, columns).
To the host: ``H`` the agent has started, ``P`` the ping's answer, ``O`` output, ``E`` standard error, ``X`` exit (JSON: status).
"""

import fcntl
import json
import os
import pty
import select
import signal
import struct
import subprocess
import termios
import time

CHUNK = 65536
ENVIRONMENT = {
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin",
    "HOME": "/root",
    "USER": "root",
    "SHELL": "/bin/bash",
    "TERM": "dumb",
    "LANG": "C.UTF-8",
}


def find_port():
    """Device node of our port; without udev nobody makes the link by name."""
    while True:
        for name in os.listdir("/sys/class/virtio-ports"):
            with open(f"/sys/class/virtio-ports/{name}/name", encoding="ascii") as file:
                if file.read().strip() == "pyxen.lab":
                    return f"/dev/{name}"
        time.sleep(0.05)


class Channel:
    """The port, as frames."""

    def __init__(self, path):
        self.fd = os.open(path, os.O_RDWR)
        self.buffer = bytearray()

    def send(self, kind, data=b""):
        rest = memoryview(kind + struct.pack(">I", len(data)) + data)
        while rest:
            rest = rest[os.write(self.fd, rest[:32768]) :]

    def fill(self):
        """Read what is there, blocking until there is something."""
        data = os.read(self.fd, CHUNK)
        if not data:  # the host's end is not open (yet)
            time.sleep(0.02)
        self.buffer += data

    def frame(self):
        """The next complete frame, or None if more must be read first."""
        if len(self.buffer) < 5:
            return None
        kind, length = self.buffer[:1], struct.unpack(">I", self.buffer[1:5])[0]
        if len(self.buffer) < 5 + length:
            return None
        data = bytes(self.buffer[5 : 5 + length])
        del self.buffer[: 5 + length]
        return bytes(kind), data


class Command:
    """A process of its own session, its streams, and the host that listens to it."""

    def __init__(self, channel, request):
        self.channel = channel
        self.streams = {}  # fd to read -> kind of frame
        self.pending = bytearray()
        self.input_ended = False
        environment = {**ENVIRONMENT, **request["env"]}
        if request["tty"]:
            self.tty, inner = pty.openpty()
            resize(self.tty, request["tty"])
            self.stdin = os.dup(self.tty)
            streams = {"stdin": inner, "stdout": inner, "stderr": inner}
            self.streams[self.tty] = b"O"
        else:
            self.tty = None
            out, out_write = os.pipe()
            err, err_write = os.pipe()
            self.streams = {out: b"O", err: b"E"}
            source = subprocess.DEVNULL
            self.stdin = None
            if request["stdin"]:
                source, self.stdin = os.pipe()
            streams = {"stdin": source, "stdout": out_write, "stderr": err_write}
        try:
            self.process = subprocess.Popen(
                request["argv"],
                cwd=request["cwd"],
                env=environment,
                start_new_session=True,
                preexec_fn=take_terminal if request["tty"] else None,
                **streams,
            )
        except BaseException:
            self.close()
            raise
        finally:
            for fd in {fd for fd in streams.values() if fd >= 0}:
                os.close(fd)
        for fd in [*self.streams, self.stdin]:
            if fd is not None:
                os.set_blocking(fd, False)
        self.pidfd = os.pidfd_open(self.process.pid)

    def run(self):
        """Serve the command until its process ends; background children may keep its streams open."""
        poll = select.poll()
        poll.register(self.channel.fd, select.POLLIN)
        poll.register(self.pidfd, select.POLLIN)
        for fd in self.streams:
            poll.register(fd, select.POLLIN)
        while True:
            if self.stdin is not None:
                poll.register(self.stdin, select.POLLOUT if self.pending or self.input_ended else 0)
            ready = dict(poll.poll())
            for fd in [fd for fd in self.streams if fd in ready]:
                if not self.forward(fd):
                    poll.unregister(fd)
                    del self.streams[fd]
                    os.close(fd)
            if self.stdin in ready:
                stdin = self.stdin
                self.feed(ready[stdin])
                if self.stdin is None:
                    poll.unregister(stdin)
                    os.close(stdin)
            if ready.get(self.channel.fd, 0) & select.POLLIN:
                self.channel.fill()
                self.obey()
            if self.pidfd in ready:
                break
        self.process.wait()
        for fd in list(self.streams):
            while self.forward(fd, patient=False):
                pass
        os.close(self.pidfd)
        self.close()
        status = self.process.returncode
        return status if status >= 0 else 128 - status

    def forward(self, fd, *, patient=True):
        """Send on what can be read; False at the end of the stream (or, if not patient, when nothing is there now)."""
        try:
            data = os.read(fd, CHUNK)
        except BlockingIOError:
            return patient
        except OSError:  # a terminal whose other side has gone
            return False
        if data:
            self.channel.send(self.streams[fd], data)
        return bool(data)

    def feed(self, events):
        """Write pending input; close it after the last byte, or when the command reads no more."""
        if self.pending:
            try:
                del self.pending[: os.write(self.stdin, self.pending)]
            except BlockingIOError:
                pass
            except OSError:
                self.pending.clear()
                self.input_ended = True
        if events & select.POLLERR or (self.input_ended and not self.pending):
            self.stdin = None

    def obey(self):
        """Handle what the host sent meanwhile."""
        while frame := self.channel.frame():
            kind, data = frame
            if kind == b"I" and data:
                self.pending += data
            elif kind == b"I":
                self.input_ended = True
            elif kind == b"S":
                try:
                    os.killpg(self.process.pid, json.loads(data))
                except ProcessLookupError:
                    pass
            elif kind == b"W" and self.tty is not None:
                resize(self.tty, json.loads(data))

    def close(self):
        for fd in [*self.streams, self.stdin]:
            if fd is not None:
                os.close(fd)


def take_terminal():
    """In the child: its standard input becomes its controlling terminal."""
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)


def resize(fd, size):
    fcntl.ioctl(fd, termios.TIOCSWINSZ, struct.pack("HHHH", *size, 0, 0))


def serve(channel):
    """Answer the host for ever."""
    while True:
        frame = channel.frame()
        if frame is None:
            channel.fill()
            continue
        kind, data = frame
        if kind == b"P":
            request = json.loads(data)
            if request.get("time"):
                time.clock_settime(time.CLOCK_REALTIME, request["time"])
            channel.send(b"P", data)
        elif kind == b"R":
            try:
                status = Command(channel, json.loads(data)).run()
            except OSError as error:
                channel.send(b"E", f"lab: {error.filename or ''}: {error.strerror}\n".encode())
                status = 126 if isinstance(error, PermissionError) else 127
            channel.send(b"X", json.dumps(status).encode())


def main():
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    channel = Channel(find_port())
    channel.send(b"H")
    serve(channel)


if __name__ == "__main__":
    main()
