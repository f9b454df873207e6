"""JSON into libxl's structures.

``libxl_domain_config_from_json`` is the simple and complete way in, but it passes over keys that it does not know. So
the keys are checked first, against the structures of the Xen release that the binding was compiled for.
"""

from __future__ import annotations

import functools
import json
import re
from typing import Any

from pyxen.errors import ConfigError, UnsupportedFeature
from pyxen.xenlight.binding import CData, ffi, lib, release

__all__ = ["check_keys", "domain_config"]

_UNION_KEY = re.compile(r"(\w+)\.(\w+)$")  # "type.hvm": the member of the union that the key "type" chooses


def check_keys(value: Any, ctype: str = "libxl_domain_config") -> None:
    """Check that a parsed JSON text has only keys that this Xen release knows.

    Raises:
        UnsupportedFeature: It has others; the first one is named.
    """
    _check(value, ffi.typeof(ctype), "")


def _check(value: Any, ctype: Any, path: str) -> None:
    while ctype.kind in {"pointer", "array"}:
        ctype = ctype.item
    if isinstance(value, list):
        for index, item in enumerate(value):
            _check(item, ctype, f"{path}[{index}]")
    elif isinstance(value, dict) and ctype.kind in {"struct", "union"}:
        for key, item in value.items():
            where = f"{path}.{key}" if path else key
            member = _member(ctype, key)
            if member is None and item == {} and "." in key:
                continue  # the choice has no members of its own, so C has no structure for it
            if member is None:
                raise UnsupportedFeature(
                    f"Xen {release} has no {where}: leave it out, or use a newer Xen",
                    feature=where,
                    backend=f"xenlight (Xen {release})",
                )
            _check(item, member, where)


@functools.lru_cache(maxsize=4096)  # cffi makes the list of a structure's members anew each time
def _member(ctype: Any, key: str) -> Any | None:
    """Return the type of a member by its key in JSON; None if the structure has none."""
    fields = dict(ctype.fields)
    chosen = _UNION_KEY.match(key)
    if chosen is None:
        return fields[key].type if key in fields else None
    unions = [field.type for field in fields.values() if field.type.kind == "union"]
    members = [dict(union.fields) for union in unions if chosen[1] in fields]
    return next((union[chosen[2]].type for union in members if chosen[2] in union), None)


def domain_config(context: CData, text: str) -> CData:
    """Return a ``libxl_domain_config *`` from JSON; it disposes of itself. A call of libxl: needs its lock.

    Raises:
        ConfigError: libxl does not take it; why stands in libxl's log.
    """
    config = ffi.new("libxl_domain_config *")
    lib.libxl_domain_config_init(config)
    config = ffi.gc(config, lib.libxl_domain_config_dispose)
    if lib.libxl_domain_config_from_json(context, config, text.encode()) != 0:
        raise ConfigError(f"libxl of Xen {release} does not take this configuration: {_shortened(text)}")
    return config


def _shortened(text: str) -> str:
    compact = json.dumps(json.loads(text), separators=(",", ":"))
    return compact if len(compact) < 400 else compact[:400] + "…"
