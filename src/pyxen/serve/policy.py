"""Which verbs a client may call: with ``--read-only``, it must neither change nor betray anything."""

from __future__ import annotations

import dataclasses
from typing import Any, Final

from pyxen.backends.remote.messages import CHUNK, MOST_FRAME
from pyxen.backends.remote.verbs import VERBS
from pyxen.config import DomainConfig, Part
from pyxen.config.base import settings_of
from pyxen.records.endpoints import Endpoints
from pyxen.records.live_device import LiveDevice

__all__ = [
    "ALL",
    "AS_ROOT",
    "BELOW_ROOT",
    "CHANGES",
    "LONG",
    "LOOKS",
    "MOST_SHORT",
    "READ_ONLY",
    "Policy",
    "without_secrets",
]

LOOKS: Final = frozenset(
    {"info", "topology", "idle_times_ns", "uptimes", "uptime", "list", "find", "domain_info", "orphans", "log"}
    | {"config", "memory", "vcpus", "node_affinity", "scheduler", "stats", "all_stats", "live_devices", "endpoints"}
    | {"console_log", "wait", "wait_memory", "wait_start", "subscribe", "xenstore_domid"}
    | {"cpupools", "pool_scheduler", "defined", "defined_config", "pci_devices", "usb_devices"}
    | {"hypfs_read", "hypfs_list", "flask_enforcing", "flask_label", "flask_ssidref"}
    | {"psr_monitoring", "psr_cache_kib", "psr_is_attached", "psr_sample", "psr_allocations", "psr_get"}
)
"""The verbs that only look. Passwords are left out of what they return, and ``log`` may not clear."""

AS_ROOT: Final = frozenset(
    # They take a configuration, a device or a path: root runs the programs that it names, and opens the files.
    {"create", "define", "update_config", "attach", "detach", "insert_cdrom", "restore", "restore_over", "save"}
    | {"core_dump", "receive_migration", "saved_config", "make_overlay", "remove_overlay", "claims_add"}
    # They take a command, or a script.
    | {"migrate", "remus", "remus_over"}
    # They give orders to programs that are root, or to Xen.
    | {"store_write", "store_mkdir", "store_remove", "store_set_permissions", "qmp", "monitor_command"}
    | {"flask_load_policy", "flask_set_enforcing", "device_tree_add", "device_tree_remove", "device_tree_attach"}
)
"""The verbs that change, and with which a client is as good as root."""

BELOW_ROOT: Final = frozenset(
    {"start", "undefine", "set_autostart", "destroy", "pause", "unpause", "shutdown", "reboot", "suspend", "resume"}
    | {"soft_reset", "preserve", "rename", "save_over", "migrate_over", "eject_cdrom", "send_trigger", "send_sysrq"}
    | {"set_userdata", "add_console", "set_memory", "set_maxmem", "set_vcpus", "pin_vcpu", "set_node_affinity"}
    | {"set_scheduler", "set_cpupool", "create_cpupool", "destroy_cpupool", "rename_cpupool", "add_cpus"}
    | {"remove_cpus", "split_cpupools", "set_pool_scheduler", "pci_assignable_add", "pci_assignable_remove"}
    | {"debug_keys", "set_parameters", "hypfs_write", "devd", "psr_attach", "psr_detach", "psr_set"}
    | {"store_begin", "store_commit", "store_abort", "remove_orphans"}
    | {"claims_open", "claims_drop", "claims_drop_all", "claims_close"}
    # These only look, but a guest's console takes input, QEMU's events keep others from it, a check takes the host's
    # time, and notes and xenstore may hold passwords.
    | {"console", "await_console", "qmp_events", "check_create", "userdata"}
    | {"store_read", "store_read_many", "store_children", "store_permissions", "store_watch"}
)
"""The verbs that change or betray something, and do not amount to root by themselves."""

CHANGES: Final = AS_ROOT | BELOW_ROOT
"""The verbs that are refused with ``--read-only``."""

LONG: Final = frozenset(
    {"attach", "check_create", "create", "define", "detach", "migrate", "migrate_over", "receive_migration", "remus"}
    | {"restore", "restore_over", "save", "save_over", "update_config"}
    | {
        "device_tree_add",
        "device_tree_attach",
        "device_tree_remove",
        "flask_load_policy",
        "set_userdata",
        "store_write",
    }
    | {"claims_add", "qmp", "store_read_many", "store_watch"}
)
"""The verbs whose messages may be long: with a configuration, bytes or a list, or the client's own error."""

MOST_SHORT: Final = CHUNK + (4 << 10)
"""The most bytes of a message that is not long: a part of a stream fits."""
_MOST_LOOKING: Final = 64 << 10
"""The most bytes of a message of a client that only looks: it has no streams."""


@dataclasses.dataclass(frozen=True, slots=True)
class Policy:
    """What a client may do.

    Attributes:
        verbs: The verbs that it may call.
        passwords: Whether passwords are in what it gets.
        source: What says so, for messages.
    """

    verbs: frozenset[str]
    passwords: bool
    source: str

    @property
    def all(self) -> bool:
        """Whether it may do all."""
        return self.verbs.issuperset(VERBS)

    @property
    def read_only(self) -> bool:
        """Whether it only looks."""
        return self.verbs <= LOOKS

    @property
    def most_frame(self) -> int:
        """The most bytes of a message of the client: what is read of one takes many times as much."""
        if self.read_only:
            return _MOST_LOOKING
        return MOST_SHORT if self.verbs.isdisjoint(LONG) else MOST_FRAME

    def only_looking(self) -> Policy:
        """Return what is left of it with ``--read-only``."""
        return Policy(self.verbs & LOOKS, passwords=False, source=self.source or "pyxen serve --read-only")

    def shown(self, value: Any) -> Any:
        """Return what it gets of a result."""
        return value if self.passwords else without_secrets(value)


ALL: Final = Policy(frozenset(VERBS), passwords=True, source="")
"""That of a client who is root."""
READ_ONLY: Final = ALL.only_looking()
"""That of a key that only looks."""


def without_secrets(value: Any) -> Any:
    """Return a result without passwords."""
    if isinstance(value, Endpoints):
        vnc = value.vnc and type(value.vnc)(value.vnc.address, value.vnc.port)
        spice = value.spice and type(value.spice)(
            value.spice.address, value.spice.port, value.spice.tls_port, needs_password=value.spice.needs_password
        )
        return Endpoints(vnc, spice, value.consoles, value.channels)
    if isinstance(value, LiveDevice):
        return dataclasses.replace(value, config=_open_part(value.config))
    if isinstance(value, (list, tuple)):
        return [without_secrets(item) for item in value]
    return _open_part(value) if isinstance(value, DomainConfig) else value


def _open_part(part: Part) -> Part:
    known = settings_of(type(part))
    changes: dict[str, Any] = {}
    for name, value in part.non_defaults():
        if known[name].secret is not None:
            changes[name] = _default_of(part, name)
        elif isinstance(value, Part):
            changes[name] = _open_part(value)
        elif isinstance(value, tuple) and any(isinstance(item, Part) for item in value):
            changes[name] = tuple(_open_part(item) if isinstance(item, Part) else item for item in value)
    return part.replace(**changes)


def _default_of(part: Part, name: str) -> Any:
    return type(part).__dataclass_fields__[name].default
