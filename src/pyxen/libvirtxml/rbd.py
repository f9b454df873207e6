r"""Ceph block devices: elements in libvirt, and a single string in QEMU and xl.

The string is ``rbd:POOL/IMAGE:auth_supported=none[:mon_host=HOST\:PORT\;HOST …][:conf=FILE]``. A backslash escapes a
colon or a semicolon within a value; an xl configuration doubles it, because its strings use backslashes too.
"""

from __future__ import annotations

import re
from copy import deepcopy
from typing import Final

from pyxen.libvirtxml.node import Node
from pyxen.libvirtxml.schema_patterns import ABSOLUTE_PATH, DNS_NAME, is_address

__all__ = ["read", "write"]

_AUTHENTICATION: Final = "auth_supported=none"
_OPTIONS = re.compile(r"(?:[^:\\]|\\.)+", re.DOTALL)
_HOST = re.compile(r"(?:\[([^]]+)\]|([^\\]+))(?:\\:([0-9]{1,5}))?")
_LARGEST_PORT: Final = 65535


def read(source: Node) -> str:
    """Return the string for a ``<source protocol='rbd'>``.

    libvirt stores secrets outside of its XML. ``<auth>`` is therefore not read, and is reported as a loss.
    """
    source.get("protocol")
    pieces = [f"rbd:{source.get('name') or ''}", _AUTHENTICATION]
    hosts = [_read_host(host) for host in source.all("host")]
    if hosts:
        pieces.append("mon_host=" + r"\;".join(hosts))
    config = source.child("config")
    if config is not None and (file := config.get("file")):
        pieces.append("conf=" + file.replace(":", r"\:"))
    return ":".join(pieces)


def _read_host(host: Node) -> str:
    name, port = host.get("name") or "", host.number("port", 0, _LARGEST_PORT)
    if ":" in name:
        name = "[" + name.replace(":", r"\:") + "]"
    return rf"{name}\:{port}" if port else name


def write(target: str, disk: Node) -> bool:
    """Write the ``<source>`` for a target; return False and write nothing if `read` would not give the target back."""
    source = Node("source")
    image, *options = _OPTIONS.findall(target.removeprefix("rbd:")) or [""]
    source.set(protocol="rbd", name=image)
    for option in options:
        name, _, value = option.partition("=")
        if name == "mon_host":
            for host in value.split(r"\;"):
                _write_host(host, source)
        elif name == "conf" and ABSOLUTE_PATH.fullmatch(value):
            source.add("config", file=value.replace(r"\:", ":"))
    if read(deepcopy(source)) != target:
        return False
    disk.children.append(source)
    return True


def _write_host(host: str, source: Node) -> None:
    found = _HOST.fullmatch(host)
    if found is None:
        return
    name = found[1].replace(r"\:", ":") if found[1] else found[2]
    if DNS_NAME.fullmatch(name) or is_address(name):
        source.add("host", name=name, port=found[3])
