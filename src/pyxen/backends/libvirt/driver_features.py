"""What libvirt can do, and what its drivers cannot."""

from __future__ import annotations

from typing import Final

from pyxen.features import Feature

__all__ = ["LIBVIRTS", "NOT_ITS_DRIVERS"]

LIBVIRTS: Final = frozenset(
    {
        Feature.PAUSE_EVENTS,
        Feature.TOPOLOGY,
        Feature.ENDPOINTS,
        Feature.LIVE_DEVICES,
        Feature.NODE_AFFINITY,
        Feature.HOST_DEVICES,
        Feature.ASSIGNABLE,
        Feature.LIBVIRT,
    }
    | {
        Feature.EVENTS,
        Feature.PAUSE_EVENTS,
        Feature.DEFINE,
        Feature.PAUSE,
        Feature.REBOOT,
        Feature.FALLBACK,
        Feature.SUSPEND,
        Feature.SAVE,
    }
    | {Feature.CORE_DUMP, Feature.MIGRATE, Feature.TRIGGER, Feature.SYSRQ, Feature.ATTACH, Feature.CDROM}
    | {Feature.MEMORY, Feature.MAXMEM, Feature.VCPUS, Feature.PIN, Feature.SCHEDULER, Feature.STATS, Feature.CONSOLE}
)
"""What libvirt can do."""

NOT_ITS_DRIVERS: Final = {
    "Xen": {Feature.SYSRQ},
    "TEST": {
        Feature.ASSIGNABLE,
        Feature.ATTACH,
        Feature.CDROM,
        Feature.CONSOLE,
        Feature.FALLBACK,
        Feature.MAXMEM,
        Feature.MIGRATE,
        Feature.SUSPEND,
    },
}
"""What each driver cannot do of that."""
