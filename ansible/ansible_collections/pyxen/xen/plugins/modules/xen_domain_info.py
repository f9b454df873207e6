#!/usr/bin/python
"""Facts of the domains of a Xen host."""

# SPDX-FileCopyrightText: The pyxen developers
# SPDX-License-Identifier: LGPL-2.1-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: xen_domain_info
short_description: Look at the domains of a Xen host
description:
  - Returns what C(xl list) shows, and the configurations if they are asked for.
version_added: 0.1.0
author:
  - The pyxen developers (@pyxen)
extends_documentation_fragment:
  - pyxen.xen.host
attributes:
  check_mode:
    description: Nothing is changed.
    support: full
options:
  names:
    description:
      - Only these domains. One that is missing is left out of the result.
      - By default all domains.
    type: list
    elements: str
  configs:
    description:
      - Return the configuration of each domain, too. It may contain passwords.
    type: bool
    default: false
"""

EXAMPLES = r"""
- name: List the domains
  pyxen.xen.xen_domain_info:
  register: xen

- name: See that web1 runs
  pyxen.xen.xen_domain_info:
    names: [web1]
  register: web1
  failed_when: web1.domains | length == 0
"""

RETURN = r"""
domains:
  description:
    - The fields of pyxen's C(DomainInfo), for each domain, in the order of domids.
    - C(config) is there if O(configs) is true. It is null for a domain without a configuration.
  returned: success
  type: list
  elements: dict
  sample:
    - domid: 1
      name: web1
      uuid: 8d9e5d3a-53a2-4f0e-8c3e-0d7f9f0c1a11
      state: blocked
      memory_kib: 524288
      vcpus: 2
defined:
  description: The domains whose configurations the host stores, running or not; empty if this host stores none.
  returned: success
  type: list
  elements: dict
"""

import contextlib
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.pyxen.xen.plugins.module_utils.host import run, uri_spec

with contextlib.suppress(ImportError):  # run() says so
    import pyxen


def facts(uri: str, names: list[str] | None, configs: bool) -> dict[str, Any]:
    """Return the facts of the domains."""

    def is_wanted(record: pyxen.DomainInfo | pyxen.DefinedDomain) -> bool:
        return names is None or record.name in names

    with pyxen.connect(uri) as host:
        domains = [
            {**info.to_dict(), **({"config": config_of(info.domain)} if configs else {})}
            for info in host.list()
            if is_wanted(info)
        ]
        stored = host.defined() if host.supports("define") else ()
        defined = [each.to_dict() for each in stored if is_wanted(each)]
        return {"changed": False, "domains": domains, "defined": defined}


def config_of(domain: pyxen.Domain) -> dict[str, Any] | None:
    """Return the configuration of a domain; None if it has none, or is gone."""
    try:
        return domain.config().to_dict()
    except (pyxen.NotFound, pyxen.DomainNotFound):
        return None


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            **uri_spec(),
            "names": {"type": "list", "elements": "str"},
            "configs": {"type": "bool", "default": False},
        },
        supports_check_mode=True,
    )
    run(module, lambda: facts(**module.params))


if __name__ == "__main__":
    main()
