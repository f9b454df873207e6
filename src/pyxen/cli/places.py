"""The modules of the commands, so that the one that is called can be loaded alone."""

from __future__ import annotations

TYPE_CHECKING = False  # typing takes longer than all that is done here
if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["COMPLETION", "GROUPS", "called"]

COMPLETION = "_PYXEN_COMPLETE"
"""Environment variable that a shell sets when it asks how a line can go on."""

PLACES = {
    "console": "console",
    "convert": "convert",
    "cpupools": (
        "cpupool-list cpupool-create cpupool-destroy cpupool-rename cpupool-cpu-add cpupool-cpu-remove "
        "cpupool-migrate cpupool-numa-split"
    ),
    "create": "create",
    "devd": "devd",
    "devices": (
        "block-attach block-detach block-list network-attach network-detach network-list channel-list cd-insert "
        "cd-eject vtpm-attach vtpm-detach vtpm-list vkb-attach vkb-detach vkb-list vdispl-attach vdispl-detach "
        "vdispl-list vsnd-attach vsnd-detach vsnd-list 9pfs-attach 9pfs-detach 9pfs-list"
    ),
    "devicetree": "dt-overlay",
    "doctor": "doctor",
    "events": "events",
    "exporter": "exporter",
    "hostlog": "dmesg debug-keys set-parameters",
    "life": (
        "shutdown reboot destroy pause unpause suspend resume rename trigger button-press sysrq qemu-monitor-command"
    ),
    "lint": "lint",
    "looking": "list info uptime claims sharing vm-list domid domname endpoints",
    "migrate_receive": "migrate-receive",
    "pci": "pci-attach pci-detach pci-list pci-assignable-add pci-assignable-remove pci-assignable-list",
    "psr": ("psr-hwinfo psr-cmt-attach psr-cmt-detach psr-cmt-show psr-cat-set psr-cat-show psr-mba-set psr-mba-show"),
    "resources": "mem-set mem-max vcpu-list vcpu-pin vcpu-set",
    "schedulers": "sched-credit sched-credit2 sched-rtds",
    "security": "getenforce setenforce loadpolicy",
    "serve": "serve",
    "supervise": "supervise",
    "top": "top",
    "transfer": "save restore migrate remus dump-core",
    "usb": "usbctrl-attach usbctrl-detach usb-list usbdev-attach usbdev-detach",
    "viewer": "vncviewer",
}
"""The commands of each module. Others are found by loading all."""

GROUPS = {
    "config": ("configuration", "Show, compare and apply the configurations of domains."),
    "autostart": ("autostart", "Start and stop domains with their host."),
    "volume": ("volume", "List, create and remove volumes of LVM, the disks of guests."),
    "image": ("images", "Make disks with a system on them."),
    "xenstore": ("xenstore", "Read, write and watch xenstore."),
}
"""The commands that have commands of their own: the module of each, and what it does."""


def called(arguments: Sequence[str]) -> tuple[str, str] | None:
    """Return the command that a command line calls, and its module; None if all have to be loaded to tell."""
    words = iter(arguments)
    for word in words:
        if word == "--uri":
            next(words, None)
        elif word in GROUPS:
            return word, GROUPS[word][0]
        elif not word.startswith("--uri="):
            return next(((word, module) for module, names in PLACES.items() if word in names.split()), None)
    return None
