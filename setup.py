"""Decides one thing: whether the extension can be built here. Everything else is in pyproject.toml.

``PYXEN_XENLIGHT=auto`` (the default) builds it where the Xen headers are, ``require`` fails where they are not, and
``skip`` never builds it: configurations, their formats and the libvirt backend need no extension.
"""

import os
import subprocess
import sys
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

sys.path.insert(0, str(Path(__file__).resolve().parent / "cffi_build"))

import headers
import linking


def has_headers() -> bool:
    """Tell whether the headers of a Xen release are installed."""
    try:
        return subprocess.run(["pkg-config", "--exists", *linking.PACKAGES], check=False).returncode == 0
    except OSError:
        return False


class CheckedBuild(build_ext):
    """Builds the extension, and checks which libraries it was linked to."""

    def build_extension(self, ext: Extension) -> None:
        """Build and check, before the module is copied anywhere."""
        super().build_extension(ext)
        try:
            linking.check(Path(self.get_ext_fullpath(ext.name)), headers.xen_release())
        except linking.LinkFailed as error:
            sys.exit(str(error))


wanted = os.environ.get("PYXEN_XENLIGHT", "auto")
if wanted not in {"auto", "require", "skip"}:
    sys.exit(f"PYXEN_XENLIGHT={wanted}: must be auto, require or skip")
if wanted == "require" and not has_headers():
    sys.exit(
        "PYXEN_XENLIGHT=require, but pkg-config does not know Xen's libraries: "
        "install libxen-dev and pkg-config (Debian)"
    )
build = wanted == "require" or (wanted == "auto" and has_headers())

if build:
    setup(cffi_modules=["cffi_build/xenlight.py:ffibuilder"], cmdclass={"build_ext": CheckedBuild})
else:
    setup()
