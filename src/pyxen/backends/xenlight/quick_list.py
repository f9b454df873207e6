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

QuickDomain = tuple[int, "str | None", int, int, str, int]
"""Domid, name, memory in KiB, vCPUs, state as `DomainState` has it, CPU time in nanoseconds."""

_SYSFS = "/sys/hypervisor"
_PRIVCMD = "/dev/xen/privcmd"
_SOCKETS = ("/run/xenstored/socket", "/var/run/xenstored/socket")
_PACKAGE = "pyxen.backends.xenlight.libxl"

_PATIENCE = 5.0
"""Seconds to wait for xenstored; then the usual way waits again, and says that it does not answer."""

_PAGE_KIB = 4
_MOST = 1023  # domains that one hypercall is asked for; with more, the usual way asks several times
_AT_ONCE = 64  # requests to xenstored in flight, as `Connection` has them
_READ = 2
_ERROR = 16
_HEADER = 16
_NOT_THERE = (b"ENOENT\0", b"EACCES\0")  # what xenstored says of a node that does not exist, or is not for us
_CRASH = 3


def quick_list() -> list[QuickDomain] | None:
    """Return all domains, sorted by domid; None if they must be listed in the usual way."""
    try:
        return _listed()
    except Exception:  # noqa: BLE001 (whatever it is, the usual way meets it again, and says it)
        return None


def _listed() -> list[QuickDomain] | None:
    import os

    if not os.access(_PRIVCMD, os.R_OK | os.W_OK):
        return None
    release = f"{_word('version/major')}_{_word('version/minor')}"
    module = __import__(f"{_PACKAGE}._xenlight_{release}", fromlist=["ffi"])
    rows = _rows(module.ffi, module.lib)
    if rows is None:
        return None
    override = os.environ.get("XENSTORED_PATH")
    names = _names([row[0] for row in rows], (override,) if override else _SOCKETS)
    return [(row[0], name, *row[1:]) for row, name in zip(rows, names, strict=True)]


def _word(path: str) -> str:
    with open(f"{_SYSFS}/{path}", encoding="ascii") as file:
        return file.read().strip()


def _rows(ffi: Any, lib: Any) -> list[tuple[int, int, int, str, int]] | None:
    """Ask Xen for the domains: domid, memory, vCPUs, state and CPU time of each."""
    handle = lib.xc_interface_open(ffi.NULL, ffi.NULL, lib.XC_OPENFLAG_NON_REENTRANT)
    if handle == ffi.NULL:
        return None
    try:
        found = ffi.new("xc_domaininfo_t[]", _MOST + 1)
        count = lib.xc_domain_getinfolist(handle, 0, _MOST + 1, found)
        if not 0 < count <= _MOST:
            return None
        return [
            (row.domain, row.tot_pages * _PAGE_KIB, row.nr_online_vcpus, _state(row.flags, lib), row.cpu_time)
            for row in found[0:count]
        ]
    finally:
        lib.xc_interface_close(handle)


def _state(flags: int, lib: Any) -> str:
    if flags & lib.XEN_DOMINF_dying:
        return "dying"
    if flags & lib.XEN_DOMINF_shutdown:
        reason = (flags >> lib.XEN_DOMINF_shutdownshift) & lib.XEN_DOMINF_shutdownmask
        return "crashed" if reason == _CRASH else "shutdown"
    if flags & lib.XEN_DOMINF_paused:
        return "paused"
    return "blocked" if flags & lib.XEN_DOMINF_blocked else "running"


def _names(domids: Sequence[int], sockets: Sequence[str]) -> list[str | None]:
    """Read the names of domains from xenstored, many at a time; None for a domain without one."""
    import _socket  # what `socket` is made of, without its enumerations

    channel = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM)
    try:
        channel.settimeout(_PATIENCE)
        _connect(channel, sockets)
        names: list[str | None] = []
        for start in range(0, len(domids), _AT_ONCE):
            some = domids[start : start + _AT_ONCE]
            requests = b"".join(_request(f"/local/domain/{domid}/name\0".encode()) for domid in some)
            while requests:
                requests = requests[channel.send(requests) :]
            buffer = b""
            for _ in some:
                buffer, name = _answer(channel, buffer)
                names.append(name)
        return names
    finally:
        channel.close()


def _connect(channel: Any, sockets: Sequence[str]) -> None:
    try:
        channel.connect(sockets[0])
    except FileNotFoundError:
        channel.connect(sockets[-1])


def _request(body: bytes) -> bytes:
    words = (_READ, 0, 0, len(body))
    return b"".join(word.to_bytes(4, byteorder) for word in words) + body


def _answer(channel: Any, buffer: bytes) -> tuple[bytes, str | None]:
    """Return the next answer, and what follows it."""
    need = _HEADER
    while True:
        if len(buffer) >= _HEADER:
            need = _HEADER + int.from_bytes(buffer[12:16], byteorder)
        if len(buffer) >= need:
            break
        data = channel.recv(65536)
        if not data:
            raise EOFError("xenstored closed the connection")
        buffer += data
    kind = int.from_bytes(buffer[:4], byteorder)
    if kind not in (_READ, _ERROR):
        raise ValueError("xenstored answers what was not asked")
    body = buffer[_HEADER:need]
    if kind == _ERROR and body not in _NOT_THERE:
        raise ValueError("xenstored refuses to tell")
    return buffer[need:], body.decode(errors="replace") if kind == _READ else None
