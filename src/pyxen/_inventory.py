"""Inventories of hosts: names and URIs, from a file of pyxen's own or from what ``ansible-inventory --list`` prints."""

from __future__ import annotations

import ipaddress
import json
import re
import tomllib
from collections import Counter
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import quote

from pyxen._common.file_content import read_file
from pyxen._common.shown_uri import shown
from pyxen._printable import quoted
from pyxen.errors import InvalidArgument, NotFound, ParseError

__all__ = ["check_uris", "load_inventory"]

_VERB: Final = "inventory"

_MOST: Final = 32 << 20
"""The most bytes of an inventory: what Ansible prints of some thousand hosts with their variables."""

_URI: Final = "pyxen_uri"
"""The variable of a host in Ansible that has its URI."""

_NAME: Final = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9_.-]*[A-Za-z0-9_])?")
"""The name or the IPv4 address of a host: what ssh does not take for an option, nor a URI for another part of it."""


def check_uris(uris: object, source: str | None = None) -> dict[str, str]:
    """Return names and URIs of hosts.

    Raises:
        InvalidArgument: They are not given as a mapping of texts, or there is none, and they are not from a file.
        ParseError: The same, in a file.
    """

    def refused(message: str) -> Exception:
        return InvalidArgument(message, operation=_VERB) if source is None else ParseError(message, source=source)

    if not isinstance(uris, Mapping):
        raise refused(f'takes a mapping of names to URIs, such as {{"host1": "xenlight:///"}}, not {quoted(uris)}')
    for name, uri in uris.items():
        if not isinstance(name, str) or not name:
            raise refused(f"{name!r} is not the name of a host: use a text that is not empty")
        if isinstance(uri, Mapping):
            raise refused(f"{quoted(name)} is a table: a host is NAME = URI, and a name with dots stands in quotes")
        if not isinstance(uri, str) or ":" not in uri:
            seen = quoted(shown(uri) if isinstance(uri, str) else uri)
            raise refused(f"{quoted(name)}: {seen} is not a URI such as xenlight:/// or xen+ssh://root@host/system")
    if not uris:
        raise refused('it names no host: a host is a line such as host1 = "xenlight:///"')
    return dict(uris)


def load_inventory(path: object, group: str | None = None) -> dict[str, str]:
    """Return the names and URIs of the hosts in a file; see `pyxen.Hosts.load`."""
    content = read_file(path, _VERB, _MOST)
    source = str(path)
    if len(content) > _MOST:
        raise ParseError(f"it has more than {_MOST >> 20} MiB, too much for an inventory", source=source)
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise ParseError("it is not UTF-8 text", line=line, source=source) from None
    if text.lstrip().startswith("{"):
        return check_uris(_of_ansible(_json(text, source), group or "all", source), source)
    if group is not None:
        message = f"group={quoted(group)}: only what ansible-inventory --list prints has groups"
        raise InvalidArgument(message, operation=_VERB)
    try:
        found = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        hint = 'a host is a line such as host1 = "xenlight:///"; of Ansible, give what ansible-inventory --list prints'
        raise ParseError(f"{error}: {hint}", source=source) from None
    except (RecursionError, ValueError):  # of Python: an int may have 4,300 digits
        raise ParseError("its TOML is nested too deep, or has a number of too many digits", source=source) from None
    return check_uris(found, source)


def _json(text: str, source: str) -> Any:
    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) < len(pairs):
            twice = next(name for name, times in Counter(name for name, _ in pairs).items() if times > 1)
            raise ParseError(f"{quoted(twice)} is there twice", source=source)
        return found

    try:
        return json.loads(text, object_pairs_hook=once)
    except json.JSONDecodeError as error:
        raise ParseError(f"it is not JSON: {error.msg}", line=error.lineno, column=error.colno, source=source) from None
    except ParseError:
        raise
    except RecursionError:
        raise ParseError("its JSON is nested too deep", source=source) from None
    except ValueError:  # of Python: an int may have 4,300 digits
        raise ParseError("its JSON has a number of too many digits", source=source) from None


def _of_ansible(inventory: dict[str, Any], group: str, source: str) -> dict[str, str]:
    """Return the hosts of a group, and of the groups in it."""
    if "_meta" not in inventory:
        raise ParseError("it has no _meta: give what ansible-inventory --list prints", source=source)
    if group not in inventory:
        raise NotFound(f"{source}: there is no group {quoted(group)}", operation=_VERB)
    names: dict[str, None] = {}
    left, seen = [group], set[str]()
    while left:
        each = left.pop()
        if each in seen:
            continue
        seen.add(each)
        members = _dict(inventory.get(each, {}), each, source)
        names.update(dict.fromkeys(_texts(members.get("hosts", []), each, source)))
        left += reversed(_texts(members.get("children", []), each, source))
    variables = _dict(_dict(inventory["_meta"], "_meta", source).get("hostvars", {}), "hostvars", source)
    return {name: _uri(name, _dict(variables.get(name, {}), name, source), source) for name in names}


def _dict(value: object, name: str, source: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ParseError(f"{quoted(name)} is not an object, as ansible-inventory --list prints it", source=source)
    return value


def _texts(value: object, name: str, source: str) -> list[str]:
    if not isinstance(value, list) or not all(isinstance(each, str) for each in value):
        raise ParseError(f"{quoted(name)} has members that are not names", source=source)
    return value


def _uri(name: str, variables: Mapping[str, Any], source: str) -> str:
    """Return the URI of a host of Ansible: as its variable says, or over ssh as Ansible itself reaches it."""
    if _URI in variables:
        return str(variables[_URI])
    if variables.get("ansible_connection") == "local":
        return "xenlight:///"
    address = variables.get("ansible_host", name)
    if not isinstance(address, str) or not (_NAME.fullmatch(address) or _is_ipv6(address)):
        message = f"{quoted(name)}: ansible_host={quoted(address)} is not an address: set {_URI} for this host"
        raise ParseError(message, source=source)
    port = str(variables.get("ansible_port", ""))
    if port and not (port.isascii() and port.isdecimal() and 0 < int(port[:6]) < 1 << 16):
        message = f"{quoted(name)}: ansible_port={quoted(port)} is not a port, 1 to 65535: set {_URI} for this host"
        raise ParseError(message, source=source)
    user = str(variables.get("ansible_user", ""))
    if "{{" in user:
        message = f"{quoted(name)}: ansible_user is a template, which only Ansible can fill: set {_URI} for this host"
        raise ParseError(message, source=source)
    at = f"{quote(user, safe='')}@" if user else ""
    place = f"[{address}]" if ":" in address else address
    return f"xenlight+ssh://{at}{place}{f':{port}' if port else ''}/"


def _is_ipv6(text: str) -> bool:
    try:
        return ipaddress.ip_address(text).version == 6
    except ValueError:
        return False
