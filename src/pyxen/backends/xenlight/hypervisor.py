"""Read-only queries that bypass libxl, so that lists and figures need not wait for a create in progress.

The libxenctrl handle is opened NON_REENTRANT and used under its own lock. So it never takes libxencall's process-wide
lock, which a child of libxl may have inherited locked (see `pyxen.backends.xenlight.libxl.lock`).
"""

from __future__ import annotations

import contextlib
import os
import struct
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple
from uuid import UUID

from pyxen.backends.xenlight.libxl.binding import CData, ffi, lib
from pyxen.backends.xenlight.libxl.lock import LIBXL
from pyxen.backends.xenlight.libxl.log import LogSink
from pyxen.backends.xenlight.xenstore.connection import Connection
from pyxen.backends.xenlight.xenstore.names import Names
from pyxen.backends.xenlight.xenstore.nodes import look, read_dom0s, read_values
from pyxen.backends.xenlight.xenstore.stubdomains import StubDomains, target_node, target_of
from pyxen.config import DomainType
from pyxen.errors import ConnectFailed, HostClosed, OperationFailed
from pyxen.records.info import DomainInfo, DomainState, ShutdownReason

__all__ = ["Hypervisor", "Vcpu", "refused"]


class Vcpu(NamedTuple):
    """A vCPU."""

    time_ns: int
    """CPU time that it has used, in nanoseconds."""
    online: bool
    """Whether the guest has brought it online."""


_Row = tuple[Any, ...]
"""The members of an xc_domaininfo_t, at the indices in `_AT`."""

_PAGE_KIB = 4
_MOST_AT_ONCE = 1024
_TRIES = 20  # attempts to change a node that others change, too
_NO_VCPUS = 1 << 32  # a domain that has no vCPUs yet says -1 for the last of them
_ROOM = 16  # spare rows for new domains, so that one hypercall still suffices

_NAMES = (
    "domain",
    "flags",
    "tot_pages",
    "max_pages",
    "cpu_time",
    "nr_online_vcpus",
    "max_vcpu_id",
    "ssidref",
    "handle",
    "cpupool",
    "outstanding_pages",
    "shr_pages",
    "paged_pages",
)
_FORMATS = {1: "B", 2: "H", 4: "I", 8: "Q", 16: "16s"}
_EMULATED_RTC = 1 << 3  # XEN_X86_EMU_RTC: all HVM guests have one, and no PVH guest


def _members() -> list[tuple[int, int, str]]:
    """Return offset, size and name of the members that are read, in this Xen release's order."""
    fields = dict(ffi.typeof("xc_domaininfo_t").fields)
    members = [(fields[name].offset, ffi.sizeof(fields[name].type), name) for name in _NAMES]
    emulation = lib.pyxen_emulation_flags_offset()
    if emulation >= 0:
        members.append((emulation, 4, "emulation"))
    return sorted(members)


def _layout(members: list[tuple[int, int, str]]) -> struct.Struct:
    """Return the layout of xc_domaininfo_t. Unpacking by it is eight times as fast as reading member by member."""
    layout, at = "=", 0
    for offset, size, _ in members:
        layout += f"{offset - at}x{_FORMATS[size]}"
        at = offset + size
    return struct.Struct(f"{layout}{ffi.sizeof('xc_domaininfo_t') - at}x")


_MEMBERS = _members()
_DOMAININFO = _layout(_MEMBERS)
_AT = {name: place for place, (_, _, name) in enumerate(_MEMBERS)}

_STATES = (
    (lib.XEN_DOMINF_dying, DomainState.DYING),
    (lib.XEN_DOMINF_shutdown, DomainState.SHUTDOWN),
    (lib.XEN_DOMINF_paused, DomainState.PAUSED),
    (lib.XEN_DOMINF_blocked, DomainState.BLOCKED),
)


class Hypervisor:
    """Reads domains and figures of the host. Thread-safe.

    Raises:
        ConnectFailed: libxenctrl or xenstore cannot be opened.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._pid = os.getpid()
        self._sink = LogSink()
        # libxenctrl copies as many rows as are requested, used or not, so request few more than there were last time.
        self._at_once = _ROOM
        self._buffer = ffi.new("xc_domaininfo_t[]", self._at_once)
        self._xc: CData = lib.xc_interface_open(self._sink.logger, self._sink.logger, lib.XC_OPENFLAG_NON_REENTRANT)
        if self._xc == ffi.NULL:
            self._sink.free()
            raise ConnectFailed(f"libxenctrl does not open: {os.strerror(ffi.errno)}")
        try:
            self._xenstore = Connection(repeats=True)
        except BaseException:
            self._close_xc()
            raise
        self._names = Names(self._xenstore)
        self._stubdomains = StubDomains(self._xenstore)

    @property
    def generation(self) -> int:
        """How often it has connected to xenstore; more than before: xenstored was restarted."""
        return self._xenstore.generation

    @property
    def xenstored(self) -> str | None:
        """The address of xenstored's socket; None if xenstored is in a domain of its own."""
        return self._xenstore.peer

    def forked(self) -> None:
        """Release it in the child of a fork: the connection to xenstore belongs to the parent."""
        self._xc = ffi.NULL

    @contextlib.contextmanager
    def _open(self) -> Iterator[None]:
        """Reserve it for one thread. libxl's lock is released meanwhile, so that libxl does not wait.

        Raises:
            HostClosed: It was closed, or belongs to the parent of this process.
        """
        self._check_open()  # check first: after a fork, a thread that was not copied may hold the lock
        with LIBXL.released():
            try:
                with self._lock:
                    self._check_open()
                    yield
            finally:
                self._sink.flush()

    @contextlib.contextmanager
    def handle(self) -> Iterator[CData]:
        """Reserve libxenctrl's handle for one thread, for the queries that have a module of their own.

        Raises:
            HostClosed: It was closed, or belongs to the parent of this process.
        """
        with self._open():
            yield self._xc

    def close(self) -> None:
        """Close both connections. Calling it again does nothing."""
        if self._pid != os.getpid():
            return
        with self._lock:
            if self._xc != ffi.NULL:
                self._close_xc()
                self._xenstore.close()

    def _close_xc(self) -> None:
        lib.xc_interface_close(self._xc)
        self._xc = ffi.NULL
        self._sink.free()

    def domains(self) -> list[DomainInfo]:
        """Return all domains, sorted by domid."""
        return self.domains_at()[1]

    def domains_at(self) -> tuple[int, list[DomainInfo]]:
        """Return all domains, sorted by domid, and when Xen was asked, on the clock of `time.monotonic_ns`."""
        with self._open():
            moment = time.monotonic_ns()
            rows = self._rows()
            keys = [(row[_AT["domain"]], UUID(bytes=row[_AT["handle"]])) for row in rows]
            pools = [(row[_AT["cpupool"]], None) for row in rows]
            names = self._names.of([*keys, *pools])
            stubs = self._stubdomains.of(
                keys, lambda place: _may_be_stub(rows[place]), lambda place: _has_run(rows[place])
            )
        infos = [
            _domain_info(row, key[1], names[key], names[pool], stubs.get(key))
            for row, key, pool in zip(rows, keys, pools, strict=True)
        ]
        return moment, infos

    def glance(self) -> list[DomainInfo]:
        """Return all domains, sorted by domid, without names: this takes one hypercall and does not use xenstore."""
        with self._open():
            rows = self._rows()
        return [_domain_info(row, UUID(bytes=row[_AT["handle"]]), None, None) for row in rows]

    def alive(self, domid: int, uuid: UUID) -> bool:
        """Tell, with one hypercall, whether the domain with this domid has this uuid and is not dying."""
        with self._open():
            rows = self._ask(domid, 1)
        if not rows or rows[0][_AT["domain"]] != domid or rows[0][_AT["flags"]] & lib.XEN_DOMINF_dying:
            return False
        return bool(rows[0][_AT["handle"]] == uuid.bytes)

    def domain(self, domid: int) -> DomainInfo | None:
        """Return one domain; None if there is no domain with that domid."""
        with self._open():
            rows = self._ask(domid, 1)
            if not rows or rows[0][_AT["domain"]] != domid:
                return None
            paths = (
                f"/local/domain/{domid}/name",
                f"/local/pool/{rows[0][_AT['cpupool']]}/name",
                target_node(domid),
            )
            name, pool, target = read_values(self._xenstore, paths)
        served = target_of(target) if _may_be_stub(rows[0]) else None
        return _domain_info(rows[0], UUID(bytes=rows[0][_AT["handle"]]), name, pool, served)

    def read(self, path: str) -> str | None:
        """Return the value of a xenstore node; None if it does not exist."""
        with self._open():
            return self._xenstore.read(path)

    def read_all(self, paths: Sequence[str]) -> list[str | None]:
        """Return the values of xenstore nodes, with one round trip; None for those that do not exist."""
        with self._open():
            return self._xenstore.read_all(*paths)

    def look(self, paths: Sequence[str], folders: Sequence[str]) -> tuple[list[str | None], list[list[str]]]:
        """Return values of xenstore nodes, and names of the children of others, with one round trip; see `look`."""
        with self._open():
            return look(self._xenstore, paths, folders)

    def read_dom0s(self, paths: Iterable[str]) -> list[str | None]:
        """Return the values of xenstore nodes that dom0 owns; None for those of others, and where there is no node."""
        with self._open():
            return read_dom0s(self._xenstore, paths)

    def replace(self, path: str, old: str, new: str) -> bool:
        """Write a xenstore node if it has a certain value, and tell whether it was written.

        A guest that keeps writing to the node can make every attempt fail, so the number of attempts is limited.
        """
        for _ in range(_TRIES):
            with self._open():  # per attempt, so that others can read in between
                done = self._xenstore.replace(path, old, new)
            if done is not None:
                return done
        return False

    def directory(self, path: str) -> list[str]:
        """Return the names of a xenstore node's children; empty if there is no such node."""
        with self._open():
            return self._xenstore.directory(path)

    def remove(self, *paths: str) -> None:
        """Remove xenstore nodes and their children, as far as they exist."""
        with self._open():
            self._xenstore.remove(*paths)

    def vcpus(self, infos: Sequence[DomainInfo]) -> list[list[Vcpu]]:
        """Return the vCPUs of each of these domains; none for a domain that has gone."""
        with self._open():
            answer = ffi.new("xc_vcpuinfo_t *")
            return [self._vcpus(info, answer) for info in infos]

    def _vcpus(self, info: DomainInfo, answer: CData) -> list[Vcpu]:
        if info.maxvcpus == 1:  # what Xen says of the domain is what it would say of this vCPU
            return [Vcpu(info.cpu_time_ns, info.vcpus == 1)]
        vcpus = []
        for number in range(info.maxvcpus):
            if lib.xc_vcpu_getinfo(self._xc, info.domid, number, answer) != 0:
                return []
            vcpus.append(Vcpu(answer.cpu_time, bool(answer.online)))
        return vcpus

    def console_ring(self, domid: int) -> tuple[int, int] | None:
        """Return the event channel and frame that Xen keeps for a guest's console; None if it keeps none, as for PV."""
        found = ffi.new("uint64_t[2]")
        wanted = (lib.HVM_PARAM_CONSOLE_EVTCHN, lib.HVM_PARAM_CONSOLE_PFN)
        with self._open():
            refused = any(
                lib.xc_hvm_param_get(self._xc, domid, param, found + place) != 0 for place, param in enumerate(wanted)
            )
        port, gfn = found
        return None if refused or not port or not gfn else (port, gfn)

    def clear_away(self, domid: int, uuid: UUID) -> None:
        """Remove the rest of a destroyed domain's entries from xenstore. If the domain is still there, do nothing.

        libxl removes them, but not all if xenstored refuses something. Also, xenconsoled may write a new domain's tty
        later, without checking that the domain exists.
        """
        with self._open():
            alive = [row for row in self._rows() if not row[_AT["flags"]] & lib.XEN_DOMINF_dying]
            if any(row[_AT["domain"]] == domid for row in alive):
                return
            backends = "/local/domain/0/backend"
            kinds = self._xenstore.directory(backends)
            paths = [f"/local/domain/{domid}", f"/libxl/{domid}", *(f"{backends}/{kind}/{domid}" for kind in kinds)]
            if all(row[_AT["handle"]] != uuid.bytes for row in alive):  # a domain that moves here from here has it, too
                paths.append(f"/vm/{uuid}")
            self._xenstore.remove(*paths)

    def set_uuid(self, domid: int, uuid: UUID) -> None:
        """Change a domain's uuid in Xen."""
        with self._open():
            if lib.xc_domain_sethandle(self._xc, domid, ffi.new("uint8_t[16]", uuid.bytes)) != 0:
                raise refused("preserve", f"Xen does not give domain {domid} another uuid")

    def forget_uuid(self, uuid: UUID) -> None:
        """Remove xenstore's entries for a uuid that no domain uses any more."""
        with self._open():
            self._xenstore.remove(f"/vm/{uuid}")

    def has_shadow_paging(self) -> bool:
        """Tell whether Xen was built with shadow paging."""
        return bool(self._physinfo().capabilities & lib.XEN_SYSCTL_PHYSCAP_shadow)

    def free_kib(self) -> int:
        """Return the memory that no domain has or has claimed."""
        info = self._physinfo()
        return int(info.free_pages - info.outstanding_pages) * _PAGE_KIB

    def _physinfo(self) -> CData:
        info = ffi.new("xc_physinfo_t *")
        with self._open():
            if lib.xc_physinfo(self._xc, info) != 0:
                raise refused("info", "Xen does not tell its figures")
        return info

    def _rows(self) -> list[_Row]:
        rows: list[_Row] = []
        while True:
            more = self._ask(rows[-1][_AT["domain"]] + 1 if rows else 0, self._at_once)
            rows += more
            if len(more) < self._at_once:
                self._make_room(len(rows))
                return rows

    def _make_room(self, domains: int) -> None:
        self._at_once = min(domains + _ROOM, _MOST_AT_ONCE)
        if self._at_once > len(self._buffer):
            self._buffer = ffi.new("xc_domaininfo_t[]", self._at_once)

    def _ask(self, first: int, most: int) -> list[_Row]:
        self._check_open()
        count = lib.xc_domain_getinfolist(self._xc, first, most, self._buffer)
        if count < 0:
            raise refused("list", "Xen does not list its domains")
        size = count * ffi.sizeof("xc_domaininfo_t")
        return list(_DOMAININFO.iter_unpack(ffi.buffer(self._buffer, size)[:]))

    def _check_open(self) -> None:
        if self._xc == ffi.NULL or self._pid != os.getpid():
            raise HostClosed("the host is closed, or was opened before a fork: open it again")


def refused(verb: str, message: str) -> OperationFailed:
    """Return the exception for a call of libxenctrl that has just failed."""
    return OperationFailed(f"{message}: {os.strerror(ffi.errno)}", operation=verb, code=-ffi.errno)


def _may_be_stub(row: _Row) -> bool:
    """Tell whether a domain can be a stub domain: dom0 and HVM guests cannot."""
    return bool(row[_AT["domain"]]) and _type(row, row[_AT["flags"]]) is not DomainType.HVM


def _has_run(row: _Row) -> bool:
    return bool(row[_AT["cpu_time"]])


def _domain_info(
    row: _Row, uuid: UUID, name: str | None, pool: str | None, stubdomain_of: int | None = None
) -> DomainInfo:
    flags = row[_AT["flags"]]
    reason = _shutdown_reason(flags)
    state = next((state for flag, state in _STATES if flags & flag), DomainState.RUNNING)
    if state is DomainState.SHUTDOWN and reason == ShutdownReason.CRASH:
        state = DomainState.CRASHED
    return DomainInfo(
        domid=row[_AT["domain"]],
        name=name,
        uuid=uuid,
        state=state,
        shutdown_reason=reason,
        type=_type(row, flags),
        memory_kib=row[_AT["tot_pages"]] * _PAGE_KIB,
        maxmem_kib=row[_AT["max_pages"]] * _PAGE_KIB,
        vcpus=row[_AT["nr_online_vcpus"]],
        maxvcpus=(row[_AT["max_vcpu_id"]] + 1) % _NO_VCPUS,
        cpu_time_ns=row[_AT["cpu_time"]],
        pool=pool,
        poolid=row[_AT["cpupool"]],
        ssidref=row[_AT["ssidref"]],
        claimed_kib=row[_AT["outstanding_pages"]] * _PAGE_KIB,
        shared_kib=row[_AT["shr_pages"]] * _PAGE_KIB,
        paged_kib=row[_AT["paged_pages"]] * _PAGE_KIB,
        stubdomain_of=stubdomain_of,
    )


def _type(row: _Row, flags: int) -> DomainType:
    if not flags & lib.XEN_DOMINF_hvm_guest:
        return DomainType.PV
    if "emulation" in _AT and row[_AT["emulation"]] & _EMULATED_RTC:
        return DomainType.HVM
    return DomainType.PVH


def _shutdown_reason(flags: int) -> ShutdownReason | int | None:
    if not flags & lib.XEN_DOMINF_shutdown:
        return None
    reason: int = (flags >> lib.XEN_DOMINF_shutdownshift) & lib.XEN_DOMINF_shutdownmask
    try:
        return ShutdownReason(reason)
    except ValueError:
        return reason
