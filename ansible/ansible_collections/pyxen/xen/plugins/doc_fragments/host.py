"""The documentation that the modules share."""

# SPDX-FileCopyrightText: The pyxen developers
# SPDX-License-Identifier: LGPL-2.1-or-later

from __future__ import annotations


class ModuleDocFragment:
    """Options that name a host."""

    DOCUMENTATION = r"""
options:
  uri:
    description:
      - The host, as for C(pyxen.connect).
      - C(xenlight:///) is the machine on which the module runs, which must be dom0.
        C(xen:///system) is the same machine through libvirt.
    type: str
    default: xenlight:///
requirements:
  - Python 3.11 or newer, and pyxen, on the machine on which the module runs
notes:
  - When pyxen raises an error, the task fails with its text as RV(ignore:msg), which says what to do about it,
    and with the name of its class as RV(ignore:error), for example V(NotEnoughMemory).
"""
