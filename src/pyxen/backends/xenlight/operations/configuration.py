"""The configuration that libxl keeps for a running domain."""

from __future__ import annotations

from typing import Any

from pyxen import libxljson
from pyxen._common.defaults import without_foreign_settings
from pyxen.backends.xenlight.libxl.binding import CData, ffi, lib
from pyxen.backends.xenlight.libxl.context import Context
from pyxen.backends.xenlight.libxl.error_map import describe, failure, raise_failure
from pyxen.backends.xenlight.libxl.event_loop import Script
from pyxen.backends.xenlight.libxl.marshal import domain_config, to_json
from pyxen.backends.xenlight.libxl.own_records import unreadable
from pyxen.config import Disk, DomainConfig
from pyxen.errors import NotFound, OperationTimeout, QmpError
from pyxen.operation import Operation
from pyxen.records.info import ENDS

__all__ = ["config", "retrieved"]


def retrieved(context: Context, operation: Operation[Any], domid: int) -> Script[CData]:
    """Return a domain's current ``libxl_domain_config *``: what it was created from, plus the changes since.

    libxl asks QEMU which vCPUs an HVM guest has online. QEMU may have ended, or hang. For a guest that has ended, the
    record that libxl keeps is taken then, so that it can be started again: xl starts it from what it was created from.
    """
    found = ffi.new("libxl_domain_config *")
    lib.libxl_domain_config_init(found)
    found = ffi.gc(found, lib.libxl_domain_config_dispose)
    code = yield from context.complete(
        lambda how: lib.libxl_retrieve_domain_configuration(context.pointer, domid, found, how)
    )
    record = _record(context, domid) if code != 0 else None
    if code == lib.ERROR_JSON_CONFIG_EMPTY or record == b"":
        message = "libxl keeps no configuration of this domain: another toolstack made it"
        raise describe(NotFound, message, operation, code)
    if record and (reason := unreadable(record)) is not None:
        raise reason
    if record and _only_qemu_is_missing(context, operation, domid, code):
        return domain_config(context.pointer, record.decode(errors="surrogateescape"))
    raise_failure(operation, code)
    context.check_connected()  # otherwise, libxl finds no devices, and does not say that it failed
    return found


def _only_qemu_is_missing(context: Context, operation: Operation[Any], domid: int, code: int) -> bool:
    """Tell whether it was QEMU that did not answer, for a guest that has ended."""
    if operation.stopped is not None or not isinstance(failure(operation, code), QmpError | OperationTimeout):
        return False
    info = context.hypervisor.domain(domid)
    return info is not None and info.state in ENDS


def _record(context: Context, domid: int) -> bytes | None:
    """Return libxl's record of a domain, as JSON; empty if it keeps none, None if that is not known.

    If it keeps none, the error code of other calls only says that they failed.
    """
    data, length = ffi.new("uint8_t **"), ffi.new("int *")
    if lib.libxl_userdata_retrieve(context.pointer, domid, b"libxl-json", data, length) != 0:
        return None
    try:
        return bytes(ffi.buffer(data[0], length[0])) if length[0] else b""
    finally:
        lib.free(data[0])


def config(context: Context, operation: Operation[DomainConfig], domid: int) -> Script[DomainConfig]:
    """Return the current configuration of a domain."""
    found = yield from retrieved(context, operation, domid)
    read = without_foreign_settings(libxljson.loads(to_json(context.pointer, found), on_loss="warn"))
    # A domid would request that number, which Xen does not reuse so soon.
    return read.replace(domid=None, disks=[_drive(disk) for disk in read.disks])


def _drive(disk: Disk) -> Disk:
    """Return a disk as users write it: for an empty drive libxl finds an empty text in xenstore."""
    return disk.replace(target=None) if disk.target == "" else disk
