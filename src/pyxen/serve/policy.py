"""Which verbs a client with ``--read-only`` may call: a key for monitoring must neither change nor betray anything."""

from __future__ import annotations

from typing import Any, Final

from pyxen.config import DomainConfig, Part
from pyxen.config.base import settings_of
from pyxen.records.endpoints import Endpoints

__all__ = ["CHANGES", "LOOKS", "without_secrets"]

LOOKS: Final = frozenset(
    (
        "all_stats config console_log cpupools defined defined_config domain_info endpoints find flask_enforcing "
        "flask_label flask_ssidref hypfs_list hypfs_read idle_times_ns info list live_devices log memory "
        "node_affinity orphans pci_devices pool_scheduler psr_allocations psr_cache_kib psr_get psr_is_attached "
        "psr_monitoring psr_sample scheduler stats subscribe topology uptime uptimes usb_devices vcpus wait "
        "wait_memory wait_start"
    ).split()
)
"""The verbs that only look. Passwords are left out of what they return, and ``log`` may not clear."""

CHANGES: Final = frozenset(
    (
        "add_console add_cpus attach core_dump create create_cpupool debug_keys define destroy destroy_cpupool detach "
        "devd device_tree_add device_tree_attach device_tree_remove eject_cdrom flask_load_policy flask_set_enforcing "
        "hypfs_write insert_cdrom make_overlay migrate migrate_over pause pci_assignable_add pci_assignable_remove "
        "pin_vcpu preserve psr_attach psr_detach psr_set reboot receive_migration remove_cpus remove_overlay remus "
        "remus_over rename rename_cpupool restore restore_over resume save save_over send_sysrq send_trigger "
        "set_autostart set_cpupool set_maxmem set_memory set_node_affinity set_parameters set_pool_scheduler "
        "set_scheduler set_userdata set_vcpus shutdown soft_reset split_cpupools start store_abort store_begin "
        "store_commit store_mkdir store_remove store_set_permissions store_write suspend undefine unpause update_config"
    ).split()
) | frozenset(
    # These only look, but a guest's console takes input, QEMU takes any command, a check takes the host's time, and
    # notes, files and xenstore may hold passwords.
    (
        "await_console check_create console monitor_command qmp qmp_events saved_config store_children "
        "store_permissions store_read store_read_many store_watch userdata"
    ).split()
)
"""The verbs that are refused with ``--read-only``."""


def without_secrets(value: Any) -> Any:
    """Return a result without passwords."""
    if isinstance(value, Endpoints):
        vnc = value.vnc and type(value.vnc)(value.vnc.address, value.vnc.port)
        spice = value.spice and type(value.spice)(
            value.spice.address, value.spice.port, value.spice.tls_port, needs_password=value.spice.needs_password
        )
        return Endpoints(vnc, spice, value.consoles, value.channels)
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
