"""Conversion of configurations to libxl's structures and back, through JSON.

``libxl_domain_config_from_json`` is simple and complete, but it ignores unknown keys. So the keys are first checked
against the structures of the Xen release that the binding was compiled for.
"""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from pyxen import libxljson
from pyxen._common.host_files import files_of_config
from pyxen._printable import printable
from pyxen.backends.xenlight.libxl.binding import CData, c_text, ffi, lib, release
from pyxen.backends.xenlight.libxl.error_map import BACKEND
from pyxen.backends.xenlight.libxl.fatal_configs import check_not_fatal
from pyxen.config import DomainConfig
from pyxen.errors import ConfigError, UnsupportedFeature

__all__ = ["Prepared", "check_keys", "domain_config", "has_members", "member", "prepare", "structure", "to_json"]

_UNION_KEY = re.compile(r"(\w+)\.(\w+)$")  # "type.hvm": the member of the union that the key "type" chooses


@dataclass(frozen=True, slots=True)
class Prepared:
    """A checked configuration that is ready for libxl."""

    config: DomainConfig
    json: str
    """The JSON for ``libxl_domain_config_from_json``."""
    files: Sequence[str]
    """Paths on the host that it names. If a create fails, missing ones are the likely reason."""


_RECENT: dict[int, Prepared] = {}
_MOST_RECENT = 16


def prepare(config: DomainConfig) -> Prepared:
    """Check a configuration and write it as JSON. Recent results are cached, since a configuration cannot change.

    Raises:
        ValidationError: Settings contradict each other.
        LossyConversion: libxl has no equivalent for a setting.
        UnsupportedFeature: This Xen release does not support a setting.
        FileMissing: The device model is missing, on which libxl would abort the process.
    """
    recent = _RECENT.get(id(config))
    if recent is not None and recent.config is config:
        return recent
    config.validate()
    document = libxljson.to_dict(config)
    check_keys(document)
    check_not_fatal(document)
    prepared = Prepared(config, json.dumps(document), files_of_config(config))
    if config.ms_vm_genid != "generate":  # each domain needs a new one
        # No lock, since another thread could hold it when this process forks: each of these steps is atomic in Python.
        for oldest in list(_RECENT)[: 1 - _MOST_RECENT]:
            _RECENT.pop(oldest, None)
        _RECENT[id(config)] = prepared
    return prepared


def check_keys(value: Any, ctype: str = "libxl_domain_config") -> None:
    """Check that a parsed JSON document has only keys that this Xen release knows.

    Raises:
        UnsupportedFeature: It has an unknown key; the message names the first one.
    """
    _check(value, ffi.typeof(ctype), "")


def _check(value: Any, ctype: Any, path: str) -> None:
    while ctype.kind in {"pointer", "array"}:
        ctype = ctype.item
    if isinstance(value, list):
        for index, item in enumerate(value):
            _check(item, ctype, f"{path}[{index}]")
    elif isinstance(value, dict) and has_members(ctype):
        for key, item in value.items():
            where = f"{path}.{key}" if path else key
            found = member(ctype, key)
            if found is None and item == {} and "." in key:
                continue  # this member of the union is empty, so C has no structure for it
            if found is None:
                raise UnsupportedFeature(
                    f"Xen {release} has no {where}: leave it out, or use a newer Xen",
                    feature=where,
                    backend=BACKEND,
                )
            _check(item, found, where)


@functools.lru_cache(maxsize=4096)
def has_members(ctype: Any) -> bool:
    """Tell whether the members of a type are known. Some libxl types are opaque, e.g. its CPUID policies.

    cffi 2 ends the process if it is asked for the members of an opaque type.
    """
    if ctype.kind not in {"struct", "union"}:
        return False
    try:
        ffi.sizeof(ctype)
    except (ffi.error, TypeError, ValueError):
        return False
    return True


@functools.lru_cache(maxsize=4096)  # cffi rebuilds the list of a structure's members each time
def member(ctype: Any, key: str) -> Any | None:
    """Return the type of a member by its key in JSON; None if the structure has no such member."""
    fields = dict(ctype.fields)
    chosen = _UNION_KEY.match(key)
    if chosen is None:
        return fields[key].type if key in fields else None
    unions = [field.type for field in fields.values() if field.type.kind == "union"]
    members = [dict(union.fields) for union in unions if chosen[1] in fields]
    return next((union[chosen[2]].type for union in members if chosen[2] in union), None)


def domain_config(context: CData, text: str, identity: UUID | None = None) -> CData:
    """Return a ``libxl_domain_config *`` from JSON, which is freed automatically. Call it with libxl's lock held.

    Args:
        context: The ``libxl_ctx``.
        text: The JSON.
        identity: The domain's uuid, if it is not in the JSON.

    Raises:
        ConfigError: libxl does not take it; why stands in libxl's log.
    """
    config = structure(context, "libxl_domain_config", text)
    if identity is not None:
        ffi.memmove(ffi.addressof(config.c_info, "uuid"), identity.bytes, 16)
    return config


def structure(context: CData, ctype: str, text: str) -> CData:
    """Return a pointer to a libxl structure from JSON, which is freed automatically. Call it with libxl's lock held.

    Args:
        context: The ``libxl_ctx``.
        ctype: The structure's name, e.g. ``libxl_device_disk``.
        text: The JSON.

    Raises:
        ConfigError: libxl does not take it; why stands in libxl's log.
    """
    value = ffi.new(f"{ctype} *")
    getattr(lib, f"{ctype}_init")(value)
    value = ffi.gc(value, getattr(lib, f"{ctype}_dispose"))
    if getattr(lib, f"{ctype}_from_json")(context, value, c_text(text)) != 0:
        what = "configuration" if ctype == "libxl_domain_config" else ctype.removeprefix("libxl_")
        # The values stay out of the message, since one may be a password.
        keys = ", ".join(map(printable, json.loads(text)))
        raise ConfigError(f"libxl of Xen {release} does not take this {what}; why stands in its log. It has {keys}")
    return value


def to_json(context: CData, value: CData, ctype: str = "libxl_domain_config") -> str:
    """Return one of libxl's structures as libxl's JSON. Call it with libxl's lock held.

    Raises:
        ConfigError: libxl cannot write it, or its output is not UTF-8, e.g. because of a name that is not.
    """
    text = ffi.gc(getattr(lib, f"{ctype}_to_json")(context, value), lib.free)
    if text == ffi.NULL:
        raise ConfigError(f"libxl of Xen {release} cannot write this as JSON; why stands in its log")
    data: bytes = ffi.string(text)
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        around = data[max(0, error.start - 20) : error.start].decode(errors="replace")
        message = f"libxl's JSON has bytes that are not UTF-8, after {printable(around)!r}: a name or a path has them"
        raise ConfigError(message) from None
