"""The command: ``python3 -m lab build|run|shell|extension|cc``."""

from __future__ import annotations

import argparse
import fcntl
import os
import signal
import struct
import sys
import termios
import tty
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from lab import accelerator, buildroot, releases, snapshots
from lab.errors import CommandTimeout, LabError
from lab.machine import Lab
from lab.prepare import prepare
from lab.progress import say

if TYPE_CHECKING:
    from collections.abc import Callable


def main(argv: list[str] | None = None) -> int:
    """Run the command line; returns the exit status (125: the lab itself failed)."""
    arguments = _parser().parse_args(argv)
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _leave)
    try:
        status: int = arguments.act(arguments)
    except CommandTimeout as error:
        print(f"lab: {error}", file=sys.stderr)
        return 124
    except LabError as error:
        print(f"lab: {error}", file=sys.stderr)
        return 125
    except KeyboardInterrupt:
        return 130
    return status


def _leave(number: int, _frame: object) -> NoReturn:
    """End through every ``finally``, so that QEMU and temporary folders go too."""
    raise SystemExit(128 + number)


def _build(arguments: argparse.Namespace) -> int:
    release = releases.find(arguments.xen)
    built = prepare(release).image
    chosen = accelerator.choose(release, built)
    snapshots.ensure(release, built, chosen)
    say(f"Xen {release.xen} is ready, by {chosen.upper()}: {built.folder}")
    return 0


def _run(arguments: argparse.Namespace) -> int:
    if not arguments.command:
        raise LabError("nothing to run: put the command after `--`, as in `python3 -m lab run -- xl list`")
    puts, gets = ([_pair(text) for text in texts] for texts in (arguments.put, arguments.get))
    with Lab(arguments.xen, cpus=arguments.cpus, cold=arguments.cold) as dom0:
        for source, destination in puts:
            dom0.put(source, destination)
        result = dom0.run(
            arguments.command,
            timeout=arguments.timeout,
            stdin=0 if arguments.stdin else None,
            on_stdout=_writer(1),
            on_stderr=_writer(2),
        )
        for source, destination in gets:
            dom0.get(source, destination)
    return result.status


def _shell(arguments: argparse.Namespace) -> int:
    if not os.isatty(0) or not os.isatty(1):
        raise LabError("`shell` needs a terminal; for scripts there is `run -- COMMAND`")
    command = arguments.command or ["bash", "-i"]
    with Lab(arguments.xen, cpus=arguments.cpus, cold=arguments.cold) as dom0:
        size = _window()
        saved = termios.tcgetattr(0)

        def resized() -> list[int] | None:
            nonlocal size
            before, size = size, _window()
            return size if size != before else None

        try:
            tty.setraw(0)
            return dom0.terminal(command, size, resized)
        finally:
            termios.tcsetattr(0, termios.TCSADRAIN, saved)


def _window() -> list[int]:
    """Rows and columns of our terminal."""
    rows, columns, _, _ = struct.unpack("HHHH", fcntl.ioctl(0, termios.TIOCGWINSZ, bytes(8)))
    return [rows or 24, columns or 80]


def _extension(arguments: argparse.Namespace) -> int:
    folder = buildroot.extension(releases.find(arguments.xen))
    if folder is None:
        raise LabError("this checkout has no cffi_build/xenlight.py, so there is no extension to compile")
    for path in sorted(path for path in folder.iterdir() if path.is_file()):
        print(path)
    return 0


def _cc(arguments: argparse.Namespace) -> int:
    buildroot.compile_c(releases.find(arguments.xen), Path(arguments.source), Path(arguments.out), arguments.flags)
    return 0


def _writer(descriptor: int) -> Callable[[bytes], None]:
    """Pass output on at once, unbuffered."""

    def write(data: bytes) -> None:
        rest = memoryview(data)
        while rest:
            rest = rest[os.write(descriptor, rest) :]

    return write


def _pair(text: str) -> tuple[str, str]:
    source, separator, destination = text.partition(":")
    if not (source and separator and destination):
        raise LabError(f"expected SRC:DST, got {text!r}")
    return source, destination


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python3 -m lab", description="A real Xen host inside QEMU: on KVM where that nests, else emulated."
    )
    verbs = parser.add_subparsers(required=True, metavar="VERB")
    common = argparse.ArgumentParser(add_help=False)
    known = [release.xen for release in releases.RELEASES]
    common.add_argument(
        "--xen", choices=known, default=releases.DEFAULT, help=f"Xen release (default {releases.DEFAULT})"
    )
    start = argparse.ArgumentParser(add_help=False, parents=[common])
    start.add_argument(
        "--cpus", type=int, choices=range(1, 9), default=1, metavar="N", help="emulated processors (default 1)"
    )
    start.add_argument("--cold", action="store_true", help="boot from nothing instead of restoring the snapshot")

    verb = verbs.add_parser("build", parents=[common], help="build the image, the extension and the snapshot")
    verb.set_defaults(act=_build)

    verb = verbs.add_parser("run", parents=[start], help="run a command in dom0; exits with its status")
    verb.add_argument("--timeout", type=float, metavar="S", help="kill the command after S seconds and exit with 124")
    verb.add_argument("--put", action="append", default=[], metavar="SRC:DST", help="copy into dom0 before")
    verb.add_argument("--get", action="append", default=[], metavar="SRC:DST", help="copy out of dom0 afterwards")
    verb.add_argument("--stdin", action="store_true", help="pass our standard input on (slow: 100 kB/s)")
    verb.add_argument("command", nargs="*", metavar="CMD", help="after --: the program and its arguments")
    verb.set_defaults(act=_run)

    verb = verbs.add_parser("shell", parents=[start], help="an interactive shell in dom0")
    verb.add_argument("command", nargs="*", metavar="CMD", help="another program to run on the terminal")
    verb.set_defaults(act=_shell)

    verb = verbs.add_parser("extension", parents=[common], help="compile pyxen's extension; prints where it is")
    verb.set_defaults(act=_extension)

    verb = verbs.add_parser("cc", parents=[common], help="compile a C program for dom0")
    verb.add_argument("source", metavar="SRC")
    verb.add_argument("out", metavar="OUT")
    verb.add_argument("flags", nargs="*", metavar="FLAG", help="after --: arguments for gcc, as in -lxenlight")
    verb.set_defaults(act=_cc)
    return parser


if __name__ == "__main__":
    sys.exit(main())
