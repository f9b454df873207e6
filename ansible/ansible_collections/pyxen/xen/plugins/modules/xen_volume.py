#!/usr/bin/python
"""Volumes of LVM for the disks of guests."""

# SPDX-FileCopyrightText: The pyxen developers
# SPDX-License-Identifier: LGPL-2.1-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: xen_volume
short_description: Manage volumes of LVM for guests
description:
  - Creates, grows, shrinks and removes volumes, thin pools and snapshots.
  - A volume that a domain has as a disk, running or stored, is neither removed nor shrunk. That is pyxen's
    C(VolumeInUse).
version_added: 0.1.0
author:
  - The pyxen developers (@pyxen)
extends_documentation_fragment:
  - pyxen.xen.host
attributes:
  check_mode:
    description: Nothing is changed.
    support: full
  diff_mode:
    description: Sizes before and after.
    support: full
options:
  uri:
    description:
      - The host whose domains are asked which volumes they have, as for C(pyxen.connect).
      - On a machine without Xen V(xenlight:///) asks nobody.
    type: str
    default: xenlight:///
  group:
    description: The volume group.
    type: str
    required: true
  name:
    description: The volume.
    type: str
    required: true
  state:
    description:
      - V(present) creates the volume, or gives it the size.
      - V(absent) removes it, and what it holds.
    type: str
    choices: [present, absent]
    default: present
  size:
    description:
      - Its size in bytes, or with a unit of 1024, as V(512M) or V(20G). It is rounded up to whole extents.
      - A new volume needs it, and so does a snapshot of a volume that is not thin, for what is written from then on.
        The size of a snapshot is not changed later.
    type: str
  kind:
    description: A volume for data, or a thin pool for volumes.
    type: str
    choices: [volume, thin_pool]
    default: volume
  thin_pool:
    description: The thin pool that a new volume gets its space from, as it writes.
    type: str
  snapshot_of:
    description: The volume of which a new volume is a snapshot.
    type: str
  shrink:
    description: Allow the volume to become smaller. What is behind the new end is lost.
    type: bool
    default: false
"""

EXAMPLES = r"""
- name: Have a volume for web1
  pyxen.xen.xen_volume:
    group: vg0
    name: web1
    size: 20G

- name: Keep what it has now
  pyxen.xen.xen_volume:
    group: vg0
    name: web1-before
    snapshot_of: web1
    size: 2G

- name: Remove it
  pyxen.xen.xen_volume:
    group: vg0
    name: web1
    state: absent
"""

RETURN = r"""
volume:
  description:
    - The fields of pyxen's C(Volume), such as C(path) and C(size_bytes).
    - Null if it is absent, or would have been created.
  returned: success
  type: dict
  sample:
    name: web1
    group: vg0
    path: /dev/vg0/web1
    size_bytes: 21474836480
    used_by: [web1]
"""

import contextlib
from collections.abc import Iterator
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.common.text.formatters import human_to_bytes
from ansible_collections.pyxen.xen.plugins.module_utils.host import run, uri_spec

with contextlib.suppress(ImportError):  # run() says so
    import pyxen
    from pyxen.storage import Volume, VolumeGroup


@contextlib.contextmanager
def group_of(uri: str, name: str) -> Iterator[VolumeGroup]:
    """Open a volume group, and the host whose domains use it; a machine without Xen has no domains."""
    with contextlib.ExitStack() as stack:
        try:
            host = stack.enter_context(pyxen.connect(uri, workers=0))
        except (pyxen.NotOnXen, pyxen.BindingNotBuilt):
            if not uri.startswith("xenlight:"):
                raise
            host = None
        yield VolumeGroup(name, host=host)


def manage(module: AnsibleModule) -> dict[str, Any]:
    """Bring a volume to what is wanted."""
    wanted = module.params
    size = size_of(module)
    with group_of(wanted["uri"], wanted["group"]) as group:
        now = group.get(wanted["name"])
        if wanted["state"] == "absent":
            if now is not None and not module.check_mode:
                group.remove(now.name)
            return result(now is not None, now, None, None)
        if now is None:
            made = None if module.check_mode else created(module, group, size)
            return result(True, None, made, size)
        check_kind(module, now)
        if size is None or now.snapshot_of is not None:
            return result(False, now, now, now.size_bytes)
        extent = group.info().extent_bytes
        rounded = (size + extent - 1) // extent * extent
        if rounded == now.size_bytes:
            return result(False, now, now, rounded)
        if rounded < now.size_bytes and not wanted["shrink"]:
            raise pyxen.InvalidArgument(
                f"{now.group}/{now.name} has {now.size_bytes} bytes, and would lose what is behind byte {rounded}: "
                "shrink=true does it all the same",
                operation="xen_volume",
            )
        made = now if module.check_mode else group.resize(now.name, size, shrink=wanted["shrink"])
        return result(True, now, made, rounded)


def size_of(module: AnsibleModule) -> int | None:
    """Return the size in bytes; None if none is given."""
    text = module.params["size"]
    if text is None:
        return None
    try:
        return int(human_to_bytes(text))
    except ValueError as error:
        raise pyxen.InvalidArgument(f"size: {error}", operation="xen_volume") from error


def created(module: AnsibleModule, group: VolumeGroup, size: int | None) -> Volume:
    """Create the volume."""
    wanted = module.params
    name = wanted["name"]
    if wanted["snapshot_of"] is not None:
        return group.snapshot(wanted["snapshot_of"], name, size=size)
    if size is None:
        raise pyxen.InvalidArgument(
            f"{group.name} has no volume {name}, and a new one needs a size", operation="xen_volume"
        )
    if wanted["kind"] == "thin_pool":
        return group.create_pool(name, size)
    return group.create(name, size, pool=wanted["thin_pool"])


def check_kind(module: AnsibleModule, now: Volume) -> None:
    """See that a volume that is there is of the kind that is wanted: that cannot be changed."""
    wanted = module.params
    for what, is_now, is_wanted in (
        ("kind", "thin_pool" if now.is_pool else "volume", wanted["kind"]),
        ("thin_pool", now.pool, wanted["thin_pool"]),
        ("snapshot_of", now.snapshot_of, wanted["snapshot_of"]),
    ):
        if is_wanted is not None and is_wanted != is_now:
            raise pyxen.InvalidArgument(
                f"{now.group}/{now.name} exists with {what}={is_now or 'none'}, and {what}={is_wanted} is wanted: "
                "that cannot be changed; choose another name, or remove it",
                operation="xen_volume",
            )


def result(changed: bool, before: Volume | None, after: Volume | None, size: int | None) -> dict[str, Any]:
    """Return the result of the task."""
    return {
        "changed": changed,
        "volume": None if after is None else after.to_dict(),
        "diff": {
            "before": {"size_bytes": None if before is None else before.size_bytes},
            "after": {"size_bytes": size},
        },
    }


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            **uri_spec(),
            "group": {"type": "str", "required": True},
            "name": {"type": "str", "required": True},
            "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
            "size": {"type": "str"},
            "kind": {"type": "str", "choices": ["volume", "thin_pool"], "default": "volume"},
            "thin_pool": {"type": "str"},
            "snapshot_of": {"type": "str"},
            "shrink": {"type": "bool", "default": False},
        },
        mutually_exclusive=[("thin_pool", "snapshot_of")],
        supports_check_mode=True,
    )
    run(module, lambda: manage(module))


if __name__ == "__main__":
    main()
