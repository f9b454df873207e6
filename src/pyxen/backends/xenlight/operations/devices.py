"""Scripts that attach devices to a running domain and detach them."""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Collection, Iterable, Iterator
from functools import partial
from pathlib import PurePosixPath
from typing import Any, Final, Generic, TypeVar, cast

from pyxen import libxljson
from pyxen._common.backend_domains import no_backend_of
from pyxen._common.backend_path import backend_path
from pyxen._common.device_kinds import (
    Kind,
    already_there,
    check_hotplug,
    find_drive,
    identify,
    kind_of,
    matches,
    name_of,
    needs_qemu,
    not_there,
)
from pyxen._common.host_files import files_of, lacks_bridge, missing_file
from pyxen._common.pci_preconditions import not_assignable, one_function, with_address
from pyxen._common.preconditions import check_disc, check_disc_can_change, file_missing, no_bridge
from pyxen._common.usb_lookup import no_such_usb
from pyxen.backends.xenlight.hypervisor import Hypervisor
from pyxen.backends.xenlight.libxl.binding import CData, ffi, lib, release
from pyxen.backends.xenlight.libxl.context import Context
from pyxen.backends.xenlight.libxl.error_map import BACKEND, describe, failure, stopped
from pyxen.backends.xenlight.libxl.event_loop import Script
from pyxen.backends.xenlight.libxl.marshal import check_keys, structure, to_json
from pyxen.backends.xenlight.operations.lifecycle import is_there
from pyxen.backends.xenlight.operations.monitor import has_qemu
from pyxen.backends.xenlight.operations.passthrough import check_free, has_answered, reserved_pcis
from pyxen.backends.xenlight.operations.pci import devices as pci_devices
from pyxen.backends.xenlight.operations.pci import note_holder
from pyxen.backends.xenlight.operations.qmp import has_ended
from pyxen.backends.xenlight.sysfs import is_unplugged
from pyxen.config import Disk, DiskBackend, DiskFormat, DomainType, Part, Pci, UsbCtrl, UsbDev, Vif
from pyxen.config.vdev import vdev_number
from pyxen.errors import (
    ConnectFailed,
    DeviceExists,
    Error,
    GuestTimeout,
    InvalidArgument,
    InvalidState,
    NotFound,
    OperationFailed,
    QmpError,
    UnsupportedFeature,
    XenstoreError,
)
from pyxen.operation import Operation

__all__ = ["attach", "change_disc", "detach"]

D = TypeVar("D", bound=Part)

_USB_DEVICE: Final = kind_of(UsbDev())
_USB_CONTROLLER: Final = kind_of(UsbCtrl())

_LOOKS: Final = 3
"""How often libxl is asked for devices that it does not list, though xenstore has some: they may just be going."""

_NOT_GIVEN: Final = re.compile("cannot be assigned - no IOMMU|already assigned to a different guest")
"""What libxl says of a PCI device of which it has given nothing to a domain."""
_NO_DEVICE_MODEL: Final = re.compile(
    "device model required but not running|Failed to connect to QMP socket .*: No such file"
)  # the code is only ERROR_FAIL


class _Present(Generic[D]):
    """The devices of one kind that a domain has now. libxl's structures live as long as this object."""

    def __init__(self, context: Context, domid: int, kind: Kind, part: type[D]) -> None:
        self._structs = list(self._listed(context, domid, kind) if kind.listed else _noted(context, domid, kind))
        self.devices = [_read(context, kind, part, struct) for struct in self._structs]

    def _listed(self, context: Context, domid: int, kind: Kind) -> Iterator[CData]:
        count = ffi.new("int *")
        for _ in range(_LOOKS):
            array = getattr(lib, f"{kind.ctype}_list")(context.pointer, domid, count)
            if array != ffi.NULL:
                break
            context.check_connected()
            if not _has_records(context, domid, kind):
                return
        else:
            raise _unreadable(context, domid, kind)
        self._array: CData = ffi.gc(array, lambda array: getattr(lib, f"{kind.ctype}_list_free")(array, count[0]))
        for index in range(count[0]):
            yield self._array + index

    def find(self, device: Part) -> CData | None:
        """Return libxl's structure of a device; None if the domain does not have it."""
        return next((struct for _, struct in self.meant_by(device)), None)

    def meant_by(self, device: Part) -> list[tuple[D, CData]]:
        """Return a device with libxl's structure of it; of a PCI device all functions, the first one last."""
        pairs = zip(self.devices, self._structs, strict=True)
        found = [(other, struct) for other, struct in pairs if matches(device, other)]
        if not isinstance(device, Pci):
            return found[:1]
        return sorted(found, key=lambda pair: name_of(pair[0]), reverse=True)


def _folder(domid: int, kind: Kind) -> str:
    """Return the xenstore folder of libxl's entries for a domain's devices of a kind."""
    return f"/libxl/{domid}/device/{kind.node}"


def _has_records(context: Context, domid: int, kind: Kind) -> bool:
    """Tell whether xenstore has records of devices of a kind, each for one device."""
    return kind.node is not None and kind.part is not Pci and bool(context.hypervisor.directory(_folder(domid, kind)))


def _unreadable(context: Context, domid: int, kind: Kind) -> XenstoreError:
    """Return the exception for a kind of which libxl lists no device, because it cannot read all of them."""
    folder = _folder(domid, kind)
    records = [f"{folder}/{devid}" for devid in context.hypervisor.directory(folder)]
    backends = context.hypervisor.read_all([f"{record}/backend" for record in records])
    bad = [record for record, backend in zip(records, backends, strict=True) if backend_path(backend) is None]
    message = (
        f"libxl cannot read the domain's {kind.noun} records in xenstore, for {' and '.join(bad or records)} is not "
        f"whole: remove what is left of a device there, or destroy the domain"
    )
    return XenstoreError(message, domid=domid)


def _noted(context: Context, domid: int, kind: Kind) -> Iterator[CData]:
    """Yield the devices of a kind that libxl does not list, with the fields that are needed to detach them."""
    folder = _folder(domid, kind)
    for devid in context.hypervisor.directory(folder):
        backend = backend_path(context.hypervisor.read(f"{folder}/{devid}/backend"))
        if backend is None:
            continue  # it was just removed, or was never there
        struct = ffi.new(f"{kind.ctype} *")
        getattr(lib, f"{kind.ctype}_init")(struct)
        struct.devid, struct.backend_domid = int(devid), backend.backend_domid
        if hasattr(struct, "type"):  # a 9pfs since Xen 4.19: libxl finds its backend by this
            struct.type = lib.LIBXL_P9_TYPE_QEMU if backend.kind == "9pfs" else lib.LIBXL_P9_TYPE_XEN_9PFSD
        yield ffi.gc(struct, getattr(lib, f"{kind.ctype}_dispose"))


def attach(context: Context, operation: Operation[D], domid: int, guest: DomainType, device: D) -> Script[D]:
    """Attach a device, as ``xl block-attach`` and the like, and return it as attached. A failure leaves nothing."""
    kind = check_hotplug(device, guest, BACKEND)
    if not isinstance(device, Pci):
        return (yield from _attach(context, operation, domid, guest, kind, device))
    pci = one_function(operation, pci_devices(context.hypervisor), device)
    with reserved_pcis(context, operation, [pci]):
        if not (yield from has_answered(context, domid)):
            message = "the guest does not answer the backend of its PCI devices, so that it can get no other one"
            raise describe(GuestTimeout, message, operation, lib.ERROR_TIMEDOUT)
        return cast("D", (yield from _attach(context, operation, domid, guest, kind, pci)))


def _attach(
    context: Context, operation: Operation[Any], domid: int, guest: DomainType, kind: Kind, device: D
) -> Script[D]:
    document = libxljson.device_to_dict(device)
    check_keys(document, kind.ctype)
    _check_files(operation, device)
    present = _Present(context, domid, kind, type(device))
    if message := already_there(kind, device, present.devices):
        raise describe(DeviceExists, message, operation, lib.ERROR_DEVICE_EXISTS)
    if isinstance(device, Pci):
        check_free(context, operation, [device])
    if _only_by_qemu(device) and guest is not DomainType.HVM and not has_qemu(context.hypervisor, domid):
        raise needs_qemu(device, BACKEND)
    if backendless := no_backend_of(operation, [device], partial(is_there, context)):
        raise backendless  # libxl would leave nodes of the device, and then refuse every other one of this kind
    controllers = None if kind is not _USB_DEVICE else _Controllers(context, domid)
    if controllers is not None:
        controllers.check(operation, guest, device)
    known = context.hypervisor.directory(_folder(domid, kind))
    struct = structure(context.pointer, kind.ctype, json.dumps(document))
    add = getattr(lib, kind.add or f"{kind.ctype}_add", None)
    if add is None:
        what = type(device).__name__
        message = (
            f"libxl of Xen {release} cannot hot-plug a {what}: create the domain again with it in its configuration"
        )
        raise UnsupportedFeature(message, feature=what, backend=BACKEND)
    code = yield from context.complete(lambda how: add(context.pointer, domid, struct, how))
    made = _read(context, kind, type(device), struct)
    error: Error | None
    if code != 0 or operation.stopped is not None:
        error = _why_not_attached(context, operation, made, code)
    elif isinstance(made, Disk) and made.backendtype is DiskBackend.QDISK and has_ended(domid):
        message = "QEMU, which would serve it, has ended: destroy the domain, or attach a disk with backendtype=phy"
        error = describe(QmpError, message, operation)
    else:
        error = _rival(context, operation, domid, kind, device, made)
    if error is None:
        return made
    if code != lib.ERROR_DEVICE_EXISTS:  # otherwise, the device belongs to another toolstack
        yield from _take_back(context, domid, kind, made)
        with contextlib.suppress(ConnectFailed, XenstoreError):
            _clear_remnants(context, domid, kind, known, made)
            if controllers is not None:
                yield from controllers.remove_new()
    raise error


class _Controllers:
    """The USB controllers of a domain before a USB device is attached.

    libxl makes another one where none has a free port. If the device cannot be attached, that one stays; and QEMU is
    not told of an emulated one, so that every later device fails, too.
    """

    def __init__(self, context: Context, domid: int) -> None:
        self._context, self._domid = context, domid
        self._present = _Present(context, domid, _USB_CONTROLLER, UsbCtrl).devices

    def check(self, operation: Operation[Any], guest: DomainType, device: Part) -> None:
        """Refuse a device for which libxl would make an emulated controller."""
        if guest is not DomainType.HVM or not isinstance(device, UsbDev) or device.controller is not None:
            return
        if is_unplugged(device):
            raise no_such_usb(operation, device)
        used = _Present(self._context, self._domid, _USB_DEVICE, UsbDev).devices
        for one in self._present:
            if (one.ports or 0) > sum(other.controller == one.devid for other in used):
                return
        message = "the guest has no USB controller with a free port: attach a UsbCtrl first"
        raise describe(InvalidState, message, operation)

    def remove_new(self) -> Script[None]:
        """Remove the controllers that were not there before, and that no other device has got meanwhile."""
        kept = {one.devid for one in self._present}
        kept |= {one.controller for one in _Present(self._context, self._domid, _USB_DEVICE, UsbDev).devices}
        for one in _Present(self._context, self._domid, _USB_CONTROLLER, UsbCtrl).devices:
            if one.devid not in kept:
                yield from _take_back(self._context, self._domid, _USB_CONTROLLER, one)


def _only_by_qemu(device: Part) -> bool:
    """Tell whether this is a disk that nobody but QEMU can serve.

    libxl would choose QEMU, but only after it has checked whether the domain has one: then nobody would serve the disk.
    """
    if not isinstance(device, Disk) or device.format in {DiskFormat.RAW, DiskFormat.EMPTY}:
        return False
    here = device.backend is None and not device.backend_domid and device.script is None
    return here and device.backendtype in {None, DiskBackend.QDISK}


def _rival(
    context: Context, operation: Operation[Any], domid: int, kind: Kind, wanted: Part, made: Part
) -> Error | None:
    """Return the exception if another program attached a device with the same name at the same time.

    libxl compares only devids, which it chooses itself. The device with the lower devid came first, and stays.
    """
    if ("devid",) not in kind.names or name_of(wanted) == "":
        return None
    try:
        present: Iterable[Any] = _Present(context, domid, kind, type(made)).devices
    except (ConnectFailed, XenstoreError) as lost:  # it cannot be told: take the device back, as after other failures
        return lost
    earlier = [other for other in present if other.devid < getattr(made, "devid", 0)]
    if already_there(kind, wanted, earlier) is None:
        return None
    message = f"another program has just attached the {kind.noun} {name_of(wanted)}"
    return describe(DeviceExists, message, operation)


def detach(
    context: Context, operation: Operation[None], domid: int, device: Part | str, *, force: bool
) -> Script[None]:
    """Detach a device, as ``xl block-detach`` and the like."""
    if isinstance(device, Pci) and device.address is None:
        device = with_address(operation, pci_devices(context.hypervisor), device)
    try:
        kind, wanted = identify(device, BACKEND)
    except ValueError as error:
        raise describe(InvalidArgument, str(error), operation) from None
    present = _Present(context, domid, kind, type(wanted))
    found = present.meant_by(wanted)
    if not found:
        raise describe(NotFound, not_there(kind, wanted, present.devices), operation, lib.ERROR_NOTFOUND)
    for one, struct in found:
        code = yield from _remove(context, domid, kind, one, struct, force=force)
        if code != 0 and _Present(context, domid, kind, type(one)).find(one) is not None:
            raise _why_not_detached(operation, kind, one, code, force=force)


def _remove(
    context: Context, domid: int, kind: Kind, device: Part, struct: CData, *, force: bool, abortable: bool = True
) -> Script[int]:
    """Let libxl remove a device, and return its code.

    libxl reports success also if a PV guest does not release a PCI device: then the guest still has it, and libxl has
    removed the record that it is not free.
    """
    if isinstance(device, Pci) and not (yield from has_answered(context, domid, abortable=abortable)):
        return lib.ERROR_TIMEDOUT  # type: ignore[no-any-return]  # cffi has no types
    remove = _removal(kind, force=force)
    code = yield from context.complete(lambda how: remove(context.pointer, domid, struct, how), abortable=abortable)
    if code != 0 or not isinstance(device, Pci) or device.address is None:
        return code
    if _Present(context, domid, kind, Pci).find(device) is None:
        return 0
    note_holder(context.hypervisor, device.address, domid)
    return lib.ERROR_TIMEDOUT  # type: ignore[no-any-return]  # cffi has no types


def change_disc(
    context: Context, operation: Operation[None], domid: int, guest: DomainType, vdev: str, target: str | None
) -> Script[None]:
    """Replace the disc in a CD-ROM drive, as ``xl cd-insert``; None leaves the drive empty."""
    check_disc_can_change(operation.verb, guest, vdev, BACKEND)
    kind = kind_of(Disk())
    try:
        before = find_drive(vdev, _Present(context, domid, kind, Disk).devices)
    except LookupError as error:
        raise describe(NotFound, str(error), operation, lib.ERROR_NOTFOUND) from None
    disc = Disk(target, vdev=before.vdev, cdrom=True)
    _check_files(operation, disc)
    if target is not None:
        check_disc(operation, target)
    struct = structure(context.pointer, kind.ctype, json.dumps(libxljson.device_to_dict(disc)))
    code = yield from context.complete(lambda how: lib.libxl_cdrom_insert(context.pointer, domid, struct, how))
    if code != 0 and operation.stopped is not None:
        message = f"stopped on the way: {vdev} may have the old disc, the new one, or none"
        raise describe(type(stopped(operation)), message, operation, code)
    if code != 0:  # libxl first ejects the old disc, and does not insert it again
        failed = failure(operation, code)
        failed.message += f"; the guest may have no disc in {vdev} now, whatever is recorded: insert one again"
        raise failed


def _read(context: Context, kind: Kind, part: type[D], struct: CData) -> D:
    return libxljson.device_from_dict(part, json.loads(to_json(context.pointer, struct, kind.ctype)), on_loss="ignore")


def _removal(kind: Kind, *, force: bool) -> Any:
    """Return libxl's function that removes a device: at once, or after the guest has released it.

    Kinds without a safe function use one that removes the device by force after ten seconds, as xl does.
    """
    ways = ("destroy", "remove") if force else ("safe_remove", "remove")
    return next(getattr(lib, f"{kind.ctype}_{way}") for way in ways if hasattr(lib, f"{kind.ctype}_{way}"))


def _take_back(context: Context, domid: int, kind: Kind, device: Part) -> Script[None]:
    """Remove what a failed attach has left. As part of a clean-up, it cannot be stopped."""
    yield from context.reconnect()
    try:
        present = _Present(context, domid, kind, type(device))
    except XenstoreError:
        return  # libxl cannot list what it wrote by half, nor remove it: see `_clear_remnants`
    struct = present.find(device)
    if struct is not None:
        yield from _remove(context, domid, kind, device, struct, force=True, abortable=False)


def _clear_remnants(context: Context, domid: int, kind: Kind, known: Collection[str], device: Part) -> None:
    """Remove new entries of a device that could not be attached, and of those without a backend or its state.

    libxl makes them if xenstored refuses a part of what it writes. It does not list some of them, so it cannot remove
    them; nor those of which it misses a part, such as the type of a vif.
    """
    hypervisor, folder = context.hypervisor, _folder(domid, kind)
    for devid in set(hypervisor.directory(folder)) - set(known):
        backend = backend_path(hypervisor.read(f"{folder}/{devid}/backend"))
        if _is_at(device, devid) or backend is None or hypervisor.read(f"{backend.path}/state") is None:
            record, frontends = f"{folder}/{devid}", f"/local/domain/{domid}/device/{kind.node}"
            backends = [] if backend is None or backend.domid != domid else [backend.path]
            hypervisor.remove(*backends, f"{frontends}/{devid}", record)  # the record last: it leads to the others
            if not known:
                _remove_empty(hypervisor, folder, frontends)
            for path in backends:  # as libxl, remove the folders above it, too
                _remove_empty(hypervisor, *map(str, [*PurePosixPath(path).parents][:2]))


def _is_at(device: Part, devid: str) -> bool:
    number = vdev_number(device.vdev or "") if isinstance(device, Disk) else getattr(device, "devid", None)
    return devid == str(number)


def _remove_empty(hypervisor: Hypervisor, *folders: str) -> None:
    """Remove folders of xenstore, one after the other, that are empty."""
    for folder in folders:
        if not hypervisor.directory(folder):
            hypervisor.remove(folder)


def _check_files(operation: Operation[Any], device: Part) -> None:
    """Refuse a device whose file is missing: libxl's behaviour depends on the backend, and QEMU does not report it."""
    path = missing_file(files_of(device))
    if path is not None:
        raise file_missing(operation, path)


def _why_not_attached(context: Context, operation: Operation[Any], device: Part, code: int) -> Error:
    """Return the exception for an attach that failed. libxl mostly returns ERROR_FAIL, so look for the cause."""
    if operation.stopped is None and lacks_bridge(device) and isinstance(device, Vif):
        return no_bridge(operation, device.bridge, code)
    if operation.stopped is None and isinstance(device, Pci) and not (device.seize or _assignable(context, device)):
        return not_assignable(operation, device, code)
    if operation.stopped is None and isinstance(device, UsbDev) and is_unplugged(device):
        return no_such_usb(operation, device, code)
    if operation.stopped is None and any(map(_NO_DEVICE_MODEL.search, operation.log)):
        return needs_qemu(device, BACKEND)
    if isinstance(device, Pci) and not any(map(_NOT_GIVEN.search, operation.log)):
        return _half_given(operation, device, code)
    return failure(operation, code)


def _half_given(operation: Operation[Any], device: Pci, code: int) -> Error:
    """Return the exception for a PCI device that libxl may have given to a domain in part, which it does not undo."""
    left = f"Xen and QEMU may still let the domain use {device.address}: destroy it before another one gets the device"
    if operation.stopped is not None:
        return stopped(operation, code, left)
    error = failure(operation, code)
    error.message += f"; {left}"
    return error


def _assignable(context: Context, device: Pci) -> bool:
    count = ffi.new("int *")
    array = lib.libxl_device_pci_assignable_list(context.pointer, count)
    if array == ffi.NULL:
        return False
    kind = kind_of(device)
    found = any(matches(device, _read(context, kind, Pci, array + index)) for index in range(count[0]))
    lib.libxl_device_pci_assignable_list_free(array, count[0])
    return found


def _why_not_detached(
    operation: Operation[Any], kind: Kind, device: Part, code: int, *, force: bool
) -> OperationFailed | Error:
    what = f"{kind.noun} {name_of(device)}"
    remedy = "" if force else ", or remove it with force=True"
    if operation.stopped is not None:
        message = f"stopped before the guest released the {what}, which it may still do: detach it again{remedy}"
        return describe(type(stopped(operation)), message, operation, code)
    if code == lib.ERROR_TIMEDOUT and isinstance(device, Pci):
        message = f"the guest does not release the {what}, and still has it. Detach it again, or destroy the domain"
        return describe(GuestTimeout, message, operation, code)
    if code == lib.ERROR_TIMEDOUT:
        backend = getattr(device, "backend_domid", 0)
        other = f", or domain {backend}, which serves it, does not answer" if backend else ""
        message = f"the guest does not release the {what}: it has no driver for it, or uses it{other}"
        return describe(GuestTimeout, f"{message}. Detach it again{remedy}", operation, code)
    return failure(operation, code)
