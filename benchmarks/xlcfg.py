"""How fast xl configurations are read and written: ``python -m benchmarks.xlcfg`` from the top of the checkout.

The measure is libxlutil's bare parse of the same text in the same run; it needs the oracle
(``python -m tests.oracle.setup``) and cffi.
"""

from __future__ import annotations

import subprocess
import sys
import timeit
from collections.abc import Callable
from pathlib import Path
from time import perf_counter
from typing import Any

import cffi

from pyxen import xlcfg
from tests.oracle.setup import oracle

TEXT = (Path(__file__).parent / "web1.cfg").read_text()
MOST_MICROSECONDS = {"xlcfg.loads": 250, "xlcfg.dumps": 350, "xlcfg.lint": 450}
MOST_RATIO = 30
ROUNDS = 100
"""Many short ones: on a busy machine some of them are undisturbed."""
MOST_IMPORT_MILLISECONDS = 20


def best(call: Callable[[], object], number: int) -> float:
    """Return the seconds of one call, the best of several rounds."""
    return min(timeit.repeat(call, number=number, repeat=ROUNDS)) / number


def libxlutil(release: str = "4.17") -> Callable[[], object]:
    """Return a function that has the real libxlutil parse the text, in this process."""
    ffi: Any = cffi.FFI()
    ffi.cdef(
        """
        void *xlu_cfg_init(void *report, const char *name);
        int xlu_cfg_readdata(void *config, const char *data, int length);
        void xlu_cfg_destroy(void *config);
        void *fopen(const char *name, const char *mode);
        """
    )
    folder = next(folder for folder in oracle(release).library_folders() if list(folder.glob("libxlutil.so.*")))
    # Loaded in the order of their needs, as the folder is not one that the loader looks in.
    names = ("xentoollog", "xentoolcore", "xencall", "xenevtchn", "xengnttab", "xenforeignmemory", "xendevicemodel")
    for name in (*names, "xenstore", "xenhypfs", "xenctrl", "xenguest", "yajl", "xenlight"):
        path = min(folder.glob(f"lib{name}.so.*"))
        _LOADED.append(ffi.dlopen(str(path), ffi.RTLD_GLOBAL | ffi.RTLD_NOW))
    library: Any = ffi.dlopen(str(next(folder.glob("libxlutil.so.*"))))
    c_library: Any = ffi.dlopen(None)
    report = c_library.fopen(b"/dev/null", b"w")
    data = TEXT.encode()

    def parse() -> None:
        config = library.xlu_cfg_init(report, b"text")
        assert library.xlu_cfg_readdata(config, data, len(data)) == 0
        library.xlu_cfg_destroy(config)

    return parse


_LOADED: list[object] = []


def import_milliseconds(statement: str) -> float:
    """Return the time of a fresh interpreter that runs one statement, the best of several."""
    found = []
    for _ in range(20):
        start = perf_counter()
        subprocess.run([sys.executable, "-c", statement], check=True, timeout=600)
        found.append(perf_counter() - start)
    return min(found) * 1000


def main() -> int:
    """Print the figures; return 1 if one is over its limit."""
    config = xlcfg.loads(TEXT)
    reference = best(libxlutil(), 200)
    reading = best(lambda: xlcfg.loads(TEXT), 20)
    figures = [
        ("libxlutil's parse", reference),
        ("xlcfg.loads", reading),
        ("xlcfg.parse", best(lambda: xlcfg.parse(TEXT), 50)),
        ("xlcfg.dumps", best(lambda: xlcfg.dumps(config), 10)),
        ("xlcfg.lint", best(lambda: xlcfg.lint(TEXT), 10)),
    ]
    print(f"a configuration of {len(TEXT.splitlines())} lines")
    failed = False
    for name, seconds in figures:
        limit = MOST_MICROSECONDS.get(name)
        microseconds = seconds * 1e6
        failed |= limit is not None and microseconds > limit
        print(
            f"{name:20} {microseconds:8.1f} us  {seconds / reference:6.1f} times"
            + (f"  (at most {limit})" if limit else "")
        )
    failed |= reading / reference > MOST_RATIO
    above = import_milliseconds("import pyxen.xlcfg") - import_milliseconds("import pyxen")
    failed |= above > MOST_IMPORT_MILLISECONDS
    print(f"import pyxen.xlcfg   {above:8.1f} ms above import pyxen  (at most {MOST_IMPORT_MILLISECONDS})")
    return 1 if failed else 0


if __name__ == "__main__":
    raise SystemExit(main())
