"""The domains of Xen hosts as an inventory."""

# SPDX-FileCopyrightText: The pyxen developers
# SPDX-License-Identifier: LGPL-2.1-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: xen
short_description: The domains of Xen hosts
description:
  - Makes a host of each domain, of one Xen host or of several. Dom0 and stub domains are left out.
  - The groups are C(xen_state_STATE), C(xen_pool_POOL) and C(xen_host_HOST), besides those of O(groups) and
    O(keyed_groups).
  - Its file is called C(xen.yml) or C(xen.yaml), or ends so after a dot, as C(site.xen.yml).
version_added: 0.1.0
author:
  - The pyxen developers (@pyxen)
requirements:
  - Python 3.11 or newer, and pyxen, where ansible-playbook runs
extends_documentation_fragment:
  - constructed
  - inventory_cache
options:
  plugin:
    description: The name of this plugin.
    type: str
    required: true
    choices: [pyxen.xen.xen]
  hosts:
    description:
      - The Xen hosts, a URI of C(pyxen.connect) by the name that it has in the inventory.
    type: dict
    default:
      localhost: "xenlight:///"
  ignore_unreachable:
    description:
      - Warn of a host that cannot be reached, and go on without its domains. By default that is an error.
    type: bool
    default: false
"""

EXAMPLES = r"""
# site.xen.yml: the domains of two hosts
plugin: pyxen.xen.xen
hosts:
  one: xen+ssh://root@one.example/system
  two: xen+ssh://root@two.example/system
ignore_unreachable: true
keyed_groups:
  - key: xen_type
    prefix: xen_type
compose:
  ansible_host: inventory_hostname ~ '.example'
cache: true
cache_plugin: ansible.builtin.jsonfile
cache_connection: /var/cache/ansible
"""

from collections.abc import Iterator
from typing import Any

from ansible.errors import AnsibleParserError
from ansible.inventory.data import InventoryData
from ansible.parsing.dataloader import DataLoader
from ansible.plugins.inventory import BaseInventoryPlugin, Cacheable, Constructable

HAS_PYXEN = True
try:
    import pyxen
except ImportError:
    HAS_PYXEN = False

Facts = dict[str, Any]

_GROUPS = ("state", "pool", "host")


def is_guest(info: pyxen.DomainInfo) -> bool:
    """Tell whether a domain belongs into the inventory: dom0, stub domains and what is being destroyed do not."""
    return info.domid != 0 and info.stubdomain_of is None and info.state != "dying"


class InventoryModule(BaseInventoryPlugin, Constructable, Cacheable):
    """The domains of Xen hosts."""

    NAME = "pyxen.xen.xen"

    def verify_file(self, path: str) -> bool:
        """Tell whether a file is for this plugin, by its name."""
        return super().verify_file(path) and path.endswith(("xen.yml", "xen.yaml"))

    def parse(self, inventory: InventoryData, loader: DataLoader, path: str, cache: bool = True) -> None:
        """Fill the inventory."""
        super().parse(inventory, loader, path, cache)
        self._read_config_data(path)
        found = self._cached(self.get_cache_key(path), cache)
        for name, facts in self._named(found):
            self._add(name, facts)

    def _cached(self, key: str, cache: bool) -> list[Facts]:
        """Return what the hosts say, or said when it was kept."""
        keeps = self.get_option("cache")
        if keeps and cache:
            try:
                kept: list[Facts] = self._cache[key]
                return kept
            except KeyError:
                pass  # it is too old, or was never asked
        found = self._ask()
        if keeps:
            self._cache[key] = found
        return found

    def _ask(self) -> list[Facts]:
        """Return the facts of all domains of all hosts, as plain data."""
        if not HAS_PYXEN:
            raise AnsibleParserError("the inventory pyxen.xen.xen needs pyxen where ansible runs: pip install pyxen")
        found: list[Facts] = []
        for name, uri in self.get_option("hosts").items():
            try:
                with pyxen.connect(uri) as host:
                    infos = [info.to_dict() for info in host.list() if is_guest(info)]
            except pyxen.Error as error:
                message = f"the host {name}: {type(error).__name__}: {error}"  # a URI may have a password
                if not self.get_option("ignore_unreachable"):
                    raise AnsibleParserError(message) from error
                self.display.warning(message)
                continue
            found += [{**info, "host": name, "uri": uri} for info in infos]
        return found

    def _named(self, found: list[Facts]) -> Iterator[tuple[str, Facts]]:
        """Yield the facts with a name for each: a name that several domains have gets the name of the host."""
        names = [facts["name"] for facts in found]
        for facts in found:
            name = facts["name"] or facts["uuid"]
            yield name if names.count(facts["name"]) < 2 or not facts["name"] else f"{name}_{facts['host']}", facts

    def _add(self, name: str, facts: Facts) -> None:
        """Add a domain with its variables and groups."""
        self.inventory.add_host(name)
        variables = {f"xen_{key}": value for key, value in facts.items()}
        if variables["xen_state"] == "blocked":  # an idle guest runs
            variables["xen_state"] = "running"
        for key, value in variables.items():
            self.inventory.set_variable(name, key, value)
        for key in _GROUPS:
            if variables[f"xen_{key}"] is not None:
                group = self._sanitize_group_name(f"xen_{key}_{variables[f'xen_{key}']}")
                self.inventory.add_host(name, group=self.inventory.add_group(group))
        variables = self.inventory.get_host(name).get_vars()  # with its name in the inventory
        strict = self.get_option("strict")
        self._set_composite_vars(self.get_option("compose"), variables, name, strict=strict)
        self._add_host_to_composed_groups(self.get_option("groups"), variables, name, strict=strict)
        self._add_host_to_keyed_groups(self.get_option("keyed_groups"), variables, name, strict=strict)
