"""The worker's program, which is compiled into the folder of the extension: see worker.h."""

from __future__ import annotations

import os
import shlex
import subprocess
import sysconfig
from pathlib import Path

import headers
import linking

HERE = Path(__file__).resolve().parent
SOURCES = ("worker", "loop", "names", "watches")

_SECONDS = 300


def name(release: str) -> str:
    """Return the program's file name: it carries the release of Xen, as the extension's does."""
    return f"pyxen-worker-{release}"


def build(folder: Path) -> Path:
    """Compile it for the installed Xen release, and return its path.

    Raises:
        headers.HeadersNotFound: Xen's headers are missing.
        linking.LinkFailed: It does not compile, or others than the headers' libraries were linked.
    """
    release = headers.xen_release()
    target = folder / name(release)
    command = [
        *headers.compiler(),
        *_words("CPPFLAGS"),
        *_words("CFLAGS"),
        *linking.flags("--cflags"),
        f"-DLIBXL_API_VERSION={headers.LIBXL_API_VERSION}",
        "-O1",
        "-g0",
        # libxl is to find the definitions of names.c and watches.c before its own.
        "-rdynamic",
        "-pthread",
        "-o",
        str(target),
        *(str(HERE / f"{source}.c") for source in SOURCES),
        # As the extension, it finds libxl where this Python's own extensions find their libraries.
        *_rpaths(),
        *_words("LDFLAGS"),
        *linking.flags("--libs"),
        "-ldl",
    ]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=_SECONDS)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise linking.LinkFailed(f"the worker's program does not compile: {error}") from error
    if done.returncode:
        raise linking.LinkFailed(f"the worker's program does not compile:\n{done.stderr}")
    linking.check(target, release)
    return target


def _rpaths() -> list[str]:
    words = shlex.split(sysconfig.get_config_var("LDSHARED") or "")
    # The option and its path may be two words.
    return [
        word
        for before, word in zip(["", *words], words, strict=False)
        if word.startswith(("-Wl,-rpath", "-Wl,-R")) or before == "-Wl,-rpath"
    ]


def _words(variable: str) -> list[str]:
    return shlex.split(os.environ.get(variable, ""))
