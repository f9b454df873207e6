#!/usr/bin/python
"""Facts of a Xen host."""

# SPDX-FileCopyrightText: The pyxen developers
# SPDX-License-Identifier: LGPL-2.1-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: xen_host_info
short_description: Look at a Xen host
description:
  - Returns what C(xl info) and C(xl cpupool-list) show.
version_added: 0.1.0
author:
  - The pyxen developers (@pyxen)
extends_documentation_fragment:
  - pyxen.xen.host
attributes:
  check_mode:
    description: Nothing is changed.
    support: full
"""

EXAMPLES = r"""
- name: Look at the host
  pyxen.xen.xen_host_info:
  register: xen

- name: See that there is memory for another guest
  ansible.builtin.assert:
    that: xen.host.free_memory_kib > 1024 * 1024
"""

RETURN = r"""
host:
  description:
    - The fields of pyxen's C(HostInfo). Memory is in KiB. A field that this host does not know is null.
  returned: success
  type: dict
  sample:
    xen_version: 4.20.0
    nr_cpus: 8
    memory_kib: 16777216
    free_memory_kib: 8388608
cpupools:
  description: The CPU pools, with the fields of pyxen's C(CpupoolInfo); empty if this host cannot tell.
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


def facts(uri: str) -> dict[str, Any]:
    """Return the facts of a host."""
    with pyxen.connect(uri) as host:
        try:
            pools = [pool.to_dict() for pool in host.cpupools.list()]
        except pyxen.UnsupportedFeature:
            pools = []
        return {"changed": False, "host": host.info().to_dict(), "cpupools": pools}


def main() -> None:
    """Run the module."""
    module = AnsibleModule(argument_spec=uri_spec(), supports_check_mode=True)
    run(module, lambda: facts(module.params["uri"]))


if __name__ == "__main__":
    main()
