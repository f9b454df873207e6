#!/usr/bin/python
"""Disks with a system on them."""

# SPDX-FileCopyrightText: The pyxen developers
# SPDX-License-Identifier: LGPL-2.1-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: xen_image
short_description: Make the disk of a guest, with a system on it
description:
  - Makes a disk with a small Debian system, for PV and PVH guests; or from a cloud image of a distribution, for HVM
    guests.
  - The work is done on the machine on which the module runs, as root, with mmdebstrap, mke2fs, qemu-img, and
    genisoimage or xorriso.
  - A disk that exists is left alone.
version_added: 0.1.0
author:
  - The pyxen developers (@pyxen)
requirements:
  - Python 3.11 or newer, and pyxen, on the machine on which the module runs
attributes:
  check_mode:
    description: Nothing is made.
    support: partial
    details:
      - What is on a block device is not looked at, and so the task says that it would change one.
options:
  path:
    description:
      - A new file, or a block device with nothing on it. With O(group), the name of a new volume.
    type: str
    required: true
  group:
    description: The volume group of LVM in which the volume is created.
    type: str
  size:
    description:
      - MiB of the file or the volume. Default 4096, or as the cloud image. A device has its own size.
    type: int
  hostname:
    description: The name of the guest.
    type: str
    required: true
  ssh_keys:
    description: Public keys, as the lines of C(id_ed25519.pub), which may log in.
    type: list
    elements: str
    default: []
  password:
    description: The password, or its hash as in C(/etc/shadow). By default nobody logs in with a password.
    type: str
  address:
    description:
      - The address of its first network card with the length of the prefix, as V(192.0.2.7/24). By default DHCP.
    type: str
  gateway:
    description: Its default gateway, with O(address).
    type: str
  nameservers:
    description: Its name servers, with O(address).
    type: list
    elements: str
    default: []
  cloud_image:
    description: The file of a cloud image, in any format of qemu-img. Without it, a Debian system is made.
    type: path
  seed:
    description:
      - With O(cloud_image), the file for the CD with the settings for cloud-init.
      - By default it is beside the file O(path), with C(-seed.iso) at its end. A device and a volume have no default.
    type: path
  suite:
    description: The release of Debian, as V(bookworm) or V(trixie).
    type: str
    default: stable
  mirrors:
    description: Where the packages are; by default those of mmdebstrap.
    type: list
    elements: str
    default: []
  packages:
    description: Further packages.
    type: list
    elements: str
    default: []
  host_kernel:
    description: Install no kernel. The guest's configuration then names one of the host's.
    type: bool
    default: false
  overwrite:
    description: Make the disk anew each time. What is there is lost.
    type: bool
    default: false
  timeout:
    description: Seconds for all of it.
    type: float
    default: 3600
"""

EXAMPLES = r"""
- name: Have a disk with Debian for web1
  pyxen.xen.xen_image:
    path: web1
    group: vg0
    size: 4096
    hostname: web1
    suite: trixie
    ssh_keys:
      - "{{ lookup('ansible.builtin.file', '~/.ssh/id_ed25519.pub') }}"

- name: Have the guest on it
  pyxen.xen.xen_domain:
    state: running
    config:
      name: web1
      type: pvh
      bootloader: pygrub
      memory: 1024
      disks:
        - target: /dev/vg0/web1
          vdev: xvda
      vifs:
        - bridge: xenbr0
"""

RETURN = r"""
config:
  description:
    - The fields of a configuration that starts from this disk, for O(pyxen.xen.xen_domain#module:config), with 512 MiB.
    - Null if the disk was there already, or would have been made.
  returned: success
  type: dict
"""

import contextlib
import os
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.pyxen.xen.plugins.module_utils.host import run

with contextlib.suppress(ImportError):  # run() says so
    from pyxen import VolumeExists
    from pyxen.images import Access, GuestImage, from_cloud_image, from_distribution
    from pyxen.storage import VolumeGroup


def make(module: AnsibleModule) -> dict[str, Any]:
    """Make the disk, unless it is there."""
    wanted = module.params
    access = Access(
        wanted["hostname"],
        **{name: wanted[name] for name in ("ssh_keys", "password", "address", "gateway", "nameservers")},
    )
    group = None if wanted["group"] is None else VolumeGroup(wanted["group"])
    if not wanted["overwrite"] and is_there(wanted["path"], group):
        return {"changed": False, "config": None}
    if module.check_mode:
        return {"changed": True, "config": None}
    try:
        image = made(wanted, access, group)
    except VolumeExists as error:
        # It is a device: only pyxen looks at what is on it. The CD of a cloud image is another file, and an error.
        if group is None and error.message.startswith(f"{os.path.abspath(wanted['path'])} "):
            return {"changed": False, "config": None}
        raise
    return {"changed": True, "config": image.config().to_dict()}


def is_there(path: str, group: VolumeGroup | None) -> bool:
    """Tell whether a file or a volume is there."""
    if group is not None:
        return path in group
    return os.path.isfile(path)


def made(wanted: dict[str, Any], access: Access, group: VolumeGroup | None) -> GuestImage:
    """Make the disk."""
    common = {"group": group, **{name: wanted[name] for name in ("size", "overwrite", "timeout")}}
    if wanted["cloud_image"] is not None:
        return from_cloud_image(wanted["cloud_image"], wanted["path"], access, seed=wanted["seed"], **common)
    kernel = None if wanted["host_kernel"] else ""
    sources = {"suite": wanted["suite"], "mirror": wanted["mirrors"], "packages": wanted["packages"]}
    return from_distribution(wanted["path"], access, kernel=kernel, **sources, **common)


def main() -> None:
    """Run the module."""
    texts = {"type": "list", "elements": "str", "default": []}
    module = AnsibleModule(
        argument_spec={
            "path": {"type": "str", "required": True},
            "group": {"type": "str"},
            "size": {"type": "int"},
            "hostname": {"type": "str", "required": True},
            "ssh_keys": {**texts, "no_log": False},
            "password": {"type": "str", "no_log": True},
            "address": {"type": "str"},
            "gateway": {"type": "str"},
            "nameservers": texts,
            "cloud_image": {"type": "path"},
            "seed": {"type": "path"},
            "suite": {"type": "str", "default": "stable"},
            "mirrors": texts,
            "packages": texts,
            "host_kernel": {"type": "bool", "default": False},
            "overwrite": {"type": "bool", "default": False},
            "timeout": {"type": "float", "default": 3600.0},
        },
        supports_check_mode=True,
    )
    run(module, lambda: make(module))


if __name__ == "__main__":
    main()
