#!/usr/bin/python
"""Live migration of a domain of a Xen host."""

# SPDX-FileCopyrightText: The pyxen developers
# SPDX-License-Identifier: LGPL-2.1-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: xen_migrate
short_description: Move a running domain to another Xen host
description:
  - Moves a domain as C(xl migrate) does. The receiver at the other end is pyxen or xl.
  - If the migration fails, the domain goes on where it was, and nothing is left at the destination.
  - Both hosts need the domain's disks and bridges under the same names.
version_added: 0.1.0
author:
  - The pyxen developers (@pyxen)
extends_documentation_fragment:
  - pyxen.xen.host
attributes:
  check_mode:
    description: Nothing is moved; it is seen whether the domain is there.
    support: full
options:
  name:
    description: The domain.
    type: str
    required: true
  destination:
    description:
      - The destination, one word of a command for each item.
      - One word alone is a host for ssh, such as V(root@host2), on which C(xl migrate-receive) is run; for a host of
        libvirt's it is the URI of the destination.
      - Several words are a command whose standard input and output lead to a receiver,
        for example V([ssh, root@host2, pyxen, migrate-receive]). It cannot ask for a password.
    type: list
    elements: str
    required: true
  missing_ok:
    description:
      - A domain that is not on this host has been moved already, so that a play can be run again.
      - By default the task fails, because the name may be wrong.
    type: bool
    default: false
  paused:
    description: Leave the domain paused there. For one word in O(destination) only; a command gets its own C(-p).
    type: bool
    default: false
  timeout:
    description: Seconds for the migration. When they are over, the domain goes on here.
    type: float
    default: 3600
"""

EXAMPLES = r"""
- name: Move web1 to another host
  pyxen.xen.xen_migrate:
    name: web1
    destination: [root@host2]

- name: Empty a host before its reboot
  pyxen.xen.xen_migrate:
    name: "{{ item.name }}"
    destination: [ssh, -i, /root/.ssh/migration, root@host2, pyxen, migrate-receive]
    missing_ok: true
  loop: "{{ xen.domains | selectattr('domid', 'ne', 0) }}"
"""

RETURN = r"""
domid:
  description: The domid that the domain had here; null if it was not here.
  returned: success
  type: int
uuid:
  description: Its uuid, which it keeps; null if it was not here.
  returned: success
  type: str
error:
  description:
    - The class of pyxen's error. V(MigrationInDoubt) means that the destination was lost at the last moment, and both
      hosts must be looked at.
  returned: failure
  type: str
"""

import contextlib
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.pyxen.xen.plugins.module_utils.host import run, uri_spec

with contextlib.suppress(ImportError):  # run() says so
    import pyxen


def migrate(module: AnsibleModule) -> dict[str, Any]:
    """Move the domain."""
    wanted = module.params
    words = wanted["destination"]
    with pyxen.connect(wanted["uri"]) as host:
        if wanted["missing_ok"] and wanted["name"] not in host.domains:
            return {"changed": False, "domid": None, "uuid": None}
        domain = host.domains[wanted["name"]]
        if not module.check_mode:
            destination = words[0] if len(words) == 1 else words
            domain.migrate(destination, paused=wanted["paused"], timeout=wanted["timeout"])
        return {"changed": True, "domid": domain.domid, "uuid": str(domain.uuid)}


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            **uri_spec(),
            "name": {"type": "str", "required": True},
            "destination": {"type": "list", "elements": "str", "required": True},
            "missing_ok": {"type": "bool", "default": False},
            "paused": {"type": "bool", "default": False},
            "timeout": {"type": "float", "default": 3600.0},
        },
        supports_check_mode=True,
    )
    run(module, lambda: migrate(module))


if __name__ == "__main__":
    main()
