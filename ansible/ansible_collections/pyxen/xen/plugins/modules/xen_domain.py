#!/usr/bin/python
"""Domains of a Xen host: created, changed, restarted, stopped."""

# SPDX-FileCopyrightText: The pyxen developers
# SPDX-License-Identifier: LGPL-2.1-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: xen_domain
short_description: Manage domains of a Xen host
description:
  - Creates a domain from a configuration, or brings the domain that runs to it by the least hotplug.
    A task that finds nothing to do changes nothing.
  - A configuration is given as fields, or as a text in xl's language, libvirt's XML or libxl's JSON.
  - What a running domain cannot get without a restart is returned as RV(needs_restart), and brought if O(restart)
    allows it.
version_added: 0.1.0
author:
  - The pyxen developers (@pyxen)
extends_documentation_fragment:
  - pyxen.xen.host
attributes:
  check_mode:
    description: Nothing is changed; RV(steps) has what would be done.
    support: full
  diff_mode:
    description: The differences of the configurations, with passwords masked, and the steps.
    support: full
options:
  name:
    description:
      - The domain. It replaces the name in the configuration.
    type: str
  uuid:
    description:
      - The domain. It replaces the uuid in the configuration. A domain found by its uuid is renamed if need be.
    type: str
  state:
    description:
      - V(present) creates the domain if there is none, and starts it. It leaves a paused domain paused, and one that
        has ended as it is.
      - V(running) also unpauses it, and starts one that has ended anew.
      - V(paused) creates it paused, or pauses it.
      - V(stopped) asks the guest to power off, and waits until it has. The domain is then gone; a configuration
        that the host stores stays.
      - V(absent) ends the domain at once, like pulling the plug, and removes the configuration that the host stores.
    type: str
    choices: [present, running, paused, stopped, absent]
    default: present
  config:
    description:
      - The configuration, as the fields of pyxen's C(DomainConfig), such as C(memory), C(vcpus), C(disks) and C(vifs).
      - Use C(no_log) for a task whose configuration has a password.
    type: dict
  content:
    description: The configuration as a text, in xl's language, libvirt's XML or libxl's JSON.
    type: str
  src:
    description: A file with such a text, on the machine on which the module runs.
    type: path
  restart:
    description:
      - Whether a running domain may be shut down and created anew.
      - V(if_needed) does so when the configuration has something that no running domain can get.
      - V(always) does so in any case, and so the task always changes something.
    type: str
    choices: [never, if_needed, always]
    default: never
  force:
    description: Destroy a domain that does not shut down by itself when it is asked to, or not in time.
    type: bool
    default: false
  persistent:
    description:
      - Store the configuration, too, on a host that stores configurations, such as C(xen:///system).
        On C(xenlight:///), keep it for the next restart of the domain by its supervisor.
    type: bool
    default: false
  shutdown_timeout:
    description:
      - Seconds for the guest to power off, when it is asked to. Then the task fails, or destroys it by O(force).
    type: float
    default: 60
  timeout:
    description: Seconds for each other step, such as a create or an attach.
    type: float
    default: 300
"""

EXAMPLES = r"""
- name: Have web1, with these settings
  pyxen.xen.xen_domain:
    name: web1
    state: running
    config:
      type: pvh
      kernel: /boot/vmlinuz
      memory: 512
      vcpus: 2
      disks:
        - target: /dev/vg0/web1
          vdev: xvda
      vifs:
        - bridge: xenbr0

- name: Have web2 as its file says, with a restart if that is needed
  pyxen.xen.xen_domain:
    src: /etc/xen/web2.cfg
    state: running
    restart: if_needed

- name: Have a domain from a template of libvirt's XML
  pyxen.xen.xen_domain:
    content: "{{ lookup('ansible.builtin.template', 'web3.xml.j2') }}"

- name: Reboot web1
  pyxen.xen.xen_domain:
    name: web1
    state: running
    restart: always

- name: Shut web1 down, and pull the plug after a minute
  pyxen.xen.xen_domain:
    name: web1
    state: stopped
    shutdown_timeout: 60
    force: true
"""

RETURN = r"""
name:
  description: The name of the domain.
  returned: success
  type: str
domid:
  description: Its domid; null if it is not there.
  returned: success
  type: int
uuid:
  description: Its uuid; null if it is not there, and not stored.
  returned: success
  type: str
state:
  description:
    - Its state now, V(running), V(paused), V(shutdown), V(crashed), V(stopped) if only its configuration is stored,
      or V(absent).
  returned: success
  type: str
domain:
  description: The fields of pyxen's C(DomainInfo); null if it is not there.
  returned: success
  type: dict
steps:
  description: What was done, in order; in check mode, what would be done.
  returned: success
  type: list
  elements: str
  sample: ["set_memory 256"]
needs_restart:
  description: What only a restart can bring, and why, a line for each setting and device.
  returned: success
  type: list
  elements: str
  sample: ["maxvcpus: Xen makes the vCPUs when it creates a domain"]
"""

import contextlib
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.pyxen.xen.plugins.module_utils.domain import Task, config_of
from ansible_collections.pyxen.xen.plugins.module_utils.host import run, uri_spec

with contextlib.suppress(ImportError):  # run() says so
    import pyxen


def manage(module: AnsibleModule) -> dict[str, Any]:
    """Bring the domain to what is wanted."""
    config = config_of(module)
    with pyxen.connect(module.params["uri"]) as host:
        task = Task(host, config, module.params, dry_run=module.check_mode)
        task.bring()
        return task.result()


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            **uri_spec(),
            "name": {"type": "str"},
            "uuid": {"type": "str"},
            "state": {
                "type": "str",
                "choices": ["present", "running", "paused", "stopped", "absent"],
                "default": "present",
            },
            "config": {"type": "dict"},
            "content": {"type": "str"},
            "src": {"type": "path"},
            "restart": {"type": "str", "choices": ["never", "if_needed", "always"], "default": "never"},
            "force": {"type": "bool", "default": False},
            "persistent": {"type": "bool", "default": False},
            "shutdown_timeout": {"type": "float", "default": 60.0},
            "timeout": {"type": "float", "default": 300.0},
        },
        mutually_exclusive=[("config", "content", "src")],
        required_one_of=[("name", "uuid", "config", "content", "src")],
        supports_check_mode=True,
    )
    run(module, lambda: manage(module))


if __name__ == "__main__":
    main()
