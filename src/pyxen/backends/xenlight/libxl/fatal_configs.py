"""Checks for configurations on which libxl would call ``abort`` and end the process."""

from __future__ import annotations

import os
import re
from typing import Any, Final

from pyxen._printable import printable
from pyxen.backends.xenlight.libxl.binding import release
from pyxen.backends.xenlight.libxl.error_map import BACKEND
from pyxen.errors import FileMissing, UnsupportedFeature

__all__ = ["check_not_fatal"]

_WITHOUT_TRADITIONAL: Final = (4, 21)
"""Since this release, libxl supports one device model only, and aborts if an HVM guest has another one or none."""

_TRADITIONAL: Final = "qemu_xen_traditional"


def check_not_fatal(document: dict[str, Any], xen: str = release) -> None:
    """Refuse a configuration on which libxl would abort the process, or change it so that libxl only fails.

    Args:
        document: The configuration as libxl's JSON, parsed.
        xen: The Xen release, e.g. ``4.20``.

    Raises:
        UnsupportedFeature: This release does not have the device model.
        FileMissing: The device model is not on the host.
    """
    build = document.get("b_info", {})
    if "type.hvm" not in build or _number(xen) < _WITHOUT_TRADITIONAL:
        return
    if build.get("device_model_version") == _TRADITIONAL:
        raise UnsupportedFeature(
            f"device_model_version: Xen {xen} has no qemu-xen-traditional: leave it out, for qemu-xen",
            feature="device_model_version",
            backend=BACKEND,
        )
    program = build.get("device_model")
    if program is not None and build.get("device_model_stubdomain") != "True" and not os.access(program, os.X_OK):
        missing = f"device_model_override: {printable(program)} is not on the host, or cannot be run"
        error = FileMissing(missing, operation="create")
        error.filename = program
        raise error
    # Without this, libxl looks for its own device model, and aborts later if it is missing.
    build.setdefault("device_model_version", "qemu_xen")


def _number(xen: str) -> tuple[int, ...]:
    return tuple(map(int, re.findall(r"\d+", xen)[:2]))
