"""What pkg-config tells the compiler and the linker about Xen, and a check of what was linked."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
from pathlib import Path

PACKAGES = ("xenlight", "xlutil", "xencontrol", "xenstore", "xentoollog", "xenhypfs")
"""pkg-config's names of the libraries that are bound."""

_NEEDED = re.compile(r"\(NEEDED\).*\[(lib(?:xenlight|xlutil|xenctrl)\.so\.(\d+\.\d+)[.\d]*)\]")
"""The libraries whose names carry Xen's release."""

_SECONDS = 60


class LinkFailed(Exception):
    """pkg-config does not know Xen's libraries, or others than its headers say were linked."""


def flags(kind: str) -> list[str]:
    """Return pkg-config's ``--cflags`` or ``--libs`` for Xen's libraries.

    Raises:
        LinkFailed: pkg-config is not installed, or does not know them.
    """
    try:
        done = subprocess.run(
            ["pkg-config", kind, *PACKAGES], capture_output=True, text=True, check=True, timeout=_SECONDS
        )
    except (OSError, subprocess.SubprocessError) as error:
        reason = getattr(error, "stderr", "") or str(error)
        raise LinkFailed(f"pkg-config does not know Xen's libraries: {reason.strip()}") from error
    return shlex.split(done.stdout)


def check(module: Path, release: str) -> None:
    """Check that a module is linked to the libraries of the release whose headers it was compiled with.

    Raises:
        LinkFailed: One of them is another release's, or none is libxenlight; the module is removed.
    """
    dynamic = subprocess.run(
        ["readelf", "-dW", module],
        capture_output=True,
        text=True,
        check=True,
        timeout=_SECONDS,
        env={**os.environ, "LC_ALL": "C"},
    )
    found = dict(_NEEDED.findall(dynamic.stdout))
    wrong = sorted(name for name, linked in found.items() if linked != release)
    if wrong or not any(name.startswith("libxenlight.") for name in found):
        module.unlink()
        took = ", ".join(wrong) or "no libxenlight of a release"
        raise LinkFailed(
            f"the headers are of Xen {release}, but the linker took {took}: let pkg-config find headers and libraries "
            "of one installation (PKG_CONFIG_PATH), with libxenlight.so, libxlutil.so and libxenctrl.so beside the "
            f"others. pkg-config says {shlex.join(flags('--libs'))}"
        )
