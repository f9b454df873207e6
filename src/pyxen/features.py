"""Optional features of backends."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Final, Literal, TypeAlias

from pyxen.errors import UnsupportedFeature

__all__ = ["Feature", "FeatureName", "lacking"]


class Feature(StrEnum):
    """A feature that not every backend has, see `Host.supports`. Most are named after the method that needs them."""

    ALL_DOMAINS = "all_domains"
    """See and control every domain of the host, not only those of one toolstack."""
    EVENTS = "events"
    """Report events, see `Host.events`."""
    PAUSE_EVENTS = "pause_events"
    """Announce that a domain was paused or unpaused: `DomainPaused` and `DomainUnpaused`."""
    TOPOLOGY = "topology"
    """Report the host's CPUs, NUMA nodes and PCI devices."""
    IDLE_TIMES = "idle_times_ns"
    """Report how long each of the host's CPUs has been idle."""
    UPTIME = "uptime"
    """Report when domains were created."""
    ORPHANS = "orphans"
    """Find half-made domains left by processes that were killed."""
    DEFINE = "define"
    """Store configurations, and start their domains by name or with the host."""
    POOL = "pool"
    """Keep guests ready, to be handed out in no time."""
    CLONE = "clone"
    """Make many guests from one saved state."""
    CHECK_CREATE = "check_create"
    """Check whether a domain could be created, without making it."""
    PAUSE = "pause"
    """Pause and unpause."""
    REBOOT = "reboot"
    """Ask the guest to reboot."""
    FALLBACK = "fallback"
    """Press the power button of a guest that has no PV driver: ``shutdown(fallback=True)``."""
    REBOOT_FALLBACK = "reboot_fallback"
    """Reset a guest that has no PV driver: ``reboot(fallback=True)``."""
    SUSPEND = "suspend"
    """Suspend in memory, and resume."""
    OTHER_CONFIG = "other_config"
    """Save or migrate a domain with another configuration: ``save(path, config=config)``."""
    SAVE = "save"
    """Save to a file, and restore."""
    SAVE_OVER = "save_over"
    """Save to an open file, a pipe or a socket, and restore from one."""
    CHECKPOINT = "checkpoint"
    """Let the guest continue after a save."""
    CORE_DUMP = "core_dump"
    """Write the guest's memory to a file."""
    MIGRATE = "migrate"
    """Move a running domain to another host."""
    MIGRATE_OVER = "migrate_over"
    """Move a domain over a pair of descriptors, and receive one."""
    REMUS = "remus"
    """Keep a copy of a running domain on another host, which takes over if this one is lost."""
    RENAME = "rename"
    """Give a running domain another name."""
    PRESERVE = "preserve"
    """Set aside a domain that has ended."""
    TRIGGER = "send_trigger"
    """Press buttons, and interrupt vCPUs."""
    SYSRQ = "send_sysrq"
    """Send Linux magic SysRq keys."""
    ATTACH = "attach"
    """Attach and detach devices."""
    LIVE_DEVICES = "live_devices"
    """Report the devices of a running domain: ``domain.disks``, ``domain.vifs`` and so on."""
    CDROM = "insert_cdrom"
    """Change the disc in a CD-ROM drive."""
    AUTOBALLOON = "autoballoon"
    """Let dom0 give up memory for a new domain, or not, as a call says: ``create(autoballoon=True)``."""
    MEMORY = "set_memory"
    """Set how much memory a running guest should use."""
    MEMORY_INFO = "memory"
    """Report a domain's memory with its target, and wait until the guest has reached it."""
    MAXMEM = "set_maxmem"
    """Set the most memory that a running domain can be given."""
    VCPUS = "set_vcpus"
    """Set how many vCPUs a running guest should use."""
    PIN = "pin_vcpu"
    """Set the CPUs on which vCPUs may run."""
    PIN_SOFT = "cpus_soft"
    """Set the CPUs that vCPUs prefer."""
    PIN_FORCE = "pin_force"
    """Pin a vCPU even if the guest has pinned it for a while: ``pin_vcpu(force=True)``."""
    VCPU_INFO = "vcpus"
    """Report each vCPU: state, CPU, CPU time and affinity."""
    NODE_AFFINITY = "node_affinity"
    """Report the NUMA nodes from which Xen takes a domain's memory."""
    SET_NODE_AFFINITY = "set_node_affinity"
    """Set the NUMA nodes from which Xen takes a domain's memory."""
    SCHEDULER = "set_scheduler"
    """Read and set a domain's share of the CPUs."""
    VCPU_SCHEDULER = "vcpu_scheduler"
    """Read and set the share of a single vCPU, for schedulers that have one: ``set_scheduler(vcpu=0)``."""
    CPUPOOLS = "cpupools"
    """Divide the host's CPUs into pools, each with a scheduler and domains of its own."""
    HOST_DEVICES = "pci"
    """Report the host's PCI and USB devices, and which domain has each: `Host.pci` and `Host.usb`."""
    ASSIGNABLE = "assignable_add"
    """Take PCI devices from dom0's drivers, so that guests can get them, and give them back."""
    STATS = "stats"
    """Report what a domain has used: CPU time, bytes read, written, received and sent."""
    CONSOLE = "console"
    """Read and write a guest's console."""
    CONSOLE_LOG = "console_log"
    """Find the log of a guest's console."""
    ENDPOINTS = "endpoints"
    """Report a domain's VNC and SPICE servers, consoles and channels."""
    SOFT_RESET = "soft_reset"
    """Restart a guest in its existing memory."""
    MONITOR = "monitor_command"
    """Run a monitor command in the device model (QEMU)."""
    QMP = "qmp"
    """Run commands of QEMU's protocol for programs."""
    USERDATA = "userdata"
    """Store data with a domain, which is deleted with it."""
    UPDATE_CONFIG = "update_config"
    """Set the configuration from which a running domain is started again."""
    DEVD = "devd"
    """Run the hotplug scripts of a driver domain."""
    ADD_CONSOLE = "add_console"
    """Announce the console of a domain that Xen created at boot."""
    LOG = "log"
    """Read, follow and clear the log of Xen."""
    DEBUG_KEYS = "debug_keys"
    """Send debug keys to Xen."""
    PARAMETERS = "set_parameters"
    """Change parameters of Xen's command line while it runs."""
    HYPFS = "hypfs"
    """Read and write Xen's own file system."""
    FLASK = "flask"
    """Control Flask, Xen's security module."""
    PSR = "psr"
    """Watch and share out caches and memory bandwidth."""
    DEVICE_TREE = "device_tree"
    """Add overlays to Xen's device tree, on Arm."""
    LIBVIRT = "libvirt"
    """Ask libvirt for what only libvirt has: `Host.libvirt`."""
    XENSTORE = "xenstore"
    """Read, write and watch the host's xenstore."""


FeatureName: TypeAlias = Literal[
    "all_domains",
    "events",
    "pause_events",
    "topology",
    "idle_times_ns",
    "uptime",
    "orphans",
    "define",
    "pool",
    "clone",
    "check_create",
    "pause",
    "reboot",
    "fallback",
    "reboot_fallback",
    "suspend",
    "other_config",
    "save",
    "save_over",
    "checkpoint",
    "core_dump",
    "migrate",
    "migrate_over",
    "remus",
    "rename",
    "preserve",
    "send_trigger",
    "send_sysrq",
    "attach",
    "live_devices",
    "insert_cdrom",
    "autoballoon",
    "set_memory",
    "memory",
    "set_maxmem",
    "set_vcpus",
    "pin_vcpu",
    "cpus_soft",
    "pin_force",
    "vcpus",
    "node_affinity",
    "set_node_affinity",
    "set_scheduler",
    "vcpu_scheduler",
    "cpupools",
    "pci",
    "assignable_add",
    "stats",
    "console",
    "console_log",
    "endpoints",
    "soft_reset",
    "monitor_command",
    "qmp",
    "userdata",
    "update_config",
    "devd",
    "add_console",
    "log",
    "debug_keys",
    "set_parameters",
    "hypfs",
    "flask",
    "psr",
    "device_tree",
    "libvirt",
    "xenstore",
]
"""The names of the features, for type checkers."""


_STAND_IN: Final = "in a test, put something else in its place, as with pytest's monkeypatch"

_NEARER: Final[Mapping[str, Mapping[Feature, str]]] = {
    "memory": {
        Feature.MIGRATE_OVER: "Domain.migrate moves a domain to another host in memory, by its uri",
        Feature.REMUS: f"no guest is really there, of which a copy could go on: {_STAND_IN}",
        Feature.DEVD: f"no hotplug script runs there: {_STAND_IN}",
        Feature.ADD_CONSOLE: "Xen made no domain at boot there; each has its console: Domain.console",
        Feature.PSR: f"its CPUs are as most: {_STAND_IN}",
        Feature.DEVICE_TREE: f"its CPUs are x86, where Xen has no device tree: {_STAND_IN}",
        Feature.LIBVIRT: "test:///default is libvirt's own host for tests",
    },
    "libvirt": {
        Feature.VCPU_INFO: "host.libvirt.pinning has the CPUs of each vCPU, and Domain.stats the time",
        Feature.MEMORY_INFO: "Domain.info has its memory and its maximum",
        Feature.MIGRATE_OVER: "Domain.migrate takes the URI of another libvirt",
        Feature.PIN_SOFT: "Domain.pin_vcpu takes cpus",
        Feature.PIN_FORCE: "leave out force",
        Feature.VCPU_SCHEDULER: "leave out vcpu, for the whole domain",
        Feature.USERDATA: "host.libvirt.set_metadata keeps an element of XML with a domain",
        Feature.REBOOT_FALLBACK: "leave out fallback, or destroy the domain and create it again",
    },
}
"""What is nearest to a feature that a backend lacks, by the first word of the backend's name."""


def lacking(feature: Feature, backend: str, remedy: str = "") -> UnsupportedFeature:
    """Return the exception for a backend that lacks a feature.

    Args:
        feature: The missing feature.
        backend: The backend that lacks it, as in `UnsupportedFeature.backend`.
        remedy: What may have it instead. Default: what is nearest to it there, or pyxen on the host itself, through
            libxl.
    """
    nearer = _NEARER.get(backend.partition(" ")[0], {}).get(feature)
    hint = remedy or nearer or "it may work with pyxen on the host itself, through xenlight:///"
    return UnsupportedFeature(f"{feature}: {backend} cannot do this; {hint}", feature=feature.value, backend=backend)
