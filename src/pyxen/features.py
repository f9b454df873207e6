"""The features that not every backend has."""

from __future__ import annotations

from enum import StrEnum
from typing import Literal, TypeAlias

from pyxen.errors import UnsupportedFeature

__all__ = ["Feature", "FeatureName", "lacking"]


class Feature(StrEnum):
    """Something that not every backend can do; `Host.supports` tells. Most are named as the method that needs them."""

    ALL_DOMAINS = "all_domains"
    """See and control every domain of the host, not only those of one manager."""
    EVENTS = "events"
    """Tell what happens, see `Host.events`."""
    ORPHANS = "orphans"
    """Find half-made domains of processes that were killed."""
    DEFINE = "define"
    """Keep configurations of domains that do not run, and start them by name or with the host."""
    PAUSE = "pause"
    """Pause and unpause."""
    REBOOT = "reboot"
    """Ask the guest to reboot."""
    FALLBACK = "fallback"
    """Press the power button where a guest has no driver that could answer: ``shutdown(fallback=True)``."""
    SUSPEND = "suspend"
    """Suspend in memory, and resume."""
    SAVE = "save"
    """Save to a file, and restore."""
    CHECKPOINT = "checkpoint"
    """Let the guest go on after a save."""
    CORE_DUMP = "core_dump"
    """Write the guest's memory to a file."""
    MIGRATE = "migrate"
    """Move a running domain to another host."""
    MIGRATE_OVER = "migrate_over"
    """Move a domain over a pair of descriptors, and receive one."""
    REMUS = "remus"
    """Keep a copy of a running domain on another host, which takes over when this one is lost."""
    RENAME = "rename"
    """Give a running domain another name."""
    PRESERVE = "preserve"
    """Set a domain aside that has ended."""
    TRIGGER = "send_trigger"
    """Press buttons, and interrupt vCPUs."""
    SYSRQ = "send_sysrq"
    """Press keys of Linux's magic SysRq."""
    ATTACH = "attach"
    """Attach and detach devices."""
    CDROM = "insert_cdrom"
    """Change the disc in a CD-ROM drive."""
    MEMORY = "set_memory"
    """Tell a running guest how much memory to have."""
    MAXMEM = "set_maxmem"
    """Set how much memory a running domain can be given."""
    VCPUS = "set_vcpus"
    """Tell a running guest how many vCPUs to use."""
    PIN = "pin_vcpu"
    """Set the CPUs on which vCPUs may run."""
    PIN_SOFT = "cpus_soft"
    """Set the CPUs that vCPUs prefer."""
    SCHEDULER = "set_scheduler"
    """Set a domain's share of the CPUs."""
    STATS = "stats"
    """Count what a domain has used: CPU time, bytes read, written, received and sent."""
    CONSOLE = "console"
    """Read and write a guest's console."""
    SOFT_RESET = "soft_reset"
    """Start a guest anew in its own memory."""
    MONITOR = "monitor_command"
    """Ask the device model something in its own words."""
    USERDATA = "userdata"
    """Keep notes with a domain, which go when it goes."""
    DEVD = "devd"
    """Run the hotplug scripts of a driver domain."""
    ADD_CONSOLE = "add_console"
    """Give a console to a domain that Xen made at its start."""


FeatureName: TypeAlias = Literal[
    "all_domains",
    "events",
    "orphans",
    "define",
    "pause",
    "reboot",
    "fallback",
    "suspend",
    "save",
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
    "insert_cdrom",
    "set_memory",
    "set_maxmem",
    "set_vcpus",
    "pin_vcpu",
    "cpus_soft",
    "set_scheduler",
    "stats",
    "console",
    "soft_reset",
    "monitor_command",
    "userdata",
    "devd",
    "add_console",
]
"""The names of the features, for type checkers."""


def lacking(feature: Feature, backend: str, remedy: str = "") -> UnsupportedFeature:
    """Return the exception for a backend that cannot do something.

    Args:
        feature: What.
        backend: Who cannot do it, as in `UnsupportedFeature.backend`.
        remedy: What would do it; by default the host itself, through libxl.
    """
    hint = remedy or "pyxen on the host itself, through xenlight:///, may"
    return UnsupportedFeature(f"{feature}: {backend} cannot do this; {hint}", feature=feature.value, backend=backend)
