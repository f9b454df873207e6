"""The text on the screen of a guest, read through VNC.

A reader of RFB as small as one can be, for tests: the screen is asked for once, as raw pixels, and the letters of a VGA
text mode are found by the shapes that the VGA BIOS has of them.
"""

from __future__ import annotations

import functools
import socket
import struct
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Screen", "look"]

SECONDS = 60
_VERSION = b"RFB 003.008\n"
_RAW, _DESKTOP_SIZE = 0, -223
_PIXELS = struct.pack(">BBBBHHHBBB3x", 32, 24, 0, 1, 255, 255, 255, 16, 8, 0)
"""32 bits a pixel, little endian."""

_LINES = 16
"""Lines of pixels of a letter; it is 9 pixels wide on a screen of 720, 8 on others."""

_LETTER_A = bytes([0, 0, 0x10, 0x38, 0x6C, 0xC6, 0xC6, 0xFE, 0xC6, 0xC6, 0xC6, 0xC6, 0, 0, 0, 0])


@dataclass(frozen=True)
class Screen:
    """A picture of a screen.

    Attributes:
        width: In pixels.
        height: In pixels.
        pixels: Four bytes for each, line by line.
    """

    width: int
    height: int
    pixels: bytes

    def text(self) -> str:
        """Return its text; what is no letter is ``?``."""
        wide = 9 if self.width == 720 else 8
        rows = []
        for top in range(0, self.height - _LINES + 1, _LINES):
            cells = [self._letter(left, top) for left in range(0, self.width - wide + 1, wide)]
            rows.append("".join(cells).rstrip())
        return "\n".join(rows)

    def _letter(self, left: int, top: int) -> str:
        lines = []
        for y in range(top, top + _LINES):
            place = (y * self.width + left) * 4
            lines.append([self.pixels[each : each + 3] for each in range(place, place + 32, 4)])
        ground = lines[0][0]
        shape = bytes(sum((pixel != ground) << (7 - bit) for bit, pixel in enumerate(line)) for line in lines)
        return _letters().get(shape, "?")


@functools.cache
def _letters() -> dict[bytes, str]:
    """Return the shapes of letters, from the VGA BIOS that guests have."""
    rom = Path("/usr/share/seabios/vgabios-stdvga.bin").read_bytes()
    start = rom.index(_LETTER_A) - ord("A") * _LINES
    return {rom[start + code * _LINES : start + (code + 1) * _LINES]: chr(code) for code in range(126, 31, -1)}


def look(address: str, port: int) -> Screen:
    """Return what a VNC server shows that wants no password.

    Raises:
        OSError: It cannot be reached, or does not answer.
        AssertionError: It wants a password, or does not speak RFB 3.8.
    """
    with socket.create_connection((address, port), SECONDS) as server, server.makefile("rb") as answers:

        def read(form: str) -> tuple[int, ...]:
            data = answers.read(struct.calcsize(form))
            assert len(data) == struct.calcsize(form), "the server has closed the connection"
            return struct.unpack(form, data)

        server.settimeout(SECONDS)
        assert answers.read(12) == _VERSION
        server.sendall(_VERSION)
        assert 1 in answers.read(*read(">B")), "the server wants a password"
        server.sendall(b"\x01")
        assert read(">I") == (0,)
        server.sendall(b"\x01")  # others may look, too
        width, height, length = read(">HH16xI")
        answers.read(length)
        server.sendall(struct.pack(">B3x16s", 0, _PIXELS))
        server.sendall(struct.pack(">BxHii", 2, 2, _RAW, _DESKTOP_SIZE))
        while True:
            server.sendall(struct.pack(">BBHHHH", 3, 0, 0, 0, width, height))
            pixels = bytearray(width * height * 4)
            resized = False
            kind, count = read(">BxH")
            assert kind == 0, "the server says something else than what it shows"
            for _ in range(count):
                x, y, wide, high, encoding = read(">HHHHi")
                if encoding == _DESKTOP_SIZE:
                    width, height, resized = wide, high, True
                    continue
                for line in range(y, y + high):
                    place = (line * width + x) * 4
                    pixels[place : place + wide * 4] = answers.read(wide * 4)
            if not resized:
                return Screen(width, height, bytes(pixels))
