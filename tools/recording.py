"""The recording of ``make demo`` in README: docs/figures/demo.cast, and the picture of it, docs/figures/demo.svg.

``python -m tools.recording`` (``make recording``) runs the demonstration on a terminal and records it, in the format of
asciinema (version 2): ``asciinema play docs/figures/demo.cast`` plays it. ``--picture`` only makes the picture again,
from the recording. In the picture each line appears when it was written; long pauses are shortened. Where pictures do
not move, or readers do not want them to, all lines are there.
"""

from __future__ import annotations

import argparse
import codecs
import json
import os
import pty
import re
import select
import struct
import subprocess
import sys
import termios
import time
from fcntl import ioctl
from html import escape
from pathlib import Path
from typing import Final, NamedTuple

ROOT: Final = Path(__file__).resolve().parents[1]
CAST: Final = ROOT / "docs" / "figures" / "demo.cast"
PICTURE: Final = ROOT / "docs" / "figures" / "demo.svg"
COMMAND: Final = ("make", "--no-print-directory", "demo")
TITLE: Final = "make demo"

_COLUMNS: Final = 104
_ROWS: Final = 48
_SECONDS: Final = 1800.0
"""How long the demonstration may take, with the building of the lab."""

_PAUSE: Final = 1.2
"""Seconds of the longest pause in the picture."""
_END: Final = 6.0
"""Seconds for which the whole is shown, before it begins again."""
_TYPED: Final = 0.8
"""Seconds before the first line appears."""

_SEQUENCES: Final = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]|\x1b\][^\x07]*\x07|\x1b.")

_FONT: Final = 13
_WIDTH: Final = 7.83
_HEIGHT: Final = 18
_MARGIN: Final = 16
_STYLE: Final = (
    "text{font:13px ui-monospace,'DejaVu Sans Mono',Menlo,Consolas,monospace;fill:#d8dee9;white-space:pre}"
    ".prompt{fill:#8fbc8f}"
)


class Line(NamedTuple):
    """A line of the recording.

    Attributes:
        seconds: When it was complete.
        text: What it says.
    """

    seconds: float
    text: str


def record(command: tuple[str, ...]) -> str:
    """Run a command on a terminal of its own, and return the recording.

    Raises:
        RuntimeError: It failed, or took too long.
    """
    master, slave = pty.openpty()
    ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", _ROWS, _COLUMNS, 0, 0))
    environment = {**os.environ, "TERM": "xterm-256color"}
    start = time.monotonic()
    process = subprocess.Popen(
        command, cwd=ROOT, stdin=slave, stdout=slave, stderr=slave, env=environment, start_new_session=True
    )
    os.close(slave)
    header = {"version": 2, "width": _COLUMNS, "height": _ROWS, "title": TITLE, "env": {"TERM": environment["TERM"]}}
    lines = [json.dumps(header)]
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    try:
        while data := _read(master, start + _SECONDS):
            now = time.monotonic() - start
            text = decoder.decode(data)
            sys.stdout.write(text)
            sys.stdout.flush()
            lines.append(json.dumps([round(now, 3), "o", text], ensure_ascii=False))
        if process.wait(60) != 0:
            raise RuntimeError(f"{' '.join(command)} ended with status {process.returncode}")
    finally:
        process.kill()
        process.wait(60)
        os.close(master)
    return "\n".join(lines) + "\n"


def _read(master: int, until: float) -> bytes:
    if not select.select([master], [], [], max(0.0, until - time.monotonic()))[0]:
        raise RuntimeError(f"it has not ended after {_SECONDS:.0f} s")
    try:
        return os.read(master, 1 << 16)
    except OSError:  # as the terminal answers when nobody has its other side open
        return b""


def lines_of(cast: str) -> list[Line]:
    """Return the lines of a recording, without the control sequences of terminals."""
    found, rest = [], ""
    for event in cast.splitlines()[1:]:
        seconds, kind, text = json.loads(event)
        if kind == "o":
            *complete, rest = (rest + text).split("\n")
            found += [
                Line(seconds, _SEQUENCES.sub("", each).rstrip("\r").rpartition("\r")[2].expandtabs())
                for each in complete
            ]
    return found


def _shortened(lines: list[Line]) -> list[Line]:
    """Return lines with no long pause between them, the first of them soon."""
    shown, before, now = [], None, _TYPED
    for line in lines:
        now += 0.0 if before is None else min(line.seconds - before, _PAUSE)
        before = line.seconds
        shown.append(Line(now, line.text))
    return shown


def picture(cast: str) -> str:
    """Return the picture of a recording."""
    lines = _shortened(lines_of(cast))
    total = lines[-1].seconds + _END
    width = round(_COLUMNS * _WIDTH + 2 * _MARGIN)
    height = (len(lines) + 1) * _HEIGHT + 2 * _MARGIN
    drawn, keyframes = [], []
    for number, line in enumerate(lines, 1):
        if not line.text:
            continue
        y = _MARGIN + number * _HEIGHT + _FONT
        percent = 100 * line.seconds / total
        keyframes.append(f"@keyframes l{number}{{0%{{opacity:0}}{percent:.2f}%,100%{{opacity:1}}}}")
        drawn.append(f'<text x="{_MARGIN}" y="{y}" style="animation-name:l{number}">{escape(line.text)}</text>')
    moving = f"text[style]{{animation:{total:.1f}s step-end infinite}}"
    style = f"{_STYLE}@media(prefers-reduced-motion:no-preference){{{moving}}}{''.join(keyframes)}"
    size = f'viewBox="0 0 {width} {height}" width="{width}" height="{height}"'
    return (
        "\n".join(
            [
                f'<svg role="img" {size} xml:space="preserve" xmlns="http://www.w3.org/2000/svg">',
                f"<title>{TITLE}: domains are created, listed and destroyed on a real Xen host</title>",
                f"<style>{style}</style>",
                f'<rect width="{width}" height="{height}" rx="8" fill="#1d2430"/>',
                f'<text x="{_MARGIN}" y="{_MARGIN + _FONT}"><tspan class="prompt">$</tspan> {TITLE}</text>',
                *drawn,
                "</svg>",
            ]
        )
        + "\n"
    )


def main() -> int:
    """Record the demonstration, unless only the picture is wanted, and write the picture."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--picture", action="store_true", help="only make the picture, from the recording that is there"
    )
    if not parser.parse_args().picture:
        CAST.write_text(record(COMMAND))
    PICTURE.write_text(picture(CAST.read_text()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
