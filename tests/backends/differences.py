"""Where a way to a host may differ: what docs/backends.toml says."""

from __future__ import annotations

from typing import Any

from pyxen import Host
from tests.backends.serving import SIMULATED
from tools.backends import table

__all__ = ["backend_of", "differs"]


def backend_of(host: Host) -> str:
    """Return what the table calls the way to a host."""
    if host.uri.startswith(SIMULATED):
        return "memory"
    scheme = host.uri.partition(":")[0]
    names: dict[str, str] = {one["uri"].partition(":")[0]: name for name, one in table()["backend"].items()}
    return names[scheme.partition("+")[0]]


def differs(host: Host, what: str) -> bool:
    """Tell whether a way is excused from what the others do."""
    entries: list[dict[str, Any]] = table()["difference"]
    entry = next(entry for entry in entries if entry["id"] == what)
    is_afar = "+" in host.uri.partition(":")[0] and not host.uri.startswith(SIMULATED)
    return backend_of(host) in entry["excused"] + (entry.get("excused_afar", []) if is_afar else [])
