"""What is asked of a domain that lives on: its configuration, another name, a key press, a state to wait for."""

from __future__ import annotations

import re
import time
from collections.abc import Collection
from typing import Any
from uuid import UUID

from pyxen import libxljson
from pyxen.backends.xenlight.libxl.binding import CData, ffi, lib
from pyxen.backends.xenlight.libxl.context import Context
from pyxen.backends.xenlight.libxl.error_map import BACKEND, describe, raise_failure
from pyxen.backends.xenlight.libxl.event_loop import Script, Wait
from pyxen.backends.xenlight.libxl.marshal import to_json
from pyxen.config import DomainConfig
from pyxen.config.base import fields_of
from pyxen.errors import DomainExists, InvalidArgument, NotFound, UnsupportedFeature
from pyxen.info import ENDS, DomainInfo, DomainState, Trigger
from pyxen.operation import Operation

__all__ = [
    "config",
    "monitor_command",
    "rename",
    "retrieved",
    "send_sysrq",
    "send_trigger",
    "set_userdata",
    "userdata",
    "wait",
]

_KEY = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,63}")

_OTHERS_KEYS = {
    "libxl-json": "libxl's own",
    "domain-userdata-lock": "libxl's own",
    "xl": "xl's own",
    "libvirt-xml": "libvirt's own",
}

_FIRST_LOOK, _MOST_APART = 0.01, 0.2  # seconds


def retrieved(context: Context, operation: Operation[Any], domid: int) -> Script[CData]:
    """Return the ``libxl_domain_config *`` of a domain as it is now: what it was made from, and what changed since."""
    found = ffi.new("libxl_domain_config *")
    lib.libxl_domain_config_init(found)
    found = ffi.gc(found, lib.libxl_domain_config_dispose)
    code = yield from context.complete(
        lambda how: lib.libxl_retrieve_domain_configuration(context.pointer, domid, found, how)
    )
    if code == lib.ERROR_JSON_CONFIG_EMPTY or (code != 0 and not _is_kept(context, domid)):
        message = "libxl keeps no configuration of this domain: another toolstack made it"
        raise describe(NotFound, message, operation, code)
    raise_failure(operation, code)
    return found


def _is_kept(context: Context, domid: int) -> bool:
    """Tell whether libxl keeps a configuration; where it does not, it says no more than that it failed."""
    data, length = ffi.new("uint8_t **"), ffi.new("int *")
    if lib.libxl_userdata_retrieve(context.pointer, domid, b"libxl-json", data, length) != 0:
        return True  # who knows
    lib.free(data[0])
    return bool(length[0])


def config(context: Context, operation: Operation[DomainConfig], domid: int) -> Script[DomainConfig]:
    """Return the configuration of a domain as it is now."""
    found = yield from retrieved(context, operation, domid)
    read = _for_its_type(libxljson.loads(to_json(context.pointer, found), on_loss="warn"))
    return read.replace(domid=None)  # which asks for a number; Xen does not give one out again so soon


def _for_its_type(found: DomainConfig) -> DomainConfig:
    """Take out what libxl notes of every domain and only other guest types have: it could not be created again."""
    fields = fields_of(DomainConfig)
    defaults = dict(zip(fields.names, fields.defaults, strict=True))
    foreign = {name for name, _ in found.said() if found.type not in (fields.settings[name].guests or {found.type})}
    return found.replace(**{name: defaults[name] for name in foreign})


def rename(context: Context, operation: Operation[None], domid: int, name: str) -> Script[None]:
    """Give a domain another name, as ``xl rename``."""
    yield from ()
    other = ffi.new("uint32_t *")
    if lib.libxl_name_to_domid(context.pointer, name.encode(), other) == 0 and other[0] != domid:
        raise describe(DomainExists, f"domain {other[0]} has the name {name!r} already: choose another", operation)
    raise_failure(operation, lib.libxl_domain_rename(context.pointer, domid, ffi.NULL, name.encode()))


def send_trigger(context: Context, operation: Operation[None], domid: int, trigger: Trigger, vcpu: int) -> Script[None]:
    """Press a button, or interrupt a vCPU, as ``xl trigger``."""
    number = getattr(lib, f"LIBXL_TRIGGER_{trigger.name}")
    code = yield from context.complete(lambda how: lib.libxl_send_trigger(context.pointer, domid, number, vcpu, how))
    raise_failure(operation, code)


def send_sysrq(context: Context, operation: Operation[None], domid: int, key: str) -> Script[None]:
    """Press a key of Linux's magic SysRq, as ``xl sysrq``."""
    yield from ()
    if len(key) != 1 or not key.isascii() or not key.isprintable():
        raise describe(InvalidArgument, f"{key!r} is no key: it takes one letter, as 's' for sync", operation)
    raise_failure(operation, lib.libxl_send_sysrq(context.pointer, domid, key.encode()))


def monitor_command(context: Context, operation: Operation[str], domid: int, command: str) -> Script[str]:
    """Give a domain's QEMU a command of its human monitor, and return its answer."""
    if not command.strip():
        raise describe(InvalidArgument, "the command is empty: say one, as 'info block'", operation)
    if context.hypervisor.read(f"/local/domain/0/device-model/{domid}/state") is None:
        message = f"{operation.verb}: domain {domid} has no QEMU: it is no HVM guest, and has no device that needs one"
        raise UnsupportedFeature(message, feature=operation.verb, backend=BACKEND)
    output = ffi.new("char **")
    text = ffi.new("char[]", command.encode())
    code = yield from context.complete(
        lambda how: lib.libxl_qemu_monitor_command(context.pointer, domid, text, output, how)
    )
    raise_failure(operation, code)
    answer = ffi.gc(output[0], lib.free)
    return "" if answer == ffi.NULL else ffi.string(answer).decode(errors="replace").replace("\r\n", "\n")


def userdata(context: Context, operation: Operation[bytes | None], domid: int, key: str) -> Script[bytes | None]:
    """Return a note that is kept with a domain; None if there is none under that key."""
    yield from ()
    _check_key(operation, key)
    data, length = ffi.new("uint8_t **"), ffi.new("int *")
    raise_failure(operation, lib.libxl_userdata_retrieve(context.pointer, domid, key.encode(), data, length))
    if data[0] == ffi.NULL:
        return None
    return bytes(ffi.buffer(ffi.gc(data[0], lib.free), length[0]))


def set_userdata(
    context: Context, operation: Operation[None], domid: int, key: str, data: bytes | None
) -> Script[None]:
    """Keep a note with a domain, in place of the one under that key; None removes it."""
    yield from ()
    _check_key(operation, key)
    if key in _OTHERS_KEYS:
        message = f"the note {key!r} is {_OTHERS_KEYS[key]}: choose a key that begins with your program's name"
        raise describe(InvalidArgument, message, operation)
    if data is None:
        raise_failure(operation, lib.libxl_userdata_unlink(context.pointer, domid, key.encode()))
    elif not data:  # which libxl would take for its removal
        raise describe(InvalidArgument, "a note cannot be empty: None removes it", operation)
    else:
        raise_failure(operation, lib.libxl_userdata_store(context.pointer, domid, key.encode(), data, len(data)))


def _check_key(operation: Operation[Any], key: str) -> None:
    """Refuse what cannot be part of a file's name, which is what libxl makes of it."""
    if not _KEY.fullmatch(key):
        message = f"{key!r} is no key of a note: letters, digits, dots, dashes and underscores, up to 64"
        raise describe(InvalidArgument, message, operation)


def wait(context: Context, domid: int, uuid: UUID, states: Collection[DomainState]) -> Script[DomainInfo | None]:
    """Wait until a domain is in one of these states, and return it then; None when it is gone.

    libxl tells when a domain shuts down or dies. Of all else Xen tells nobody, so that is looked for, less and less
    often.
    """
    apart = _FIRST_LOOK
    with context.watching(domid) as token:
        while True:
            info = context.hypervisor.domain(domid)
            if info is None or info.uuid != uuid or info.state is DomainState.DYING:
                return None
            if info.state in states:
                return info
            if ENDS.issuperset(states) and info.state not in ENDS:
                yield Wait(token)
            else:
                yield Wait(token, until=time.monotonic() + apart)
                apart = min(2 * apart, _MOST_APART)
