"""The host's end of the agent in dom0 (`lab/dom0/agent.py`, which describes the frames)."""

from __future__ import annotations

import json
import os
import secrets
import select
import signal
import struct
import time
from typing import TYPE_CHECKING, Any

from lab.errors import BootFailed, CommandTimeout, LabError

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

_KILL_GRACE = 15.0
_SILENCE = 60.0
"""Seconds without a frame after which the agent is asked for one, and after as many more is given up."""
_CHUNK = 65536


class Gone(LabError):
    """The agent does not answer any more: QEMU has ended, or the emulated machine hangs."""


class Hangs(Gone):
    """The emulated machine hangs."""


class Agent:
    """Frames to and from dom0, one command at a time.

    Args:
        channel: Our end of the virtio-serial port.
    """

    def __init__(self, channel: socket.socket) -> None:
        self._channel = channel
        channel.settimeout(_SILENCE)
        self._buffer = bytearray()

    def wait_for_start(self, deadline: float) -> None:
        """Wait until the agent says that it runs.

        Raises:
            BootFailed: It did not, by the deadline (of `time.monotonic`).
        """
        while True:
            frame = self._frame(deadline)
            if frame is None:
                raise BootFailed("dom0's agent did not start in time")
            if frame[0] == b"H":
                return

    def ping(self, deadline: float) -> None:
        """Set dom0's clock and check that the agent answers.

        Raises:
            BootFailed: It did not answer, by the deadline (of `time.monotonic`).
        """
        token = secrets.token_hex(8)
        self._send(b"P", {"token": token, "time": time.time()})
        while True:
            frame = self._frame(deadline)
            if frame is None:
                raise BootFailed("dom0's agent does not answer")
            if frame[0] == b"P" and json.loads(frame[1])["token"] == token:
                return

    def execute(
        self,
        request: dict[str, Any],
        output: Callable[[bytes, bytes], None],
        *,
        timeout: float | None = None,
        stdin: int | None = None,
        resized: Callable[[], list[int] | None] = lambda: None,
    ) -> int:
        """Run a command to its end.

        Args:
            request: argv, cwd, env, tty, stdin.
            output: Called with ``b"O"`` or ``b"E"`` and what the command wrote there, as it comes.
            timeout: Seconds after which it is killed.
            stdin: A descriptor that is read and passed on, until its end.
            resized: The terminal's new size as [rows, columns] when that has changed.

        Returns:
            Its exit status; 128 + N if signal N ended it.

        Raises:
            CommandTimeout: It was killed after `timeout` seconds.
            Gone: QEMU ended meanwhile.
            Hangs: The emulated machine gives no sign of life.
        """
        self._send(b"R", request)
        deadline = None if timeout is None else time.monotonic() + timeout
        heard = time.monotonic()
        asked = False
        while True:
            if size := resized():
                self._send(b"W", size)
            stdin = self._forward(stdin)
            now = time.monotonic()
            # With a terminal to watch, wake up often enough to follow its size.
            until = now + 0.5 if request["tty"] else heard + (2 if asked else 1) * _SILENCE
            frame = self._frame(until if deadline is None else min(until, deadline), also=stdin)
            if frame is not None:
                heard, asked = time.monotonic(), False
                if frame[0] == b"X":
                    return int(json.loads(frame[1]))
                if frame[0] != b"P":
                    output(*frame)
            elif deadline is not None and time.monotonic() >= deadline:
                self._kill(output)
                raise CommandTimeout(f"`{' '.join(request['argv'])}` did not end within {timeout:g} s and was killed")
            elif asked and time.monotonic() >= heard + 2 * _SILENCE:
                raise Hangs(f"the emulated machine hangs: no sign of life for {2 * _SILENCE:.0f} s")
            elif not asked and time.monotonic() >= heard + _SILENCE:
                self._send(b"P", {"token": "", "time": time.time()})
                asked = True

    def close(self) -> None:
        """Close our end of the port."""
        self._channel.close()

    def _kill(self, output: Callable[[bytes, bytes], None]) -> None:
        self._send(b"S", int(signal.SIGKILL))
        deadline = time.monotonic() + _KILL_GRACE
        while frame := self._frame(deadline):
            if frame[0] == b"X":
                return
            if frame[0] != b"P":
                output(*frame)
        raise Hangs("the emulated machine hangs: it does not even kill a process")

    def _forward(self, stdin: int | None) -> int | None:
        """Pass on what can be read from a descriptor; None at its end."""
        if stdin is None or not select.select([stdin], [], [], 0)[0]:
            return stdin
        data = os.read(stdin, _CHUNK)
        self._send_bytes(b"I", data)
        return stdin if data else None

    def _send(self, kind: bytes, message: object) -> None:
        self._send_bytes(kind, json.dumps(message).encode())

    def _send_bytes(self, kind: bytes, data: bytes) -> None:
        try:
            self._channel.sendall(kind + struct.pack(">I", len(data)) + data)
        except TimeoutError:
            raise Hangs(f"the emulated machine hangs: it has taken no byte for {_SILENCE:.0f} s") from None
        except OSError as error:
            raise Gone(f"QEMU has ended ({error})") from error

    def _frame(self, deadline: float | None, also: int | None = None) -> tuple[bytes, bytes] | None:
        """The next frame; None when the deadline passed or the other descriptor became readable."""
        while True:
            if len(self._buffer) >= 5:
                length = struct.unpack(">I", self._buffer[1:5])[0]
                if len(self._buffer) >= 5 + length:
                    kind, data = bytes(self._buffer[:1]), bytes(self._buffer[5 : 5 + length])
                    del self._buffer[: 5 + length]
                    return kind, data
            wait = None if deadline is None else max(0.0, deadline - time.monotonic())
            channel = self._channel.fileno()
            watched = [channel] if also is None else [channel, also]
            if channel not in select.select(watched, [], [], wait)[0]:
                return None
            try:
                data = self._channel.recv(_CHUNK)
            except ConnectionResetError:  # it ended with something of ours unread
                data = b""
            if not data:
                raise Gone("QEMU has ended")
            self._buffer += data
