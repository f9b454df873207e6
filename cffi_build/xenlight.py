"""The ffibuilder of pyxen's binding to libxenlight, libxlutil, libxenstore and what is needed of libxenctrl.

setup.py takes `ffibuilder` from here; as a script it compiles the extension and the worker's program into a folder, and
prints the extension's path::

    python3 cffi_build/xenlight.py --output build
"""

from __future__ import annotations

import argparse
import sys
import sysconfig
from pathlib import Path

import cffi

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))  # setuptools runs this file by path

import headers  # noqa: E402 (its folder is known only now)
import linking  # noqa: E402 (likewise)
import program  # noqa: E402 (likewise)

SYSTEM_INCLUDES = ("poll.h", "stdlib.h", "sys/time.h")

PY_LIMITED_API = "0x030a0000"
"""The oldest Python whose stable ABI is used, 3.10: newer ones load the same file, ``*.abi3.so``. From 3.11 on its
``Python.h`` no longer includes ``string.h``, which cffi's code needs."""

OLD_CFFI_CANNOT = {"libxl_mac_copy", "libxl_hwcap_copy"}
"""cffi before 2.0 writes invalid C for a pointer to a const array, which these two take."""


def is_limited() -> bool:
    """Tell whether this Python has the stable ABI: one without the GIL, or built for debugging, does not."""
    return not any(sysconfig.get_config_var(name) for name in ("Py_GIL_DISABLED", "Py_DEBUG", "Py_TRACE_REFS"))


def module_name(release: str) -> str:
    """Return the extension's full name: it carries the release, since Xen's sonames do."""
    return f"pyxen.backends.xenlight.libxl._xenlight_{release.replace('.', '_')}"


def selection() -> headers.Selection:
    """Select from the installed headers what is bound."""
    source = "".join(f"#include <{name}>\n" for name in headers.LIBXL_HEADERS)
    pin = f"-DLIBXL_API_VERSION={headers.LIBXL_API_VERSION}"
    found = list(headers.declarations(headers.preprocess(source, pin)))
    selected = headers.select(found, headers.LIBXL_HEADERS, headers.preprocess(source, pin, "-dM"))
    if int(cffi.__version__.split(".")[0]) < 2:
        for name in OLD_CFFI_CANNOT:
            selected.functions.remove(name)
            selected.omitted[name] = "cffi before 2.0 cannot express a pointer to a const array"
        selected.declarations = [
            text for text in selected.declarations if not any(f"{name}(" in text for name in OLD_CFFI_CANNOT)
        ]
    return selected


def ffibuilder() -> cffi.FFI:
    """Return the builder for the installed Xen release.

    Raises:
        headers.HeadersNotFound: Xen's headers or the compiler are missing.
        linking.LinkFailed: pkg-config does not know Xen's libraries.
    """
    cflags, libs = linking.flags("--cflags"), linking.flags("--libs")
    builder = cffi.FFI()
    extra, needs_libxl = (HERE / "extra.cdef").read_text().split("/* xenctrl.h", 1)
    builder.cdef(extra)
    builder.cdef("\n".join(selection().declarations))
    builder.cdef("/* xenctrl.h" + needs_libxl)
    limited = [("Py_LIMITED_API", PY_LIMITED_API)] if is_limited() else []
    includes = [*SYSTEM_INCLUDES, *headers.LIBXL_HEADERS, "xenctrl.h"]
    builder.set_source(
        module_name(headers.xen_release()),
        "".join(f"#include <{name}>\n" for name in includes)
        + '#include "shim.h"\n#include "loop.h"\n#include "names.h"\n#include "worker.h"\n',
        sources=[str(HERE / f"{name}.c") for name in ("shim", "loop", "names", "watches")],
        include_dirs=[str(HERE)],
        define_macros=[("LIBXL_API_VERSION", headers.LIBXL_API_VERSION), *limited],
        py_limited_api=bool(limited),
        libraries=[flag[2:] for flag in libs if flag.startswith("-l")],
        extra_link_args=[flag for flag in libs if not flag.startswith("-l")],
        # Xen ships no debug symbols for us to match, and -O1 halves the time of compiling 800 wrappers.
        extra_compile_args=[*cflags, "-O1", "-g0", "-Werror=incompatible-pointer-types"],
    )
    return builder


def main() -> int:
    """Compile the extension and the worker's program into a folder; the extension's path is the last line printed."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--output", type=Path, required=True, help="folder for what is compiled")
    output: Path = parser.parse_args().output
    try:
        builder = ffibuilder()
    except (headers.HeadersNotFound, linking.LinkFailed) as error:
        print(error, file=sys.stderr)
        return 1
    output.mkdir(parents=True, exist_ok=True)
    build = output / "build"
    compiled = Path(builder.compile(tmpdir=str(build)))
    suffix = ".abi3.so" if is_limited() else sysconfig.get_config_var("EXT_SUFFIX")
    target = output / f"{compiled.name.partition('.')[0]}{suffix}"
    compiled.replace(target)
    try:
        linking.check(target, headers.xen_release())
        program.build(output)
    except linking.LinkFailed as error:
        print(error, file=sys.stderr)
        return 1
    print(target)
    return 0


if __name__ == "__main__":
    sys.exit(main())
