"""What the modules share: opening a host with pyxen, and reporting its errors as Ansible does."""

# SPDX-FileCopyrightText: The pyxen developers
# SPDX-License-Identifier: LGPL-2.1-or-later

from __future__ import annotations

import traceback
import warnings
from collections.abc import Callable
from typing import Any

from ansible.module_utils.basic import AnsibleModule, missing_required_lib

WHY_NOT: str | None = None
"""The traceback of an import that failed; None if pyxen is there."""

try:
    import pyxen
except ImportError:
    WHY_NOT = traceback.format_exc()

# The attributes of pyxen's errors that a playbook may act on, besides the text and the class.
_DETAILS = ("operation", "domain", "domid", "code", "log", "path", "feature")


def uri_spec() -> dict[str, dict[str, Any]]:
    """Return the option that names a host."""
    return {"uri": {"type": "str", "default": "xenlight:///"}}


def run(module: AnsibleModule, work: Callable[[], dict[str, Any]]) -> None:
    """Do the work of a module and end it, with its result or as failed.

    Args:
        module: The AnsibleModule.
        work: Returns the result. pyxen is importable when it is called.
    """
    if WHY_NOT is not None:
        module.fail_json(msg=missing_required_lib("pyxen"), exception=WHY_NOT)
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always", UserWarning)
            result = work()
    except pyxen.Error as error:
        module.fail_json(**failure(error))
    for each in caught:
        module.warn(str(each.message))
    module.exit_json(**result)


def failure(error: pyxen.Error) -> dict[str, Any]:
    """Return what a task that failed says of an error of pyxen's."""
    details = {name: getattr(error, name, None) for name in _DETAILS}
    plain = {
        name: list(value) if isinstance(value, tuple) else value if isinstance(value, int) else str(value)
        for name, value in details.items()
        if value not in (None, (), "")
    }
    return {**plain, "msg": str(error), "error": type(error).__name__}
