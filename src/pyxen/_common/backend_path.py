"""The path of a device's backend in xenstore, as libxl notes it: ``/local/domain/0/backend/vif/5/0``."""

from __future__ import annotations

import re
from typing import Final, NamedTuple

__all__ = ["BackendPath", "backend_path"]

_PATH: Final = re.compile(r"/local/domain/(\d{1,5})/backend/([\w-]{1,32})/(\d{1,5})/(\d{1,10})", re.ASCII)
_LAST_DOMID: Final = 0x7FEF


class BackendPath(NamedTuple):
    """A backend's path, and what it says."""

    path: str
    backend_domid: int
    """The domain that serves the device."""
    kind: str
    domid: int
    """The domain that uses it."""
    devid: int


def backend_path(text: str | None) -> BackendPath | None:
    """Return what a path says; None if it leads to no backend.

    libxl writes ``(null)/backend/vif/5/0`` where xenstored does not tell it the path of a domain.
    """
    found = _PATH.fullmatch(text or "")
    if found is None or max(int(found[1]), int(found[3])) > _LAST_DOMID:
        return None
    return BackendPath(found[0], int(found[1]), found[2], int(found[3]), int(found[4]))
