"""Scripts that attach and detach devices of a simulated domain."""

from __future__ import annotations

import re
from typing import Any, Final, TypeVar, cast

from pyxen._common.backend_domains import no_backend_of, served_devices
from pyxen._common.device_kinds import (
    Kind,
    already_there,
    check_hotplug,
    find_drive,
    identify,
    matches,
    name_of,
    needs_qemu,
    not_there,
)
from pyxen._common.host_files import files_of
from pyxen._common.pci_preconditions import one_function, with_address
from pyxen._common.preconditions import check_disc, check_disc_can_change, file_missing, no_bridge
from pyxen._common.scripts import at_once
from pyxen.backends.memory import usb
from pyxen.backends.memory.defaults import filled_device
from pyxen.backends.memory.engine import Script, Wait, describe, failed, refused
from pyxen.backends.memory.guests import Guest
from pyxen.backends.memory.host_devices import check_pcis, check_usbdevs, pci_devices
from pyxen.backends.memory.machine import Machine, about
from pyxen.config import (
    P9,
    Disk,
    DiskBackend,
    DiskFormat,
    DomainConfig,
    DomainType,
    P9Type,
    Part,
    Pci,
    Pvcalls,
    UsbCtrl,
    UsbCtrlType,
    UsbDev,
    VkbBackend,
)
from pyxen.config.vdev import vdev_number
from pyxen.errors import (
    DeviceExists,
    DomainNotFound,
    GuestTimeout,
    InvalidArgument,
    NotFound,
    OperationCancelled,
    OperationTimeout,
    UnsupportedFeature,
)
from pyxen.events import DiskEjected
from pyxen.operation import Operation

__all__ = ["attach", "change_disc", "check_backends", "check_devices", "check_files", "detach"]

D = TypeVar("D", bound=Part)

_P9_SINCE: Final = (4, 19)
"""The release whose libxl can hot-plug shared folders."""

_LONGEST_IFNAME: Final = 15
"""Characters that the name of a network interface can have on Linux."""

_BY_QEMU: Final = frozenset({UsbCtrlType.QUSB, UsbCtrlType.DEVICEMODEL})


@at_once
def attach(machine: Machine, operation: Operation[Any], guest: Guest, device: D, backend: str) -> D:
    """Attach a device, and return it with the settings that were filled in; a failed attach changes nothing."""
    kind = check_hotplug(device, guest.config.type, backend)
    if isinstance(device, Pci):
        device = cast("D", one_function(operation, pci_devices(machine), device))
    present = _present(guest, kind)
    if message := already_there(kind, device, present):
        raise describe(DeviceExists, message, operation)
    check_backends(machine, operation, DomainConfig("new").replace(**{kind.field: (device,)}))
    _check_has_function(machine, device, backend)
    if isinstance(device, P9) and not (device.tag and device.path and device.security_model):
        raise refused(operation, f"Domain {guest.domid}:9pfs spec missing required field!")
    check_files(machine, operation, *files_of(device))
    made, others = filled_device(device, guest.config.type, present, machine.random), {}
    if isinstance(made, UsbDev):
        plugged_in, controllers = usb.plugged(operation, guest.config, made, machine.random)
        made, others = cast("D", plugged_in), {"usbctrls": controllers}
    if _by_qemu(made) and not has_qemu(guest.config):
        raise needs_qemu(made, backend)
    check_devices(machine, operation, DomainConfig("new").replace(**{kind.field: (made,)}))
    if isinstance(device, Disk):
        guest.ask_backends([device])
    machine.change_devices(guest, guest.config.replace(**{**others, kind.field: (*present, made)}))
    return made


def _check_has_function(machine: Machine, device: Part, backend: str) -> None:
    """Refuse a device for which libxl of the host's release has no function."""
    release = tuple(map(int, re.findall(r"\d+", machine.xen)[:2]))
    if isinstance(device, Pvcalls) or (isinstance(device, P9) and release < _P9_SINCE):
        what, shown = type(device).__name__, ".".join(map(str, release))
        message = f"libxl of Xen {shown} cannot hot-plug a {what}: create the domain again with it in its configuration"
        raise UnsupportedFeature(message, feature=what, backend=backend)


def detach(
    machine: Machine, operation: Operation[Any], guest: Guest, device: Part | str, backend: str, *, force: bool
) -> Script[None]:
    """Detach a device, after the guest has released it or, with `force`, at once."""
    if isinstance(device, Pci) and device.address is None:
        device = with_address(operation, pci_devices(machine), device)
    try:
        kind, wanted = identify(device, backend)
    except ValueError as error:
        raise describe(InvalidArgument, str(error), operation) from None
    found = [other for other in _present(guest, kind) if matches(wanted, other)]
    if not found:
        raise describe(NotFound, not_there(kind, wanted, _present(guest, kind)), operation)
    if not isinstance(wanted, Pci):  # a PCI device may stand for several functions
        del found[1:]
    if not force:
        yield from _await_release(machine, operation, guest, kind, found[0])
    if isinstance(found[0], UsbCtrl):
        machine.change_devices(guest, usb.without_controller(guest.config, found[0]))
        return
    left = tuple(other for other in _present(guest, kind) if all(other is not one for one in found))
    machine.change_devices(guest, guest.config.replace(**{kind.field: left}))


def _await_release(machine: Machine, operation: Operation[Any], guest: Guest, kind: Kind, device: Part) -> Script[None]:
    """Wait for the guest to release a device. Only a disk that it does not release is an error."""
    if not (guest.booted and guest.drivers):
        return  # no driver of the guest has taken it yet
    released: list[bool] = []
    guest.soon(lambda: released.append(True))
    what = f"{kind.noun} {name_of(device)}"
    late = machine.now() + machine.timing.mercy
    yield Wait(until=late, ready=lambda: bool(released) or guest.gone or operation.stopped is not None, abortable=False)
    if guest.gone:
        raise describe(DomainNotFound, "the domain was destroyed meanwhile", operation)
    if not released and operation.stopped is not None:
        cls = OperationTimeout if operation.stopped == "timeout" else OperationCancelled
        message = f"stopped before the guest released the {what}, which it may still do: detach it again"
        raise describe(cls, f"{message}, or remove it with force=True", operation)
    if not released and isinstance(device, Disk):
        message = f"the guest does not release the {what}: it has no driver for it, or uses it. Detach it again"
        raise describe(GuestTimeout, f"{message}, or remove it with force=True", operation)


@at_once
def change_disc(
    machine: Machine, operation: Operation[Any], guest: Guest, vdev: str, target: str | None, backend: str
) -> None:
    """Change the disc in a CD-ROM drive; None ejects it."""
    check_disc_can_change(operation.verb, guest.config.type, vdev, backend)
    try:
        before = find_drive(vdev, guest.config.disks)
    except LookupError as error:
        raise describe(NotFound, str(error), operation) from None
    target = target or None
    if target is not None:
        check_files(machine, operation, target)
        if machine.files_are_here:
            check_disc(operation, target)
    changed = before.replace(target=target, format=DiskFormat.RAW if target else DiskFormat.EMPTY)
    disks = tuple(changed if disk is before else disk for disk in guest.config.disks)
    guest.config = guest.config.replace(disks=disks)
    machine.note(guest)
    if before.target and before.target != target:
        number = vdev_number(before.vdev or "") or 0
        served_by = before.backend_domid
        machine.tell(DiskEjected(**about(guest), kind="vbd", devid=number, backend=served_by, vdev=before.vdev or vdev))


def _present(guest: Guest, kind: Kind) -> tuple[Any, ...]:
    devices: tuple[Any, ...] = getattr(guest.config, kind.field)
    return devices


def check_files(machine: Machine, operation: Operation[Any], *paths: str) -> None:
    """Refuse files that are missing on the host."""
    missing = [path for path in paths if not machine.exists(path)]
    if missing and missing[0].startswith("/"):
        raise file_missing(operation, *missing)
    if missing:
        raise failed(operation, f"failed to open file '{missing[0]}': No such file or directory")


def check_backends(machine: Machine, operation: Operation[Any], config: DomainConfig) -> None:
    """Refuse devices whose backend domains are missing on the host."""
    if error := no_backend_of(operation, served_devices(config), machine.is_there):
        raise error


def check_devices(machine: Machine, operation: Operation[Any], config: DomainConfig) -> None:
    """Refuse devices whose files or bridges are missing on the host, and what a domain cannot get of the host's."""
    needed = files_of(*config.disks, *config.vifs)
    check_files(machine, operation, *needed, *filter(None, map(_relative_target, config.disks)))
    check_pcis(machine, operation, config.pcis)
    usb.check_controllers(operation, config.usbctrls)
    check_usbdevs(machine, operation, config.usbdevs)
    for vif in config.vifs:
        local = vif.backend is None and not vif.backend_domid
        if local and vif.bridge is not None and machine.bridges is not None and vif.bridge not in machine.bridges:
            operation.log.append(f"vif-bridge: could not find bridge device {vif.bridge}")
            raise no_bridge(operation, vif.bridge)
        if local and len(vif.vifname or "") > _LONGEST_IFNAME:
            raise failed(operation, f"script: ip link set vif{operation.domid}.0 name {vif.vifname} failed")


def _relative_target(disk: Disk) -> str | None:
    """Return the target of a disk that is relative to the folder in which this process runs."""
    if disk.target is None or disk.script or disk.backend or disk.backend_domid or disk.target.startswith("/"):
        return None
    return disk.target


def _by_qemu(device: Part) -> bool:
    if isinstance(device, Disk):
        return device.backendtype is DiskBackend.QDISK and not (device.backend or device.backend_domid)
    return isinstance(device, UsbCtrl) and device.type in _BY_QEMU


def has_qemu(config: DomainConfig) -> bool:
    """Tell whether libxl starts a QEMU for a domain."""
    return (
        config.type is DomainType.HVM
        or any(map(_by_qemu, (*config.disks, *config.usbctrls)))
        or bool(config.vfbs or config.channels)
        or any(vkb.backend_type is VkbBackend.QEMU for vkb in config.vkbs)
        or any(p9.type in {None, P9Type.QEMU} for p9 in config.p9s)
    )
