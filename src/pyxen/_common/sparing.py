"""Which domains no verb ends, stops or moves: those that run the host, and the one that this process runs in."""

from __future__ import annotations

import contextlib
import os
from typing import Final
from uuid import UUID

from pyxen.errors import InvalidState

__all__ = ["NOT_TO_DOM0", "XENSTORE_DOMID", "check_spared", "domid_of", "own_uuid"]

NOT_TO_DOM0: Final = frozenset(
    {"core_dump", "destroy", "managed_save", "migrate", "pause", "preserve", "reboot", "remus", "resume", "save"}
    | {"send_sysrq", "send_trigger", "shutdown", "soft_reset", "suspend", "unpause"}
)
"""Verbs that must not be used on dom0; libxl would delete dom0's xenstore entries before Xen refuses.

Linux obeys SysRq keys in dom0 too, ``b`` among them, which resets the whole host.
"""

XENSTORE_DOMID: Final = "/tool/xenstored/domid"
"""The node that says in which domain xenstored runs. There is none, or it is 0, where it runs in dom0."""

_SYSFS: Final = "/sys/hypervisor"
"""What Linux says of the hypervisor that it runs on."""


def check_spared(verb: str, domid: int, uuid: UUID | None = None, *, own: int = 0, xenstore: int | None = None) -> None:
    """Check that a verb does not end, stop or move a domain that runs the host, or that this process runs in.

    Args:
        verb: The verb; most may be used on any domain.
        domid: The domain to use it on.
        uuid: Its uuid, if the domid of this process's domain is not known: on another host, or through a daemon.
        own: The domain that this process runs in, if it is on the same host.
        xenstore: The domain that xenstored runs in, if it has one of its own.

    Raises:
        InvalidState: The verb must not be used on this domain. ``xl destroy 0`` is refused as well.
    """
    if verb not in NOT_TO_DOM0:
        return
    if domid == 0:
        message = "domain 0 is dom0, which runs the host: pyxen does this only to guests, so leave out domid 0"
    elif domid == xenstore:
        message = f"domain {domid} runs xenstored, which all domains of the host need: leave it out"
    elif domid == own or (uuid is not None and uuid == own_uuid()):
        message = f"this process runs in domain {domid}: do this from dom0"
    else:
        return
    raise InvalidState(message, operation=verb, domain=domid, domid=domid)


def domid_of(text: str | bytes | None) -> int | None:
    """Return the domid that a node of xenstore has; None if it has none."""
    try:
        return None if text is None else int(text)
    except ValueError:
        return None


def own_uuid(folder: str = _SYSFS) -> UUID | None:
    """Return the uuid of the Xen guest that this process runs in; None in dom0, and where there is no Xen.

    It is read each time: a guest that was saved can have another uuid when it is restored.
    """
    with contextlib.suppress(OSError, ValueError):
        if _read(os.path.join(folder, "type")) == "xen":
            uuid = UUID(_read(os.path.join(folder, "uuid")))
            return uuid if uuid.int else None  # dom0's is zero
    return None


def _read(path: str) -> str:
    with open(path, encoding="ascii") as file:
        return file.read().strip()
