"""Run the tests of the C code with gcc's sanitizers of addresses and of undefined behaviour: ``make sanitize``.

The extension is compiled with them into build/sanitize for the tests in tests/unit/xenlight. tests/offhost compiles it,
and the stub, with them for each release, into the cache. Leaks are not looked for: Python never frees all that it has,
and the soak tests look at what grows. What they find ends the process, and so the test.
"""

from __future__ import annotations

import os
import subprocess
import sys
from functools import cache
from pathlib import Path

__all__ = ["environment", "flags", "runtime"]

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / "build" / "sanitize"
SWITCH = "PYXEN_SANITIZE"
"""The variable of the environment that turns them on."""

_FLAGS = ("-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-fno-omit-frame-pointer", "-g")
_OPTIONS = {
    "ASAN_OPTIONS": "detect_leaks=0:abort_on_error=1",
    "UBSAN_OPTIONS": "print_stacktrace=1:abort_on_error=1",
}


def environment() -> dict[str, str]:
    """Return the variables that turn them on, with how they report what they find."""
    return {SWITCH: "1", **_OPTIONS}


def flags() -> tuple[str, ...]:
    """Return the compiler's flags, none where sanitizers were not asked for."""
    return _FLAGS if os.environ.get(SWITCH) else ()


@cache
def _library(name: str) -> Path:
    found = subprocess.run(["gcc", f"-print-file-name={name}"], capture_output=True, text=True, check=True, timeout=60)
    return Path(found.stdout.strip()).resolve()


def runtime() -> list[Path]:
    """Return the libraries to preload, in order; none where sanitizers were not asked for."""
    return [_library("libasan.so"), _library("libubsan.so")] if os.environ.get(SWITCH) else []


def main() -> int:
    """Compile the extension, and run the tests with it."""
    os.environ |= environment()
    subprocess.run(
        [sys.executable, ROOT / "cffi_build" / "xenlight.py", "--output", FOLDER],
        env={**os.environ, "CFLAGS": " ".join(flags())},
        cwd=ROOT, check=True, timeout=1200,
    )  # fmt: skip
    pytest = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
    unit = subprocess.run(
        [*pytest, "-p", "tests.sanitized", "tests/unit/xenlight"],
        env={**os.environ, "LD_PRELOAD": " ".join(map(str, runtime()))},
        cwd=ROOT, check=False, timeout=3600,
    )  # fmt: skip
    # The sanitizer keeps what is freed for a while, to see whether it is used: to the soak tests, that is growth.
    wanted = sys.argv[1:] or ["tests/offhost", "--ignore", "tests/offhost/test_soak.py"]
    offhost = subprocess.run([*pytest, *wanted], cwd=ROOT, check=False, timeout=7200)
    return unit.returncode or offhost.returncode


if __name__ == "__main__":
    sys.exit(main())
