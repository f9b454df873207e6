"""What pkg-config tells the compiler and the linker about Xen, and a check of what was linked."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

PACKAGES = ("xenlight", "xlutil", "xencontrol", "xenstore", "xentoollog")
"""pkg-config's names of the libraries that are bound."""

_NEEDED = re.compile(r"\(NEEDED\).*\[libxenlight\.so\.(\d+\.\d+)[.\d]*\]")
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
    return done.stdout.split()


def check(module: Path, release: str) -> None:
    """Check that a module is linked to the libxenlight of the release whose headers it was compiled with.

    Raises:
        LinkFailed: It is linked to another one; the module is removed.
    """
    dynamic = subprocess.run(["readelf", "-d", module], capture_output=True, text=True, check=True, timeout=_SECONDS)
    linked = _NEEDED.search(dynamic.stdout)
    if linked is None or linked[1] != release:
        module.unlink()
        found = f"that of Xen {linked[1]}" if linked else "none that names its release"
        raise LinkFailed(
            f"the headers are of Xen {release}, but the linker took another libxenlight ({found}): let pkg-config find "
            "headers and libraries of one installation (PKG_CONFIG_PATH), with a libxenlight.so beside the others"
        )
