"""The domains of this host, for a process that lists them once and ends. It loads as little as it can.

`pyxen.backends.xenlight.hypervisor` is for all others: loading it takes longer than all of ``xl list``. Where anything
is out of the ordinary, nothing is returned, and the caller goes the usual way, which says what is wrong.
"""

from __future__ import annotations

from sys import byteorder

TYPE_CHECKING = False  # typing itself takes a third of the time that there is
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

__all__ = ["QuickDomain", "quick_list"]

QuickDomain = dict[str, "Any"]
"""What ``DomainInfo.to_dict()`` returns."""

_SYSFS = "/sys/hypervisor"
_PRIVCMD = "/dev/xen/privcmd"
_CAPABILITIES = "/proc/xen/capabilities"
_SOCKETS = ("/run/xenstored/socket", "/var/run/xenstored/socket")
_PACKAGE = "pyxen.backends.xenlight.libxl"

_PATIENCE = 1.0
"""Seconds to wait for xenstored; then the usual way waits longer, and says that it does not answer."""

_PAGE_KIB = 4
_MOST = 1023  # domains that one hypercall is asked for; with more, the usual way asks several times
_AT_ONCE = 64  # requests to xenstored in flight, as `Connection` has them
_READ = 2
_ERROR = 16
_HEADER = 16
_MOST_BYTES = 4096  # of an answer, as `Connection` has it
_NOT_THERE = (b"ENOENT\0", b"EACCES\0")  # what xenstored says of a node that does not exist, or is not for us
_CRASH = 3
_REASONS = ("poweroff", "reboot", "suspend", "crash", "watchdog", "soft_reset")  # as Xen numbers them
_EMULATED_RTC = 1 << 3  # all HVM guests have one, and no PVH guest
_NO_VCPUS = 1 << 32


def quick_list() -> list[QuickDomain] | None:
    """Return all domains, sorted by domid; None if they must be listed in the usual way."""
    try:
        return _listed()
    except Exception:  # noqa: BLE001 (whatever it is, the usual way meets it again, and says it)
        return None


def _listed() -> list[QuickDomain] | None:
    import os

    override = os.environ.get("XENSTORED_PATH")
    if override == "" or not os.access(_PRIVCMD, os.R_OK | os.W_OK) or "control_d" not in _text(_CAPABILITIES):
        return None
    release = f"{_text(f'{_SYSFS}/version/major')}_{_text(f'{_SYSFS}/version/minor')}"
    module = __import__(f"{_PACKAGE}._xenlight_{release}", fromlist=["ffi"])
    domains = _domains(module.ffi, module.lib)
    if domains is None:
        return None
    values = _values(_paths(domains), (override,) if override else _SOCKETS)
    for domain in domains:
        domain["name"] = values[_node(domain, "name")]
        domain["pool"] = values[f"/local/pool/{domain['poolid']}/name"]
        target = values.get(_node(domain, "target"))
        domain["stubdomain_of"] = int(target) if target is not None and target.isdecimal() else None
    return domains


def _paths(domains: list[QuickDomain]) -> list[str]:
    """Return the nodes of xenstore that say the rest of the domains."""
    paths = [_node(domain, "name") for domain in domains]
    paths += sorted({f"/local/pool/{domain['poolid']}/name" for domain in domains})
    if any(domain["type"] == "hvm" for domain in domains):
        # A stub domain serves an HVM guest. HVM guests and dom0 cannot be stub domains.
        paths += [_node(domain, "target") for domain in domains if domain["domid"] and domain["type"] != "hvm"]
    return paths


def _node(domain: QuickDomain, name: str) -> str:
    return f"/local/domain/{domain['domid']}/{name}"


def _text(path: str) -> str:
    with open(path, encoding="ascii") as file:
        return file.read().strip()


def _domains(ffi: Any, lib: Any) -> list[QuickDomain] | None:
    """Ask Xen for the domains; what xenstore says of them is not there yet."""
    handle = lib.xc_interface_open(ffi.NULL, ffi.NULL, lib.XC_OPENFLAG_NON_REENTRANT)
    if handle == ffi.NULL:
        return None
    try:
        found = ffi.new("xc_domaininfo_t[]", _MOST + 1)
        count = lib.xc_domain_getinfolist(handle, 0, _MOST + 1, found)
        if not 0 < count <= _MOST:
            return None
        return [_domain(row, ffi, lib) for row in found[0:count]]
    finally:
        lib.xc_interface_close(handle)


def _domain(row: Any, ffi: Any, lib: Any) -> QuickDomain:
    uuid = bytes(row.handle).hex()
    return {
        "domid": row.domain,
        "name": None,
        "uuid": f"{uuid[:8]}-{uuid[8:12]}-{uuid[12:16]}-{uuid[16:20]}-{uuid[20:]}",
        "state": _state(row.flags, lib),
        "shutdown_reason": _shutdown_reason(row.flags, lib),
        "type": _type(row, ffi, lib),
        "memory_kib": row.tot_pages * _PAGE_KIB,
        "maxmem_kib": row.max_pages * _PAGE_KIB,
        "vcpus": row.nr_online_vcpus,
        "maxvcpus": (row.max_vcpu_id + 1) % _NO_VCPUS,
        "cpu_time_ns": row.cpu_time,
        "pool": None,
        "poolid": row.cpupool,
        "ssidref": row.ssidref,
        "claimed_kib": row.outstanding_pages * _PAGE_KIB,
        "shared_kib": row.shr_pages * _PAGE_KIB,
        "paged_kib": row.paged_pages * _PAGE_KIB,
        "stubdomain_of": None,
    }


def _state(flags: int, lib: Any) -> str:
    if flags & lib.XEN_DOMINF_dying:
        return "dying"
    if flags & lib.XEN_DOMINF_shutdown:
        return "crashed" if _reason(flags, lib) == _CRASH else "shutdown"
    if flags & lib.XEN_DOMINF_paused:
        return "paused"
    return "blocked" if flags & lib.XEN_DOMINF_blocked else "running"


def _reason(flags: int, lib: Any) -> int:
    reason: int = (flags >> lib.XEN_DOMINF_shutdownshift) & lib.XEN_DOMINF_shutdownmask
    return reason


def _shutdown_reason(flags: int, lib: Any) -> str | int | None:
    if not flags & lib.XEN_DOMINF_shutdown:
        return None
    reason = _reason(flags, lib)
    return _REASONS[reason] if reason < len(_REASONS) else reason


def _type(row: Any, ffi: Any, lib: Any) -> str:
    if not row.flags & lib.XEN_DOMINF_hvm_guest:
        return "pv"
    offset = lib.pyxen_emulation_flags_offset()
    emulation = int.from_bytes(ffi.buffer(ffi.addressof(row))[offset : offset + 4], byteorder) if offset >= 0 else 0
    return "hvm" if emulation & _EMULATED_RTC else "pvh"


def _values(paths: Sequence[str], sockets: Sequence[str]) -> dict[str, str | None]:
    """Read nodes of xenstore, many at a time; None for one that does not exist."""
    import _socket  # what `socket` is made of, without its enumerations

    channel = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM)
    try:
        channel.settimeout(_PATIENCE)
        _connect(channel, sockets)
        values: dict[str, str | None] = {}
        for start in range(0, len(paths), _AT_ONCE):
            some = paths[start : start + _AT_ONCE]
            requests = b"".join(_request(number, f"{path}\0".encode()) for number, path in enumerate(some, start))
            while requests:
                requests = requests[channel.send(requests) :]
            buffer = b""
            for number, path in enumerate(some, start):
                buffer, values[path] = _answer(channel, number, buffer)
            if buffer:
                raise ValueError("xenstored answers what was not asked")
        return values
    finally:
        channel.close()


def _connect(channel: Any, sockets: Sequence[str]) -> None:
    try:
        channel.connect(sockets[0])
    except FileNotFoundError:
        channel.connect(sockets[-1])


def _request(number: int, body: bytes) -> bytes:
    words = (_READ, number, 0, len(body))
    return b"".join(word.to_bytes(4, byteorder) for word in words) + body


def _answer(channel: Any, number: int, buffer: bytes) -> tuple[bytes, str | None]:
    """Return the next answer, which must be to that request, and what follows it."""
    need = _HEADER
    while True:
        if len(buffer) >= _HEADER:
            need = _HEADER + int.from_bytes(buffer[12:16], byteorder)
            if need > _HEADER + _MOST_BYTES:
                raise ValueError("xenstored answers more than it may")
        if len(buffer) >= need:
            break
        data = channel.recv(65536)
        if not data:
            raise EOFError("xenstored closed the connection")
        buffer += data
    kind = int.from_bytes(buffer[:4], byteorder)
    if kind not in (_READ, _ERROR) or int.from_bytes(buffer[4:8], byteorder) != number:
        raise ValueError("xenstored answers what was not asked")
    body = buffer[_HEADER:need]
    if kind == _ERROR and body not in _NOT_THERE:
        raise ValueError("xenstored refuses to tell")
    return buffer[need:], body.decode(errors="replace") if kind == _READ else None
